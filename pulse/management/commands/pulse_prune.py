"""``manage.py pulse_prune``."""

import sys
from typing import Any, Final

from django.core.management.base import CommandParser
from django.utils import timezone

from pulse.alerts import retention as alerts
from pulse.management.output import PolicyCommand
from pulse.management.progress import Progress
from pulse.probes import retention

#: As shells have it for what was interrupted.
INTERRUPTED: Final = 130


class Command(PolicyCommand):
    """Removes history that is older than it is kept."""

    help = (
        "Remove results of probes, entries of the audit, incidents and other history that is older "
        "than it is kept, in batches, beside whatever runs. It can be interrupted; the next time "
        "goes on. "
        "The worker does the same every hour."
    )
    example = """examples:
  manage.py pulse_prune --dry-run    # only count
  manage.py pulse_prune --format json"""

    def add_arguments(self, parser: CommandParser) -> None:
        """Say whether to remove anything."""
        parser.add_argument("--dry-run", action="store_true", help="only count what would go")
        super().add_arguments(parser)

    def handle(self, **options: Any) -> None:
        """Prune, and tell what went."""
        dry_run = options["dry_run"]
        try:
            with Progress(self.stderr) as progress:
                pruned = retention.prune(
                    timezone.now(),
                    also=alerts.old,
                    dry_run=dry_run,
                    progress=progress.show,
                )
        except KeyboardInterrupt:
            self.stderr.write("Interrupted; what is gone is gone, the next time goes on.")
            sys.exit(INTERRUPTED)
        if options["format"] == "json":
            self.print_json({"dry_run": dry_run, "rows": pruned.rows, "total": pruned.total})
            return
        verb = "would go" if dry_run else "went"
        for name, number in pruned.rows.items():
            self.stdout.write(f"{name:<16} {number:>10,}")
        self.stdout.write(f"{pruned.total:,} rows {verb}.")
