"""``manage.py pulse_rollback``."""

import sys
from typing import Any

from django.core.management.base import CommandError, CommandParser

from pulse.exceptions import InvalidDocument
from pulse.management.commands.pulse_apply import user_name
from pulse.management.output import (
    DIFFERS,
    PolicyCommand,
    add_guard_arguments,
    document_error,
    guard_of,
)
from pulse.policies import history
from pulse.policies.models import PolicyRevision
from pulse.policies.publisher import Actor


class Command(PolicyCommand):
    """Goes back to an earlier revision."""

    help = "Make the policy what an earlier revision says, as a new revision. Nothing is lost."
    example = """examples:
  manage.py pulse_rollback 41 --dry-run    # exit 2 if it would change something
  manage.py pulse_rollback 41 --reason "Too many refusals at checkout"
  manage.py pulse_rollback 41 --guard-refusals 100    # back again if it refuses more than these"""

    def add_arguments(self, parser: CommandParser) -> None:
        """Say which revision, and how."""
        parser.add_argument("number", type=int, metavar="N", help="the revision to go back to")
        parser.add_argument("--dry-run", action="store_true", help="only print the difference")
        parser.add_argument("--reason", default="", help="why, kept with the new revision")
        add_guard_arguments(parser)
        super().add_arguments(parser)

    def handle(self, **options: Any) -> None:
        """Roll back."""
        number = options["number"]
        try:
            guard = guard_of(options)
            applied = history.rollback(
                number,
                Actor("command", user_name()),
                reason=options["reason"],
                dry_run=options["dry_run"],
                guard=guard,
            )
        except PolicyRevision.DoesNotExist:
            raise CommandError(f"There is no revision {number}.") from None
        except InvalidDocument as error:
            raise document_error(error) from error
        self.print_applied(applied, options["format"], guard)
        if applied.dry_run and applied.changed:
            sys.exit(DIFFERS)
