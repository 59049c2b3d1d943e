"""``manage.py pulse_export``."""

import json
from argparse import ArgumentTypeError
from datetime import datetime
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.utils.dateparse import parse_datetime
from django.utils.timezone import is_naive, make_aware

from pulse.audit.export import written
from pulse.audit.models import Action, AuditEntry
from pulse.audit.record import record
from pulse.management.commands.pulse_apply import user_name
from pulse.management.output import PolicyCommand
from pulse.management.progress import Progress
from pulse.policies import history, publisher
from pulse.policies.document import to_yaml
from pulse.policies.models import PolicyRevision
from pulse.policies.publisher import Actor
from pulse.probes import payloads


class Command(PolicyCommand):
    """Writes the policy document."""

    help = "Write the policy in force as one document, for a file under version control."
    example = """examples:
  manage.py pulse_export > policy.yaml
  manage.py pulse_export --revision 41 --format json --output policy.json
  manage.py pulse_export --at 2026-11-26T08:00Z    # as it was in force then
  manage.py pulse_export --payloads --output pulse_payloads.json
  manage.py pulse_export --payloads --samples    # with those made of each endpoint's schema
  manage.py pulse_export --audit --format csv --output audit.csv"""
    formats = ("yaml", "json", "csv")

    def add_arguments(self, parser: CommandParser) -> None:
        """Say which document, and where to."""
        super().add_arguments(parser)
        which = parser.add_mutually_exclusive_group()
        which.add_argument("--revision", type=int, metavar="N", help="that of an earlier revision")
        which.add_argument(
            "--at", type=_moment, metavar="TIME", help="as it was then, such as 2026-11-26T08:00Z"
        )
        which.add_argument(
            "--draft", action="store_true", help="the rows as they are, published or not"
        )
        parser.add_argument(
            "--payloads",
            action="store_true",
            help="only the inputs of probes, as JSON by endpoint",
        )
        parser.add_argument(
            "--samples",
            action="store_true",
            help="with --payloads: also the generated ones of endpoints that have none",
        )
        parser.add_argument(
            "--audit", action="store_true", help="the entries of the audit, as csv or json"
        )
        parser.add_argument("--output", type=Path, metavar="FILE", help="write to a file")

    def handle(self, **options: Any) -> None:
        """Write the document."""
        if options["audit"]:
            self._write_audit(options["format"], options["output"])
            return
        if options["format"] == "csv":
            raise CommandError("csv is a form of --audit.")
        document = self._find(options["revision"], options["at"], draft=options["draft"])
        if options["payloads"]:
            document = payloads.from_document(document)
            if options["samples"]:
                document = {**payloads.samples(), **document}
        elif options["samples"]:
            raise CommandError("--samples goes with --payloads.")
        if options["format"] == "json" or options["payloads"]:
            text = json.dumps(document, indent=2, ensure_ascii=False) + "\n"
        else:
            text = to_yaml(document)
        if options["output"] is None:
            self.stdout.write(text, ending="")
            return
        try:
            options["output"].write_text(text, encoding="utf-8")
        except OSError as error:
            raise CommandError(f"Cannot write {options['output']}: {error.strerror}") from error

    def _write_audit(self, form: str, file: Path | None) -> None:
        """Write every entry, in batches, and that they were taken along."""
        if form == "yaml":
            raise CommandError("Write the audit as csv or json: --format csv.")
        rows = AuditEntry.objects.using(publisher.database())
        total = rows.count()
        told = {"format": {"before": None, "after": form}}
        record(Action.AUDIT_EXPORT, Actor("command", user_name()), fields=told)
        with Progress(self.stderr) as progress:
            pieces = written(rows, form, lambda done: progress.show("entries", done, total))
            if file is None:
                for piece in pieces:
                    self.stdout.write(piece, ending="")
                return
            try:
                with file.open("w", encoding="utf-8", newline="") as out:
                    out.writelines(pieces)
            except OSError as error:
                raise CommandError(f"Cannot write {file}: {error.strerror}") from error

    @staticmethod
    def _find(number: int | None, moment: datetime | None, *, draft: bool) -> Any:
        if draft:
            return publisher.document_of_rows()
        if moment is not None:
            revision = history.as_of(moment)
            if revision is None:
                raise CommandError("There was no policy then.")
            return revision.document
        if number is None:
            return publisher.newest_document()
        revisions = PolicyRevision.objects.using(publisher.database())
        document = revisions.filter(number=number).values_list("document", flat=True).first()
        if document is None:
            raise CommandError(f"There is no revision {number}.")
        return document


def _moment(text: str) -> datetime:
    """Read a time; without an offset it is one of the site's time zone."""
    try:
        found = parse_datetime(text)
    except ValueError:
        found = None
    if found is None:
        raise ArgumentTypeError(f"{text!r} is no time. Write one such as 2026-11-26T08:00Z.")
    return make_aware(found) if is_naive(found) else found
