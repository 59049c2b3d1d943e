"""What a rule does, in words: for the lists and forms of the admin, and for ``pulse_explain``.

Everything here takes items of the document (``Kind.to_item``) and queries nothing.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from django.utils.text import capfirst
from django.utils.translation import gettext as _

from pulse.core.access import Action
from pulse.core.bounds import format_size
from pulse.core.claims import OnStoreError
from pulse.core.clients import HEADER_SOURCE
from pulse.core.document import Item
from pulse.core.origins import ANY, WILDCARD, is_wildcard
from pulse.core.quotas import SECOND_US, UNITS_US, Algorithm, Quota, make_quota
from pulse.core.snapshot import Mode
from pulse.exceptions import InvalidQuota

Writer = Callable[[Item], str]

DAY_US: Final = UNITS_US["d"]


def describe(kind: str, item: Item) -> str:
    """Say what an item of the document does; empty for a kind that has no words yet.

    Args:
        kind: The document's kind, such as ``endpoint_limits``.
        item: As ``Kind.to_item`` writes it, defaults written out.
    """
    write = _writers.get(kind)
    return "" if write is None else write(item)


def register(writers: Mapping[str, Writer]) -> None:
    """Let a room write the sentences of its kinds."""
    _writers.update(writers)


def rate_texts() -> dict[str, str]:
    """Return the texts of ``say_quota`` and of a rate's errors, for a script to fill in."""
    return {
        "one_s": _("%(count)s a second"),
        "one_m": _("%(count)s a minute"),
        "one_h": _("%(count)s an hour"),
        "one_d": _("%(count)s a day"),
        "many_s": _("%(count)s every %(number)s seconds"),
        "many_m": _("%(count)s every %(number)s minutes"),
        "many_h": _("%(count)s every %(number)s hours"),
        "many_d": _("%(count)s every %(number)s days"),
        "bucket": _("%(rate)s, up to %(burst)s at once"),
        "window": _("%(rate)s, in a window that opens with the first request"),
        "bucket_wait": _("%(limit)s; a client that has used them all waits %(wait)s for the next"),
        "window_wait": _(
            "%(limit)s; a client that has used them all waits for its end, %(wait)s at most"
        ),
        "instant": _("less than 1 ms"),
        "seconds": _("%(number)s s"),
        "minutes": _("%(number)s min"),
        "hours": _("%(number)s h"),
        "days": _("%(number)s days"),
        # As pulse.core.quotas says them, which knows no languages.
        "no_rate": "is not a rate. Write a count and a unit, such as 10/s.",
        "no_count": "lets nothing through. Use an access rule to deny.",
        "no_period": "has no period. Write at least one second.",
        "long_period": "is counted over more than a year.",
        "fast": "is more than one request a microsecond.",
        "no_burst": _("A fixed window has no burst. Leave it empty, or take a token bucket."),
    }


def say_rate(quota: Quota) -> str:
    """Say ``10 a second`` or ``5 every 10 minutes``."""
    texts = rate_texts()
    for unit in ("d", "h", "m", "s"):
        number, rest = divmod(quota.period_us, UNITS_US[unit])
        if number and not rest:
            key = f"one_{unit}" if number == 1 else f"many_{unit}"
            return texts[key] % {"count": quota.count, "number": number}
    return quota.rate


def say_quota(quota: Quota, *, wait: bool = False) -> str:
    """Say what one limit allows.

    Args:
        quota: The limit.
        wait: Also how long a client waits that has used it up.
    """
    texts = rate_texts()
    window = quota.algorithm is Algorithm.FIXED_WINDOW
    limit = texts["window" if window else "bucket"] % {
        "rate": say_rate(quota),
        "burst": quota.capacity,
    }
    if not wait:
        return limit
    longest = say_duration(quota.period_us if window else quota.spacing_us)
    return texts["window_wait" if window else "bucket_wait"] % {"limit": limit, "wait": longest}


