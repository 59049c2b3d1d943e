"""What the checks can find: a table of lasting ids, each with its message and its hint.

An id is never given to another finding; one that is no longer made stays in ``docs/checks.md``.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from django.core.checks import CheckMessage, Error, Warning  # noqa: A004 - Django's own name

MIDDLEWARE: Final = "pulse.middleware.PulseMiddleware"


@dataclass(frozen=True, slots=True)
class Finding:
    """One way to install pulse wrong.

    Attributes:
        id: Begins with ``E`` for an error and ``W`` for a warning; Django shows ``pulse.E001``.
        message: What is wrong, in words; ``%(name)s`` stands for a part.
        hint: The line that mends it.
    """

    id: str
    message: str
    hint: str


# Numbers: 1 PULSE, 10 middleware, 20 cache, 30 databases, 40 policies, 50 host, 60 deployment.
FINDINGS: Final = (
    Finding(
        "E001",
        "PULSE is a %(found)s, not a dictionary; every default is in force.",
        "Write PULSE = {}, and the keys that you need within it.",
    ),
    Finding(
        "E002",
        'PULSE has a key that pulse does not know: "%(key)s".%(close)s',
        "Remove it, or write one of: %(known)s.",
    ),
    Finding(
        "E003",
        'PULSE["%(key)s"] is %(found)s, not %(wanted)s; the default is in force.',
        'Write PULSE = {"%(key)s": %(example)s}.',
    ),
    Finding(
        "E004",
        'PULSE["%(key)s"] is %(value)s; it is a number from %(least)s to %(most)s.',
        'Write PULSE = {"%(key)s": %(example)s}.',
    ),
    Finding(
        "E005",
        'PULSE["%(key)s"] is "%(value)s", which is no choice; the default is in force.%(close)s',
        'Write PULSE = {"%(key)s": "%(example)s"}, or one of: %(choices)s.',
    ),
    Finding(
        "E006",
        'PULSE["CLIENT_IDENTITY"] is empty.',
        'Write PULSE = {"CLIENT_IDENTITY": ["user", "address"]}, or leave it out.',
    ),
    Finding(
        "E007",
        'PULSE["CLIENT_IDENTITY"] names a source that pulse does not know: %(source)s.%(close)s',
        'Each source is "user", "address" or "header:NAME", such as "header:X-Track-ID".',
    ),
    Finding(
        "W001",
        'PULSE["CLIENT_IDENTITY"] names %(sources)s after "address"; every request has an '
        "address, so they are never looked at.",
        'Put "address" last: PULSE = {"CLIENT_IDENTITY": %(corrected)s}.',
    ),
    Finding(
        "W002",
        'PULSE["CLIENT_IDENTITY"] names "%(source)s" twice.',
        'Write PULSE = {"CLIENT_IDENTITY": %(corrected)s}.',
    ),
    Finding(
        "E010",
        "PulseMiddleware is not in MIDDLEWARE, so no limit is enforced.",
        "Put it first: MIDDLEWARE = %(corrected)s",
    ),
    Finding(
        "E011",
        "PulseMiddleware is not the first entry of MIDDLEWARE: what %(before)s answers is not "
        "counted.",
        "Put it first: MIDDLEWARE = %(corrected)s",
    ),
    Finding(
        "E012",
        "PulseMiddleware is in MIDDLEWARE %(times)s times, so every request is charged as often.",
        "Keep the first: MIDDLEWARE = %(corrected)s",
    ),
    Finding(
        "W010",
        "%(names)s cannot run in an event loop, so under ASGI Django runs pulse, and every "
        "middleware before it, in a thread.",
        "Replace it by one with async_capable = True, or serve the site by WSGI alone and remove "
        "ASGI_APPLICATION.",
    ),
    Finding(
        "W011",
        "Clients are named by their user, but no AuthenticationMiddleware finds one: limits by "
        "user count by address.",
        'Add "django.contrib.auth.middleware.AuthenticationMiddleware" to MIDDLEWARE after the '
        'session, or leave "user" out of PULSE["CLIENT_IDENTITY"].',
    ),
    Finding(
        "W012",
        "Two CORS middlewares are in MIDDLEWARE: %(names)s. Each writes the headers anew, and the "
        "outer one wins.",
        "Keep one: MIDDLEWARE = %(corrected)s",
    ),
    Finding(
        "W013",
        "The CORS middleware stands after %(before)s, whose answers go out without CORS headers.",
        "Put it before them: MIDDLEWARE = %(corrected)s",
    ),
    Finding(
        "E020",
        'PULSE["CACHE"] is "%(alias)s", and CACHES has no such alias.%(close)s',
        'Write PULSE = {"CACHE": "%(example)s"}, or add the alias to CACHES.',
    ),
    Finding(
        "E021",
        'The cache "%(alias)s" is %(backend)s, not Redis: in production each process counts '
        "alone, and its counters end with it.",
        "%(redis)s",
    ),
    Finding(
        "E022",
        "%(client)s spreads keys over several servers; the limits of one request are decided on "
        "one, in one script.",
        'Name one Redis in CACHES["%(alias)s"], or another alias with one in PULSE["CACHE"].',
    ),
    Finding(
        "E023",
        'The backend of the cache "%(alias)s" cannot be imported: %(error)s',
        "%(redis)s",
    ),
    Finding(
        "W020",
        'The cache "%(alias)s" is %(backend)s, which no other process sees: each process counts '
        "alone, so N processes let N times as much through.",
        "%(redis)s",
    ),
    Finding(
        "W021",
        'The cache "%(alias)s" is %(backend)s, which cannot count exactly: pulse uses it for '
        "nothing, and each process counts alone in its memory.",
        "%(redis)s",
    ),
    Finding(
        "E030",
        "Policies are written to two databases: %(parts)s. An edit is one transaction, and needs "
        "one.",
        "Have your router send every model of the app pulse to one database.",
    ),
    Finding(
        "E031",
        "%(model)s is in the database %(other)s and policies are in %(alias)s; an assignment "
        "names users and groups by foreign key.",
        "Have your router send the app pulse to the database of the accounts.",
    ),
    Finding(
        "W030",
        "Policies are written to %(alias)s and read from %(other)s: an edit screen may show what "
        "was, and overwrite what is.",
        "Have db_for_read answer as db_for_write for the app pulse.",
    ),
    Finding(
        "W031",
        'SQLite "%(alias)s" begins transactions without saying that they will write: two edits at '
        'once fail with "database is locked", however long the timeout is.',
        'Write DATABASES["%(alias)s"]["OPTIONS"] = {"transaction_mode": "IMMEDIATE", '
        '"timeout": 20}.',
    ),
    Finding(
        "W032",
        'SQLite "%(alias)s" gives a writer up after %(seconds)s seconds of another\'s writing.',
        'Write DATABASES["%(alias)s"]["OPTIONS"] = {"transaction_mode": "IMMEDIATE", '
        '"timeout": 20}.',
    ),
    Finding(
        "E040",
        "The trusted proxies %(networks)s cover every address: any client can claim to be another "
        "by X-Forwarded-For, and no limit by address holds.",
        "Name the networks of your own proxies alone, such as 10.0.0.0/8, in the admin or by "
        "pulse_apply.",
    ),
    Finding(
        "W040",
        "The trusted proxy %(network)s is a public network of %(addresses)s addresses: each of "
        "them can claim to be any client by X-Forwarded-For.",
        "Name the networks that your provider publishes, in the admin or by pulse_apply.",
    ),
    Finding(
        "W041",
        'The default tier "%(name)s" is in shadow: it counts and reports, and refuses nobody.',
        "Look at what it would refuse, then set its mode to enforce in the admin, or by "
        "pulse_apply: rate_tiers: [{name: %(name)s, default: true, mode: enforce, limits: …}].",
    ),
    Finding(
        "E050",
        "USE_TZ is False: the times at which policies start and end are UTC and cannot be saved.",
        "Write USE_TZ = True.",
    ),
    Finding(
        "W050",
        "No template engine finds pulse/refused.html: browsers are refused in JSON.",
        'Write "APP_DIRS": True in TEMPLATES, or add '
        '"django.template.loaders.app_directories.Loader" to its loaders.',
    ),
    Finding(
        "W051",
        "The template %(name)s cannot be used, so browsers are refused in JSON: %(error)s",
        "Mend your own template of that name, or remove it.",
    ),
    Finding(
        "W060",
        'PULSE["ENABLED"] is False: pulse counts, refuses and adds nothing.',
        'Remove "ENABLED" from PULSE, or write PULSE = {"ENABLED": True}.',
    ),
    Finding(
        "W099",
        "The check %(check)s could not be made: %(error)s",
        "Report it to the authors of pulse, with the traceback in the log.",
    ),
)

BY_ID: Final = {finding.id: finding for finding in FINDINGS}


def found(ident: str, /, **parts: object) -> CheckMessage:
    """Make Django's message of a finding.

    Args:
        ident: Its id, without ``pulse.``.
        **parts: What stands in for the ``%(name)s`` of its message and hint.
    """
    finding = BY_ID[ident]
    level = Error if ident.startswith("E") else Warning
    return level(finding.message % parts, hint=finding.hint % parts, id=f"pulse.{ident}")


def one_of(values: Iterable[object]) -> str:
    """Write values as a list in words."""
    return ", ".join(str(value) for value in values)


def as_setting(names: Iterable[str]) -> str:
    """Write a list of texts as a settings file has it, one to a line."""
    lines = "".join(f'    "{name}",\n' for name in names)
    return f"[\n{lines}]"


def did_you_mean(word: str | None) -> str:
    """Ask, where there is a word to ask for."""
    return f' Did you mean "{word}"?' if word else ""
