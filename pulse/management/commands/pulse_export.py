"""``manage.py pulse_export``."""

import json
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser

from pulse.management.output import PolicyCommand
from pulse.policies import publisher
from pulse.policies.document import to_yaml
from pulse.policies.models import PolicyRevision
from pulse.probes import payloads


class Command(PolicyCommand):
    """Writes the policy document."""

    help = "Write the policy in force as one document, for a file under version control."
    example = """examples:
  manage.py pulse_export > policy.yaml
  manage.py pulse_export --revision 41 --format json --output policy.json
  manage.py pulse_export --payloads --output pulse_payloads.json
  manage.py pulse_export --payloads --samples    # with those made of each endpoint's schema"""
    formats = ("yaml", "json")

    def add_arguments(self, parser: CommandParser) -> None:
        """Say which document, and where to."""
        super().add_arguments(parser)
        which = parser.add_mutually_exclusive_group()
        which.add_argument("--revision", type=int, metavar="N", help="that of an earlier revision")
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
        parser.add_argument("--output", type=Path, metavar="FILE", help="write to a file")

    def handle(self, **options: Any) -> None:
        """Write the document."""
        document = self._find(options["revision"], draft=options["draft"])
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

    @staticmethod
    def _find(number: int | None, *, draft: bool) -> Any:
        if draft:
            return publisher.document_of_rows()
        if number is None:
            return publisher.newest_document()
        revisions = PolicyRevision.objects.using(publisher.database())
        document = revisions.filter(number=number).values_list("document", flat=True).first()
        if document is None:
            raise CommandError(f"There is no revision {number}.")
        return document