def say_duration(time_us: int) -> str:
    """Say a time in its largest unit, three digits of it: ``0.1 s``, ``12 s``, ``1.5 min``."""
    texts = rate_texts()
    if time_us < 1000:
        return texts["instant"]
    steps = (
        ("seconds", SECOND_US, 60 * SECOND_US),
        ("minutes", 60 * SECOND_US, UNITS_US["h"]),
        ("hours", UNITS_US["h"], 2 * DAY_US),
    )
    for name, unit, end in steps:
        if time_us < end:
            return texts[name] % {"number": f"{time_us / unit:.3g}"}
    return texts["days"] % {"number": f"{time_us / DAY_US:.3g}"}  # A year at most: no exponent.


def say_limits(limits: Sequence[Mapping[str, Any]]) -> str:
    """Say the limits of one item: ``10 a second, up to 20 at once; and 1000 an hour, …``."""
    return _("; and ").join(_say_limit(limit) for limit in limits)


def say_target(item: Item) -> str:
    """Say which requests an endpoint limit is for: ``POST to login``."""
    methods = list(item.get("methods", ()))
    if "GET" in methods and "HEAD" not in methods:
        methods.insert(methods.index("GET") + 1, "HEAD")
    what = join(methods) if methods else _("Every request")
    if item.get("path") == "/":
        return _("%(what)s to the site") % {"what": what}
    for name, text in (
        ("path", _("%(what)s under %(value)s")),
        ("view", _("%(what)s to the view %(value)s")),
        ("route", _("%(what)s to %(value)s")),
        ("url_name", _("%(what)s to %(value)s")),
    ):
        if item.get(name):
            return text % {"what": what, "value": item[name]}
    return _("%(what)s to nothing") % {"what": what}


def say_key(key: str | Sequence[str]) -> str:
    """Say who is counted: ``each address``."""
    sources = [key] if isinstance(key, str) else list(key)
    if sources == ["global"]:
        return _("all clients together")
    parts = [_say_source(source) for source in sources]
    if len(parts) == 1:
        return _("each %(part)s") % {"part": parts[0]}
    return _("each combination of %(parts)s") % {"parts": join(parts)}


def say_bounds(item: Item) -> str:
    """Say how large a body and how long an answer may be, and what is slow; empty for nothing."""
    size, seconds = item.get("max_body_bytes"), item.get("timeout_s")
    parts = []
    if size is not None:
        parts.append(_("a body of up to %s") % format_size(size) if size else _("no body"))
    if seconds is not None:
        parts.append(_("an answer within %s") % say_duration(round(seconds * SECOND_US)))
    slow_ms = item.get("slow_ms")
    if slow_ms is not None:
        slow = say_duration(slow_ms * 1000)
        text = _("a line in the log after %s") % slow if slow_ms else _("no line for what is slow")
        parts.append(text)
    if item.get("require_nonce"):
        parts.append(_("each request once"))
    return join(parts)


def say_mode(item: Item) -> str:
    """Say whether a rule acts, and on whom."""
    if item["mode"] == Mode.OFF:
        return _("Off: it does nothing.")
    if item["mode"] == Mode.SHADOW:
        return _("In shadow: it counts and reports, and refuses nobody.")
    if item["percent"] == 0:
        return _("In shadow: it is enforced for 0 % of clients.")
    if item["percent"] < 100:
        return _("Enforced for %(percent)d %% of clients, in shadow for the rest.") % {
            "percent": item["percent"],
        }
    return _("Enforced for everybody.")


def say_times(item: Item) -> str:
    """Say from when until when it holds; empty for always."""
    starts, ends = _moment(item.get("starts_at")), _moment(item.get("ends_at"))
    if starts and ends:
        return _("From %(start)s until %(end)s.") % {"start": starts, "end": ends}
    if starts:
        return _("From %(start)s on.") % {"start": starts}
    return _("Until %(end)s.") % {"end": ends} if ends else ""


