"""``manage.py pulse_sync_origins``."""

import os
import sys
from typing import Any

from django.core.management.base import CommandError, CommandParser

from pulse.core.endpoints import parse_path
from pulse.exceptions import InvalidDocument, InvalidPath
from pulse.management.commands.pulse_apply import user_name
from pulse.management.output import DIFFERS, PolicyCommand, document_error
from pulse.policies import document, origins
from pulse.policies.publisher import Actor


class Command(PolicyCommand):
    """Imports origins from the environment or the settings."""

    help = (
        "Add the origins that an environment variable names, parted by commas, as CORS rules; or "
        "those of CORS_ALLOWED_ORIGINS, with what the other CORS settings say of them. It only "
        "adds: a rule that is there, also one that is off, stays as it is."
    )
    example = """examples:
  PULSE_ALLOWED_ORIGINS=https://app.example.com manage.py pulse_sync_origins
  manage.py pulse_sync_origins --env CORS_ORIGINS --path /api/
  manage.py pulse_sync_origins --from-settings --dry-run    # exit 2 if it would add something"""

    def add_arguments(self, parser: CommandParser) -> None:
        """Say where from, and how."""
        source = parser.add_mutually_exclusive_group()
        source.add_argument(
            "--env",
            metavar="NAME",
            help=f"the environment variable (default: {origins.VARIABLE})",
        )
        source.add_argument(
            "--from-settings", action="store_true", help="read CORS_ALLOWED_ORIGINS instead"
        )
        parser.add_argument(
            "--path",
            help="the path prefix of the new rules (default: /; to be named with --from-settings "
            "where CORS_URLS_REGEX is set)",
        )
        parser.add_argument(
            "--allow-any", action="store_true", help="let * be among them: any page may read"
        )
        parser.add_argument("--dry-run", action="store_true", help="only print the difference")
        parser.add_argument("--reason", default="", help="why, kept with the revision")
        super().add_arguments(parser)

    def handle(self, **options: Any) -> None:
        """Import them."""
        source = _source(options["env"], from_settings=options["from_settings"])
        path = None if options["path"] is None else _path(options["path"])
        try:
            applied = document.apply(
                lambda: origins.to_add(
                    [source],
                    origins.existing_rules(),
                    path=path,
                    allow_any=options["allow_any"],
                ),
                Actor("command", user_name()),
                reason=options["reason"] or f"Import from {source.name}",
                dry_run=options["dry_run"],
            )
        except InvalidDocument as error:
            raise document_error(error) from error
        if not source.origins:
            self.stderr.write(f"{source.name} names no origin.")
        self.print_applied(applied, options["format"])
        if applied.dry_run and applied.changed:
            sys.exit(DIFFERS)


def _source(variable: str | None, *, from_settings: bool) -> origins.Source:
    if from_settings:
        return origins.from_settings()
    if variable is not None and variable not in os.environ:
        raise CommandError(f"--env: {variable} is not set.")
    return origins.from_environment(variable or origins.VARIABLE)


def _path(text: str) -> str:
    try:
        return parse_path(text)
    except InvalidPath as error:
        raise CommandError(f"--path: {error}") from error
