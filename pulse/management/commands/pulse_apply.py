"""``manage.py pulse_apply``."""

import getpass
import sys
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser

from pulse.exceptions import InvalidDocument
from pulse.management.output import (
    DIFFERS,
    PolicyCommand,
    add_guard_arguments,
    document_error,
    guard_of,
)
from pulse.policies import document
from pulse.policies.publisher import Actor
from pulse.probes import payloads


class Command(PolicyCommand):
    """Applies a policy document."""

    help = (
        "Make the policy what a document says: all of it or nothing. Items are found by their "
        "names and taken whole; what the document does not name stays, unless --prune is given. "
        "A file of payloads alone, by endpoint, is applied as the part of a document that it is."
    )
    example = """examples:
  manage.py pulse_apply policy.yaml --dry-run    # exit 2 if it would change something
  manage.py pulse_apply policy.yaml --prune --reason "Release 4.2"
  manage.py pulse_apply policy.yaml --guard-refusals 100 --guard-minutes 10
  manage.py pulse_apply pulse_payloads.json      # as pulse_export --payloads writes it
  manage.py pulse_export | sed 's|10/s|20/s|' | manage.py pulse_apply -"""

    def add_arguments(self, parser: CommandParser) -> None:
        """Say what to apply, and how."""
        parser.add_argument("file", metavar="FILE", help="YAML or JSON; - for standard input")
        parser.add_argument("--dry-run", action="store_true", help="only print the difference")
        parser.add_argument("--prune", action="store_true", help="remove what it does not name")
        parser.add_argument("--reason", default="", help="why, kept with the revision")
        add_guard_arguments(parser)
        super().add_arguments(parser)

    def handle(self, **options: Any) -> None:
        """Apply the document."""
        try:
            guard = guard_of(options)
            written = document.parse(_read(options["file"]))
            if payloads.looks_like_payloads(written):
                _refuse_prune(prune=options["prune"])
                written = payloads.to_document(written)
            applied = document.apply(
                written,
                Actor("command", user_name()),
                reason=options["reason"],
                prune=options["prune"],
                dry_run=options["dry_run"],
                guard=guard,
            )
        except InvalidDocument as error:
            raise document_error(error) from error
        self.print_applied(applied, options["format"], guard)
        if applied.dry_run and applied.changed:
            sys.exit(DIFFERS)


def user_name() -> str:
    """Return who runs the command; empty where the system knows no name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return ""


def _refuse_prune(*, prune: bool) -> None:
    if prune:
        raise CommandError("A file of payloads is no whole policy: --prune would remove the rest.")


def _read(file: str) -> str:
    try:
        return sys.stdin.read() if file == "-" else Path(file).read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise CommandError(f"{file} is not text in UTF-8.") from error
    except OSError as error:
        raise CommandError(f"Cannot read {file}: {error.strerror}") from error