def join(parts: Sequence[str]) -> str:
    """Write a list in words: ``a, b and c``."""
    if len(parts) < 2:
        return "".join(parts)
    return _("%(first)s and %(last)s") % {"first": ", ".join(parts[:-1]), "last": parts[-1]}


def sentences(*texts: str) -> str:
    """Put sentences behind each other, without those that are empty."""
    return " ".join(text for text in texts if text)


def _tier(item: Item) -> str:
    who = (
        _("Each client that no assignment gives another tier")
        if item["default"]
        else _("Each client that is given this tier")
    )
    does = _("%(who)s may do %(limits)s.") % {"who": who, "limits": say_limits(item["limits"])}
    return sentences(does, say_mode(item), say_times(item))


def _assignment(item: Item) -> str:
    names = ("user", "group", "api_key", "network", "header")
    who = next((name for name in names if item.get(name)), "")
    text = {
        "user": _("The user %(name)s has the tier %(tier)s."),
        "group": _("Users of the group %(name)s have the tier %(tier)s."),
        "api_key": _("Requests with the API key %(name)s have the tier %(tier)s."),
        "network": _("Clients from %(name)s have the tier %(tier)s."),
        "header": _("Clients with the header %(name)s have the tier %(tier)s."),
    }.get(who, _("Nobody has the tier %(tier)s."))
    mode = say_mode(item)
    if item["mode"] == Mode.SHADOW:
        mode = _("In shadow: they keep the tier that they have, and this one counts beside it.")
    does = text % {"name": item.get(who, ""), "tier": item["tier"]}
    return sentences(does, mode, say_times(item))


def _endpoint(item: Item) -> str:
    target, who = say_target(item), say_key(item["key"])
    if item.get("limits"):
        does = _("%(target)s: %(who)s may do %(limits)s.") % {
            "target": target,
            "who": who,
            "limits": say_limits(item["limits"]),
        }
    elif item.get("tier"):
        does = _("%(target)s: %(who)s may do what the tier %(tier)s allows, counted apart.") % {
            "target": target,
            "who": who,
            "tier": item["tier"],
        }
    elif say_bounds(item):
        does = _("%(target)s: %(bounds)s.") % {"target": target, "bounds": say_bounds(item)}
    else:
        does = _("%(target)s: no limit of its own.") % {"target": target}
    bounds = ""
    if item.get("limits") or item.get("tier"):
        bounds = f"{capfirst(say_bounds(item))}." if say_bounds(item) else ""
    cost = _("One request counts as %d.") % item["cost"] if item["cost"] > 1 else ""
    tier = _("It is not charged to the client's tier.") if item["replaces_tier"] else ""
    store = {
        OnStoreError.OPEN.value: _("Without Redis everything is let through."),
        OnStoreError.CLOSED.value: _("Without Redis everything is refused."),
    }.get(item["on_store_error"], "")
    return sentences(does, bounds, cost, tier, say_mode(item), store, say_times(item))


def _exemption(item: Item) -> str:
    if item.get("path"):
        does = _("No limit touches %(path)s and what lies under it.") % {"path": item["path"]}
    else:
        does = _("No limit touches requests from %s.") % item.get("network", "")
    return sentences(does, _say_switch(item), say_times(item))


def _proxy(item: Item) -> str:
    does = _("What %s says in X-Forwarded-For is believed.") % item["network"]
    return sentences(does, _say_switch(item), say_times(item))


