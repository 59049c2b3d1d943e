"""``manage.py pulse_doctor``."""

import sys
from argparse import ArgumentTypeError
from typing import Any, Final

from django.core.management.base import CommandParser

from pulse.doctor.findings import Finding, Severity
from pulse.doctor.topics import TOPICS, examine
from pulse.management.output import PolicyCommand
from pulse.management.progress import Progress

#: The exit code where something is as bad as ``--fail-level``.
UNWELL: Final = 1
MARKS: Final = {
    Severity.OK: "✓",
    Severity.INFO: "i",
    Severity.WARNING: "!",
    Severity.ERROR: "✗",
}


def _topic(text: str) -> str:
    """Read a topic; argparse's own choices would be asked about none, too."""
    if text not in TOPICS:
        raise ArgumentTypeError(f"{text!r} is no topic. There are: {', '.join(TOPICS)}.")
    return text


class Command(PolicyCommand):
    """Examines what runs, beside what the system checks can see."""

    help = (
        "Look whether pulse is well: whether what was saved is in force, every process runs it, "
        "its history is whole, and old entries go. Each finding has its evidence and what mends "
        "it. Exit code 1 where something is as bad as --fail-level."
    )
    example = """examples:
  manage.py pulse_doctor history    # verifies the hash chain alone
  manage.py pulse_doctor --fail-level error --format json"""

    def add_arguments(self, parser: CommandParser) -> None:
        """Say what to look at, and what is bad enough."""
        parser.add_argument(
            "topics",
            nargs="*",
            metavar="TOPIC",
            type=_topic,
            help=f"of {', '.join(TOPICS)}; without any, all",
        )
        parser.add_argument(
            "--fail-level",
            choices=[Severity.INFO.value, Severity.WARNING.value, Severity.ERROR.value],
            default=Severity.WARNING.value,
            help="from where on the exit code is 1 (default: warning)",
        )
        super().add_arguments(parser)

    def handle(self, **options: Any) -> None:
        """Examine, and tell."""
        with Progress(self.stderr) as progress:
            findings = list(examine(options["topics"], progress.show))
        if options["format"] == "json":
            self.print_json({"findings": [finding.as_dict() for finding in findings]})
        else:
            for finding in findings:
                self._print(finding)
        level = Severity(options["fail_level"])
        if any(finding.severity.rank >= level.rank for finding in findings):
            sys.exit(UNWELL)

    def _print(self, finding: Finding) -> None:
        styles = {Severity.WARNING: self.style.WARNING, Severity.ERROR: self.style.ERROR}
        style = styles.get(finding.severity, str)
        self.stdout.write(style(f"{MARKS[finding.severity]} {finding.topic}: {finding.title}"))
        for text in (finding.evidence, finding.fix):
            if text:
                self.stdout.write(f"    {text}")
