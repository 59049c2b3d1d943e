"""``manage.py pulse_key``."""

import sys
from argparse import ArgumentTypeError
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from django.core.exceptions import ValidationError
from django.core.management.base import CommandError, CommandParser
from django.utils import timezone

from pulse.access import keys
from pulse.access.models import ApiKey
from pulse.access.scopes import ORDER
from pulse.exceptions import KeyEnded
from pulse.management.commands.pulse_apply import user_name
from pulse.management.output import PolicyCommand
from pulse.policies.kinds import time_to_text
from pulse.policies.models import RateTier
from pulse.policies.publisher import Actor, database

#: The exit code where a key ends as soon as was asked about.
ENDING: Final = 2
MAX_DAYS: Final = 36_500
MAX_OVERLAP_S: Final = 30 * 24 * 3600


class Command(PolicyCommand):
    """Makes, lists, rotates and revokes keys of the API: the first one too."""

    help = (
        "Make, list, rotate and revoke keys of the API. A new key is printed once, alone on "
        "standard output; only its hash is kept."
    )
    example = """examples:
  KEY=$(manage.py pulse_key make ci --scope administer)
  manage.py pulse_key make dashboard --scope view --tier paid --days 365
  manage.py pulse_key list --ending-within 14    # exit 2 if a key ends within 14 days
  manage.py pulse_key rotate k3v9x2ab --overlap 600
  manage.py pulse_key revoke k3v9x2ab"""

    def add_arguments(self, parser: CommandParser) -> None:
        """Say what is to be done."""
        actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
        make = actions.add_parser("make", help="make a key and print it")
        make.add_argument("name", help="what it is for")
        make.add_argument(
            "--scope",
            action="append",
            choices=[scope.value for scope in ORDER],
            help="what it may do; again for more, though a higher one includes the lower ones "
            "(default: view)",
        )
        make.add_argument("--tier", help="the tier of requests that come with it")
        ends = make.add_mutually_exclusive_group()
        ends.add_argument(
            "--days",
            type=_number_to(MAX_DAYS),
            default=keys.LIFETIME.days,
            help=f"until its end (default: {keys.LIFETIME.days})",
        )
        ends.add_argument("--no-end", action="store_true", help="it counts until it is revoked")
        listing = actions.add_parser("list", help="list keys, those that count first")
        listing.add_argument(
            "--ending-within",
            type=_number_to(MAX_DAYS),
            metavar="DAYS",
            help="only those that count and end within so many days; exit 2 if there are some",
        )
        rotate = actions.add_parser("rotate", help="make a successor of a key and print it")
        rotate.add_argument("prefix", help="the eight characters after pulse_")
        rotate.add_argument(
            "--overlap",
            type=_number_to(MAX_OVERLAP_S, 0),
            default=keys.OVERLAP_S,
            metavar="SECONDS",
            help=f"how long the key goes on beside its successor (default: {keys.OVERLAP_S})",
        )
        revoke = actions.add_parser("revoke", help="withdraw a key, for good and at once")
        revoke.add_argument("prefix", help="the eight characters after pulse_")
        for action in (make, listing, rotate, revoke):
            super().add_arguments(action)

    def handle(self, **options: Any) -> None:
        """Do it."""
        act = {
            "make": self._make,
            "list": self._list,
            "rotate": self._rotate,
            "revoke": self._revoke,
        }[options["action"]]
        try:
            act(options)
        except KeyEnded as error:
            raise CommandError(str(error)) from error
        except ValidationError as error:
            raise CommandError(" ".join(error.messages)) from error

    def _make(self, options: Mapping[str, Any]) -> None:
        end = None if options["no_end"] else timezone.now() + timedelta(days=options["days"])
        new = keys.make(
            options["name"],
            actor=_actor(),
            scopes=list(dict.fromkeys(options["scope"] or [ORDER[0].value])),
            tier=None if options["tier"] is None else _tier(options["tier"]),
            expires_at=end,
        )
        self._print_new(new, options["format"])

    def _rotate(self, options: Mapping[str, Any]) -> None:
        key = _find(options["prefix"])
        new = keys.rotate(key, actor=_actor(), overlap_s=options["overlap"])
        self._print_new(new, options["format"])
        if options["format"] == "text":
            self.stderr.write(f"{key.prefix} goes on until {_time(key.expires_at)}.")

    def _revoke(self, options: Mapping[str, Any]) -> None:
        key = _find(options["prefix"])
        was_revoked = key.revoked_at is not None
        keys.revoke(key, actor=_actor())
        if options["format"] == "json":
            self.print_json(keys.as_dict(key))
        elif was_revoked:
            self.stdout.write(f"{key.prefix} was revoked already, at {_time(key.revoked_at)}.")
        else:
            self.stdout.write(self.style.SUCCESS(f"{key.prefix} ({key.name}) is revoked."))

    def _list(self, options: Mapping[str, Any]) -> None:
        now, days = timezone.now(), options["ending_within"]
        rows = list(ApiKey.objects.using(database()).select_related("tier"))
        rows.sort(key=lambda row: not keys.is_live(row, now))
        if days is not None:
            last = now + timedelta(days=days)
            rows = [
                row
                for row in rows
                if keys.is_live(row, now) and row.expires_at is not None and row.expires_at <= last
            ]
        if options["format"] == "json":
            self.print_json([keys.as_dict(row) for row in rows])
        else:
            for line in _lines(rows):
                self.stdout.write(line)
        if days is not None and rows:
            sys.exit(ENDING)

    def _print_new(self, new: keys.NewKey, form: str) -> None:
        if form == "json":
            self.print_json({**keys.as_dict(new.row), "api_key": new.text})
            return
        self.stdout.write(new.text)
        end = "has no end" if new.row.expires_at is None else f"ends {_time(new.row.expires_at)}"
        self.stderr.write(f"It is shown this once, {end}, and may: {', '.join(new.row.scopes)}.")


def _lines(rows: Iterable[ApiKey]) -> Iterable[str]:
    now = timezone.now()
    table = [("PREFIX", "NAME", "SCOPES", "TIER", "STATE", "LAST USED")]
    for row in rows:
        tier = "-" if row.tier is None else row.tier.name
        scopes, used = ",".join(row.scopes), _time(row.last_used_at)
        table.append((row.prefix, row.name, scopes, tier, _state(row, now), used))
    if len(table) == 1:
        yield "No key."
        return
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for cells in table:
        padded = (cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
        yield "  ".join(padded).rstrip()


def _state(row: ApiKey, now: datetime) -> str:
    if row.revoked_at is not None:
        return f"revoked {_time(row.revoked_at)}"
    if row.expires_at is None:
        return "no end"
    return f"{'ends' if now < row.expires_at else 'ended'} {_time(row.expires_at)}"


def _time(at: datetime | None) -> str:
    return "-" if at is None else str(time_to_text(at.replace(microsecond=0)))


def _find(prefix: str) -> ApiKey:
    row = ApiKey.objects.using(database()).select_related("tier").filter(prefix=prefix).first()
    if row is None:
        raise CommandError(f"There is no key {prefix}.")
    return row


def _tier(name: str) -> RateTier:
    row = RateTier.objects.using(database()).filter(name=name).first()
    if row is None:
        raise CommandError(f"--tier: there is no tier {name}.")
    return row


def _actor() -> Actor:
    return Actor("command", user_name())


def _number_to(most: int, least: int = 1) -> Any:
    def read(text: str) -> int:
        number = int(text) if text.isascii() and text.isdecimal() and len(text) < 12 else -1
        if not least <= number <= most:
            raise ArgumentTypeError(f"write a number from {least} to {most}")
        return number

    return read
