"""``manage.py pulse_mark``."""

import getpass
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import CommandError, CommandParser
from django.utils import timezone
from django.utils.dateparse import parse_datetime

from pulse.alerts.state import Mark, MarkKind
from pulse.management.output import PolicyCommand
from pulse.policies import publisher
from pulse.policies.kinds import time_to_text


class Command(PolicyCommand):
    """Marks a moment, such as a deploy."""

    help = (
        "Mark a moment, by default now, as a deploy: it stands on the timeline, in charts, and "
        "beside each incident that begins in the ten minutes after it."
    )
    example = """examples:
  manage.py pulse_mark "Release 4.2" --url https://git.example.com/shop/4.2
  manage.py pulse_mark "Black Friday begins" --kind note --at 2026-11-27T00:00:00Z"""

    def add_arguments(self, parser: CommandParser) -> None:
        """Say what, when and where to read more."""
        parser.add_argument("text", help="what happened, at most 200 characters")
        parser.add_argument(
            "--kind", choices=MarkKind.values, default="deploy", help="default: deploy"
        )
        parser.add_argument("--url", default="", help="where there is more of it")
        parser.add_argument("--at", default="", help="when, with its zone: 2026-11-27T00:00:00Z")
        super().add_arguments(parser)

    def handle(self, **options: Any) -> None:
        """Write the mark, and tell of it."""
        at = timezone.now()
        if options["at"]:
            try:
                read = parse_datetime(options["at"])
            except ValueError:
                read = None
            if read is None or read.tzinfo is None:
                raise CommandError("--at: write a time with its zone, as 2026-11-27T00:00:00Z.")
            at = read
        mark = Mark(
            at=at,
            kind=options["kind"],
            text=" ".join(options["text"].split()),
            url=options["url"],
            actor_name=_user(),
        )
        try:
            mark.full_clean()
        except ValidationError as error:
            told = (f"{name}: {' '.join(texts)}" for name, texts in error.message_dict.items())
            raise CommandError(" ".join(told)) from error
        mark.save(using=publisher.database())
        if options["format"] == "json":
            self.print_json(
                {"id": str(mark.pk), "at": time_to_text(at), "kind": mark.kind, "text": mark.text}
            )
            return
        self.stdout.write(f"Marked {time_to_text(at)}: {mark.text}")


def _user() -> str:
    """Return who runs it, where the system knows."""
    try:
        return getpass.getuser()[:150]
    except (KeyError, OSError):
        return ""
