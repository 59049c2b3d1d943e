"""What the commands share: help with examples, and policy changes on a terminal."""

import json
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Iterable, Mapping
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError

from pulse.exceptions import InvalidDocument
from pulse.policies.document import Applied
from pulse.policies.guarded import DEFAULT_MINUTES, MOST_MINUTES, Guard, read_guard
from pulse.policies.reading import is_storable

#: The exit code of a dry run that found a difference.
DIFFERS = 2
MARKS = {"create": "+", "update": "~", "delete": "-"}


class PolicyCommand(BaseCommand):
    """A command with an example in its help and ``--format``."""

    example = ""
    formats: tuple[str, ...] = ("text", "json")

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        """Add the example below the options, its lines as they are."""
        parser = super().create_parser(prog_name, subcommand, epilog=self.example, **kwargs)
        parser.formatter_class = _formatter(parser)
        return parser

    def execute(self, *args: Any, **options: Any) -> str | None:
        """Run the command; what cannot be stored or used is told in one line."""
        for name, value in options.items():
            if isinstance(value, str) and not is_storable(value):
                raise CommandError(f"{name} has a character that cannot be stored.")
        try:
            return super().execute(*args, **options)
        except DatabaseError as error:
            raise CommandError(f"The database cannot be used now: {error}") from error

    def add_arguments(self, parser: CommandParser) -> None:
        """Add ``--format``."""
        parser.add_argument(
            "--format",
            choices=self.formats,
            default=self.formats[0],
            help=f"how to print: {', '.join(self.formats)} (default: {self.formats[0]})",
        )

    def print_json(self, value: object) -> None:
        """Print a value as indented JSON."""
        self.stdout.write(json.dumps(value, indent=2, ensure_ascii=False, default=str))

    def print_applied(self, applied: Applied, form: str, guard: Guard | None = None) -> None:
        """Print what applying a document did, or would do; warnings go to standard error."""
        for warning in applied.warnings:
            self.stderr.write(self.style.WARNING(warning))
        if form == "json":
            self.print_json(applied.as_dict())
            return
        for line in change_lines(applied.changes):
            self.stdout.write(line)
        count = len(applied.changes)
        changes = f"{count} change{'' if count == 1 else 's'}"
        if not applied.changed:
            self.stdout.write(f"Nothing differs from revision {applied.revision}.")
        elif applied.dry_run:
            self.stdout.write(f"Dry run: {changes} to revision {applied.revision}, nothing saved.")
        elif applied.draft:
            self.stdout.write(f"{changes} saved as a draft beside revision {applied.revision}.")
        else:
            self.stdout.write(self.style.SUCCESS(f"{changes}, revision {applied.revision}."))
            if guard is not None:
                minutes = "1 minute" if guard.minutes == 1 else f"{guard.minutes} minutes"
                self.stdout.write(
                    f"Guarded: more than {guard.refusals} refusals within {minutes} and it is "
                    "taken back."
                )


def change_lines(changes: Iterable[Mapping[str, Any]]) -> Iterable[str]:
    """Write changes as lines: what, then the fields that differ."""
    for change in changes:
        key = ", ".join(str(value) for value in change["key"].values())
        yield f"{MARKS[change['action']]} {change['kind']} {key}"
        if change["action"] == "update":
            for name, values in change["fields"].items():
                before, after = (json.dumps(values[side]) for side in ("before", "after"))
                yield f"    {name}: {before} -> {after}"


def add_guard_arguments(parser: CommandParser) -> None:
    """Let a command publish with a guard."""
    parser.add_argument(
        "--guard-refusals",
        metavar="N",
        help="if what it changes refuses more requests than these, pulse takes it back by itself",
    )
    parser.add_argument(
        "--guard-minutes",
        metavar="M",
        help=f"for how long they are counted (default: {DEFAULT_MINUTES}, at most {MOST_MINUTES})",
    )


def guard_of(options: Mapping[str, Any]) -> Guard | None:
    """Return the guard that a command line asks for.

    Raises:
        InvalidDocument: It is none.
    """
    return read_guard(options["guard_refusals"], options["guard_minutes"])


def document_error(error: InvalidDocument) -> CommandError:
    """Turn the errors of a document into one that the terminal shows line by line."""
    lines = [f"  {place}: {' '.join(texts)}" for place, texts in error.errors.items()]
    return CommandError("\n".join(["The document cannot be applied; nothing was changed.", *lines]))


def _formatter(parser: ArgumentParser) -> Any:
    class Formatter(parser.formatter_class, RawDescriptionHelpFormatter):  # type: ignore[name-defined, misc]
        """Django's order of options, with the example's lines kept."""

    return Formatter