def _headers(item: Item) -> str:
    """Say what answers carry; a policy's percent is of clients, as a limit's."""
    preset, own = item.get("preset"), item["headers"]
    names = [name for name, value in own.items() if value is not None]
    removed = [name for name, value in own.items() if value is None]
    parts = [_("the headers of the preset %s") % preset] if preset else []
    parts += names
    does = _("Answers under %(path)s carry %(headers)s.") % {
        "path": item["path"],
        "headers": join(parts) if parts else _("no header of a policy"),
    }
    gone = _("Removed: %s.") % join(removed) if removed else ""
    force = _("What views have set is replaced.") if item["force"] else ""
    csp = (
        _("What the Content-Security-Policy would block is reported, and not blocked.")
        if item["csp_report_only"]
        else ""
    )
    stage = {
        "5m": _("Browsers are held to HTTPS for 5 minutes only."),
        "1d": _("Browsers are held to HTTPS for a day only."),
        "1w": _("Browsers are held to HTTPS for a week only."),
        "30d": _("Browsers are held to HTTPS for 30 days only."),
    }.get(item.get("hsts_stage", ""), "")
    mode = ""
    if item["mode"] != Mode.ENFORCE:
        mode = _say_switch(item)
    elif item["percent"] < 100:
        mode = _("For %d %% of clients.") % item["percent"]
    return sentences(does, gone, force, csp, stage, mode, say_times(item))


def _access(item: Item) -> str:
    network, path = item["network"], item["path"]
    who = (
        _("Every client with an IPv%d address") % (6 if ":" in network else 4)
        if network.endswith("/0")
        else _("Clients from %s") % network
    )
    where = _("everywhere") if path == "/" else _("under %s") % path
    text = (
        _("%(who)s are refused %(where)s.")
        if item["action"] == Action.DENY
        else _("%(who)s may come in %(where)s, whatever is said of wider networks.")
    )
    if network.endswith("/0"):
        text = (
            _("%(who)s is refused %(where)s.")
            if item["action"] == Action.DENY
            else _("%(who)s may come in %(where)s.")
        )
    reason = _("Why: %s.") % item["reason"].rstrip(".") if item.get("reason") else ""
    does = text % {"who": who, "where": where}
    return sentences(does, reason, say_mode(item), say_times(item))


def _cors(item: Item) -> str:
    origin, methods = item["origin"], list(item["methods"])
    who = _("Scripts of any page")
    if is_wildcard(origin):
        name = origin.replace(WILDCARD, "", 1)
        who = _("Scripts of every host under %s") % name
    elif origin != ANY:
        who = _("Scripts of %s") % origin
    where = _("here") if item["path"] == "/" else _("under %s") % item["path"]
    does = _("%(who)s may ask %(where)s by %(methods)s, and read the answers.") % {
        "who": who,
        "where": where,
        "methods": join(methods) or _("no method"),
    }
    cookies = _("They act with the visitor's cookies.") if item["credentials"] else ""
    forms = _("Forms from there may post with a valid token.") if item["csrf_trusted"] else ""
    mode = say_mode(item) if item["mode"] == Mode.OFF else ""
    if item["mode"] == Mode.SHADOW:
        mode = _("In shadow: it allows nothing, and counts whom it would.")
    return sentences(does, cookies, forms, mode, say_times(item))


def _say_switch(item: Item) -> str:
    """Say the mode of what is either in force or not."""
    if item["mode"] == Mode.SHADOW:
        return _("In shadow: it does nothing.")
    return say_mode(item) if item["mode"] == Mode.OFF else ""


def _say_limit(limit: Mapping[str, Any]) -> str:
    window = limit["algorithm"] == Algorithm.FIXED_WINDOW
    try:
        quota = make_quota(limit["rate"], None if window else limit["burst"], limit["algorithm"])
    except InvalidQuota:
        return str(limit["rate"])
    return say_quota(quota)


def _say_source(source: str) -> str:
    if source.startswith(HEADER_SOURCE):
        return _("value of %s") % source.removeprefix(HEADER_SOURCE)
    return {"client": _("client"), "ip": _("address"), "user": _("user")}.get(source, source)


def _moment(text: str | None) -> str:
    if text is None:
        return ""
    return datetime.fromisoformat(text).astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")


_writers: dict[str, Writer] = {
    "rate_tiers": _tier,
    "tier_assignments": _assignment,
    "endpoint_limits": _endpoint,
    "exemptions": _exemption,
    "trusted_proxies": _proxy,
    "cors_origins": _cors,
    "access_rules": _access,
    "header_policies": _headers,
}
