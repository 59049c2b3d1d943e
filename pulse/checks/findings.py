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


# Numbers: 1 PULSE, 10 middleware, 20 cache, 30 databases, 40 policies, 50 host, 60 deployment,
# 70 CORS, 80 headers, 90 bodies, 100 access, 110 what goes out, 120 probes,
# 130 keys.
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
        'Write "api_key", "user", "address" or "header:NAME", such as "header:X-Track-ID".',
    ),
    Finding(
        "E008",
        'PULSE["%(key)s"] has no text as its key %(number)s, so none of them is in force.',
        'Write each key as a text: PULSE = {"%(key)s": ["a long random text"]}.',
    ),
    Finding(
        "E009",
        'PULSE["%(key)s"]: %(reason)s; the default is in force.',
        'Write PULSE = {"%(key)s": "%(example)s"}.',
    ),
    Finding(
        "E140",
        'PULSE["METRICS_BUCKET_S"] is %(value)s, of which no minute can be made; the default is in '
        "force.",
        'Write PULSE = {"METRICS_BUCKET_S": 60}, or one of: %(choices)s.',
    ),
    Finding(
        "E141",
        'PULSE["METRICS_BACKEND"] names no metrics backend: "%(path)s"; pulse measures itself.',
        "Name a class with the methods record_request and read, as docs/measures.md has them.",
    ),
    Finding(
        "E142",
        'PULSE["%(key)s"] names no network: %(reason)s The default is in force.',
        'Write addresses or networks: PULSE = {"%(key)s": ["%(example)s"]}.',
    ),
    Finding(
        "E122",
        'PULSE["%(key)s"] names no variable of the environment: "%(name)s"; the default is in '
        "force.",
        'Write names, or what they begin with: PULSE = {"%(key)s": ["%(example)s"]}.',
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
        "E041",
        "No policy can be made of %(place)s: %(reason)s It was written past every check, and "
        "keeps every other edit from being published.",
        "Mend or delete it where it was written, or in the admin.",
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
        "W042",
        "SECURE_PROXY_SSL_HEADER says that a proxy stands in front, and the policy trusts none: "
        "all clients are counted as one, the proxy.",
        "Name the proxy's network among the trusted proxies, in the admin or by pulse_apply. "
        "Without a proxy remove SECURE_PROXY_SSL_HEADER: any client could claim HTTPS by it.",
    ),
    Finding(
        "W043",
        "SECURE_SSL_REDIRECT leads to HTTPS, the policy trusts proxies, and "
        "SECURE_PROXY_SSL_HEADER is not set: where the proxy ends TLS, every request is redirected "
        "for ever.",
        'Write SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https"), if the proxy sets '
        "X-Forwarded-Proto and drops the client's own; silence this where it passes TLS on.",
    ),
    Finding(
        "W044",
        "No rate tier is the default: whoever has none by an assignment or a key of pulse's is "
        "held by endpoint limits alone.",
        "Make one the default, in the admin or by pulse_apply: "
        "rate_tiers: [{name: default, default: true, limits: …}]; or silence this.",
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
        "W052",
        '%(setting)s is "None" and %(secure)s is False: browsers throw such a cookie away.',
        'Write %(secure)s = True, or %(setting)s = "Lax".',
    ),
    Finding(
        "W060",
        'PULSE["ENABLED"] is False: pulse counts, refuses and adds nothing.',
        'Remove "ENABLED" from PULSE, or write PULSE = {"ENABLED": True}.',
    ),
    Finding(
        "W061",
        "%(settings)s let browsers send cookies without encryption, or scripts read them.",
        "Write %(corrected)s.",
    ),
    Finding(
        "W062",
        "%(setting)s is %(value)s: browsers send the cookie with requests that other sites make.",
        'Write %(setting)s = "Lax", unless another site embeds this one.',
    ),
    Finding(
        "W063",
        "Nothing leads browsers to HTTPS: %(why)s.",
        "%(corrected)s Or silence this where the proxy in front redirects.",
    ),
    Finding(
        "W064",
        'SECURE_PROXY_SSL_HEADER names "%(name)s", which no request has: Django takes every '
        "request for plain HTTP.",
        'Write SECURE_PROXY_SSL_HEADER = ("%(corrected)s", "https").',
    ),
    Finding(
        "E070",
        "CORS_ALLOW_ALL_ORIGINS and CORS_ALLOW_CREDENTIALS are both True: any page could act as "
        "its visitor. pulse sends * without credentials instead.",
        "Write CORS_ALLOWED_ORIGINS = [...] with the origins that may, or remove "
        "CORS_ALLOW_CREDENTIALS.",
    ),
    Finding(
        "E071",
        "CORS_ALLOWED_ORIGIN_REGEXES has %(pattern)s, which matches %(example)s and so any origin, "
        "and CORS_ALLOW_CREDENTIALS is True: any page could act as its visitor.",
        "Write CORS_ALLOWED_ORIGINS = [...] with the origins that may, or remove "
        "CORS_ALLOW_CREDENTIALS.",
    ),
    Finding(
        "W070",
        "Any page may read what lies under %(paths)s: a CORS rule in force names every origin.",
        "Name the origins, in the admin or by pulse_apply; silence this where it is all public.",
    ),
    Finding(
        "W071",
        "CORS_ALLOWED_ORIGIN_REGEXES has %(pattern)s, which does not end with $ or \\Z: it matches "
        "%(example)s as well.",
        "Write %(corrected)s; or rules with a wildcard, which match whole labels.",
    ),
    Finding(
        "W072",
        "The site has an API, such as %(view)s, and nobody said which pages may read it: no CORS "
        "rule, no CORS_ALLOWED_ORIGINS.",
        "Add the origins of your pages in the admin, or by pulse_sync_origins; where no page of "
        "another origin reads it, silence this.",
    ),
    Finding(
        "W073",
        "DEBUG is on and nobody said which pages may read: %(origin)s may. With DEBUG off, none.",
        "Add the origins of your pages in the admin, or write CORS_ALLOWED_ORIGINS = [].",
    ),
    Finding(
        "W074",
        "CORS_ALLOWED_ORIGIN_REGEXES has %(pattern)s, which matches %(example)s as well.",
        "Write each full stop as \\. and one before the name, such as "
        r"^https://[a-z0-9-]+\.example\.com$; or rules with a wildcard, which match whole labels.",
    ),
    Finding(
        "W080",
        'The header policy "%(name)s" has the preset legacy: it sends X-XSS-Protection, which '
        "browsers have given up and which makes holes in old ones.",
        "Set its preset to api, html or owasp, unless a scanner asks for the five headers of old.",
    ),
    Finding(
        "W081",
        'The header policy "%(name)s" sends Strict-Transport-Security: %(value)s, and '
        "SECURE_HSTS_SECONDS says %(other)s: what Django's SecurityMiddleware sets comes first.",
        "Write SECURE_HSTS_SECONDS = 0, so that the policy alone decides.",
    ),
    Finding(
        "W082",
        'The header policy "%(name)s" holds browsers to HTTPS, and SECURE_SSL_REDIRECT is off: '
        "who comes over HTTP is not led to HTTPS, and never told to stay there.",
        "Write SECURE_SSL_REDIRECT = True, or silence this where the proxy redirects.",
    ),
    Finding(
        "W083",
        'The header policies %(names)s are for the same path, %(path)s: "%(name)s" alone holds.',
        "Put the headers of all into one, or switch the others off.",
    ),
    Finding(
        "W084",
        'The Content-Security-Policy of the header policy "%(name)s" only reports, and nothing '
        "collects what browsers report.",
        'Add path("pulse/", include("pulse.urls")) to the URLconf, or name a collector of your '
        "own by report-uri.",
    ),
    Finding(
        "W085",
        "No header policy is in force: answers carry no Content-Security-Policy of pulse's, and "
        "nothing holds browsers to HTTPS.",
        "Add the usual policies in the admin, or by pulse_apply: header_policies: [{name: api, "
        "path: /api/, preset: api}].",
    ),
    Finding(
        "W086",
        'The admin at %(path)s lies under the header policy "%(name)s", which lets it load no '
        "scripts and styles.",
        "Give it a policy of its own: header_policies: [{name: admin, path: %(path)s, preset: "
        "html}].",
    ),
    Finding(
        "W090",
        "%(path)s does not use limit_bodies: under ASGI Django writes a body down as long as it "
        "comes, and its size is asked only then.",
        "Write application = limit_bodies(get_asgi_application()), from pulse.asgi.",
    ),
    Finding(
        "W091",
        'PULSE["MAX_BODY_BYTES"] is 0: bodies are as large as clients like.',
        'Remove "MAX_BODY_BYTES" from PULSE, or write PULSE = {"MAX_BODY_BYTES": 10485760}; let '
        "endpoints that need more have it by their endpoint limits.",
    ),
    Finding(
        "W092",
        "The endpoint limits %(names)s are for the same requests, %(place)s, and each sets a "
        '%(field)s: that of "%(name)s" alone holds.',
        "Set it in one of them, or let one match more closely: by route, or for some methods.",
    ),
    Finding(
        "W100",
        "The access rule %(network)s refuses every client with an IPv%(family)d address, and no "
        "rule lets one in.",
        "Allow your own networks, in the admin or by pulse_apply: access_rules: "
        "[{network: 10.0.0.0/8, action: allow}]; silence this while the site is to be closed.",
    ),
    Finding(
        "W101",
        "The access rule %(rule)s holds for %(path)s: %(problem)s Load balancers and orchestrators "
        "would take the site for dead.",
        "Allow the network of your probes there, in the admin or by pulse_apply: access_rules: "
        "[{network: 10.0.0.0/8, path: %(path)s, action: allow}].",
    ),
    Finding(
        "W102",
        "The access rules %(first)s and %(second)s are one network written in two ways, for the "
        "path %(path)s: of the two a denial holds.",
        "Remove one of them.",
    ),
    Finding(
        "E110",
        'PULSE["OUTBOUND_NETWORK"] is "%(path)s", which cannot be imported, so no probe and no '
        "webhook goes out: %(error)s",
        'Remove "OUTBOUND_NETWORK" from PULSE, or name "pulse.testing.StubNetwork" in tests.',
    ),
    Finding(
        "E111",
        'PULSE["OUTBOUND_NETWORK"] is "%(path)s": probes and webhooks reach what a test put in '
        "the place of the network.",
        'Remove "OUTBOUND_NETWORK" from PULSE.',
    ),
    Finding(
        "E112",
        'PULSE["SITE_URL"] leads nowhere: %(problem)s.',
        'Write where people reach this site: PULSE = {"SITE_URL": "https://www.example.com"}.',
    ),
    Finding(
        "E120",
        'PULSE["PROBE_BASE_URL"] cannot be called: %(problem)s.',
        'Write where probes reach this site: PULSE = {"PROBE_BASE_URL": "http://127.0.0.1:8000"}.',
    ),
    Finding(
        "E121",
        'PULSE["PROBE_OPENAPI"] is "%(path)s", which cannot be imported: %(error)s',
        'Name a function that returns the OpenAPI document, or remove "PROBE_OPENAPI" from PULSE.',
    ),
    Finding(
        "W120",
        "Of this site %(names)s would be probed, and its own address is not known: nothing is "
        "sent.",
        'Write PULSE = {"PROBE_BASE_URL": "http://127.0.0.1:8000"}, with the address at which a '
        "worker reaches it.",
    ),
    Finding(
        "W121",
        "%(name)s cannot be probed: %(problem)s",
        "Mend it in the admin or by pulse_apply: its target, or the schedule that names it.",
    ),
    Finding(
        "W122",
        "The schedules %(names)s are in force, and nobody runs them: Celery's beat has no "
        "pulse.tick.",
        "Write CELERY_BEAT_SCHEDULE = {**pulse.schedules.beat_schedule(), ...} and start a worker "
        "and beat; or run manage.py pulse_worker, and silence this.",
    ),
    Finding(
        "W123",
        "The secret header %(header)s of the probe target %(target)s was encrypted with a key that "
        "is gone: its probes fail.",
        "Write its value again in the admin, or put the old key at the end of "
        'PULSE["SECRET_KEYS"] (without them: of SECRET_KEY_FALLBACKS).',
    ),
    Finding(
        "W124",
        "No value is stored for the secret header %(header)s of the probe target %(target)s: its "
        "probes fail.",
        "It was deleted with the target, and a rollback or a document brought the target back. "
        "Write its value again in the admin.",
    ),
    Finding(
        "W130",
        "Keys that count for more than a year: %(names)s.",
        "Rotate them to shorter lives: manage.py pulse_key rotate %(prefix)s keeps the length, so "
        "make new ones with --days.",
    ),
    Finding(
        "W131",
        "Keys that end within two weeks: %(names)s.",
        "Write manage.py pulse_key rotate %(prefix)s, and give the successor to whoever uses it; "
        "or let it end.",
    ),
    Finding(
        "W132",
        "The API of the site takes BasicAuthentication alone: a password goes with every request.",
        "Name tokens that end besides, in "
        'REST_FRAMEWORK["DEFAULT_AUTHENTICATION_CLASSES"]. Pulse\'s own API is not touched.',
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
