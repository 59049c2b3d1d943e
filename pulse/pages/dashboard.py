"""One look: what passes, what is refused, what is slow and what needs somebody."""

import csv
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.formats import number_format
from django.utils.http import urlencode
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from pulse.access.scopes import Scope
from pulse.core.measures import SHARES, Measures, Targets, Window, keeps, told
from pulse.core.networks import client_prefix, parse_address
from pulse.exceptions import StoreUnavailable
from pulse.metrics import series, wire
from pulse.metrics import window as windows
from pulse.metrics.series import Span
from pulse.pages import charts, marks
from pulse.pages.answers import data, page, private, refuse_unknown, wants_json
from pulse.pages.attention import Level, Need, Situation, needs, percent
from pulse.pages.guard import guarded
from pulse.pages.places import Places
from pulse.policies import current
from pulse.policies.blocked import in_force
from pulse.policies.headroom import Headroom, headroom_of_rules
from pulse.policies.kinds import time_to_text
from pulse.policies.overview import Sort
from pulse.policies.processes import convergence
from pulse.probes.plan import current_plan
from pulse.probes.summary import machine, targets
from pulse.store import blocked

POLL_MS: Final = 5000
#: Answers by which pulse refuses, but for those that are errors.
REFUSING: Final = (400, 401, 403, 408, 409, 411, 413, 429)
#: Rows of each list; pages of their own have the rest.
ROWS: Final = 8
#: Stands for what was not measured.
NOTHING: Final = "\N{EN DASH}"
COLUMNS: Final = (
    *("at", "seconds", "requests", "refused", "errors"),
    *(f"{name}_ms" for name in SHARES),
)


@dataclass(frozen=True, slots=True)
class Card:
    """A number, how it went in the window, and where there is more of it.

    Attributes:
        level: Of what is amiss with it; empty for nothing.
        share: Of something that can be full, 0 to 1, drawn instead of a line.
    """

    name: str
    text: str
    address: str
    level: str = ""
    spark: charts.Spark | None = None
    share: float | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """An endpoint of the window."""

    endpoint_id: str
    told: Mapping[str, Any]
    sla: bool | None
    address: str


@guarded(Scope.VIEW)
def show(request: HttpRequest) -> HttpResponse:
    """Show the site at this moment, and in the window that the address names."""
    if (refused := refuse_unknown(request, "window")) is not None:
        return refused
    name, now = _window(request), timezone.now()
    spans = series.read(name, now)
    if request.GET.get("format") == "csv":
        return _csv(spans, name)
    situation = _situation(now)
    reading, places = situation.reading, Places(request)
    listed = needs(situation, places)
    rows = _rows(reading, situation.promised)
    if wants_json(request):
        return data(request, _told(situation, listed, spans, rows))
    step = series.WINDOWS[name][1]
    changes = marks.between(spans[0].at, now)
    context = {
        "verdict": _verdict(situation, listed),
        "needs": listed,
        "cards": _cards(situation, spans),
        "reading": reading,
        "is_empty": not any(span.measures.requests for span in spans),
        "traffic": charts.columns([_volume(span) for span in spans], step, changes),
        "latency": charts.band([_point(span) for span in spans], step, changes),
        "spans": [
            (span, span.measures.latencies.quantiles_ms([*SHARES.values()])) for span in spans
        ],
        "rows": rows[:ROWS],
        "endpoints": len(rows),
        "refusals": _refusals(reading, places),
        "offenders": _offenders(places),
        "blocked_url": places.screen("pulse_blocked"),
        "window": name,
        "windows": list(series.WINDOWS),
        "poll_ms": POLL_MS,
    }
    return page(request, "pulse/dashboard.html", context)


def _window(request: HttpRequest) -> str:
    name = request.GET.get("window", "")
    return name if name in series.WINDOWS else next(iter(series.WINDOWS))


def _situation(now: datetime) -> Situation:
    plan = current_plan(now.timestamp())
    statuses: dict[Any, int] = {}
    for view in targets.views(plan, now):
        statuses[view.status] = statuses.get(view.status, 0) + 1
    return Situation(
        now=now,
        reading=windows.read(),
        promised=wire.promised(),
        convergence=convergence(),
        headroom=_headroom(),
        machine=machine.read(plan),
        statuses=statuses,
    )


def _headroom() -> Mapping[str, Headroom] | None:
    try:
        return headroom_of_rules()
    except StoreUnavailable:
        return None


def _verdict(found: Situation, listed: Sequence[Need]) -> Need:
    """Say in a sentence how the whole is."""
    troubles = [need for need in listed if need.level != Level.CALM]
    if troubles:
        worst, more = troubles[0], len(troubles) - 1
        if not more:
            return worst
        text = ngettext("%(text)s And %(more)d more.", "%(text)s And %(more)d more.", more)
        told_ = text % {"text": worst.text, "more": more}
        return Need(worst.level, told_, worst.address, worst.link)
    reading = found.reading
    minutes = round(reading.seconds / 60)
    if not reading.total.requests:
        text = ngettext(
            "Nobody asked for anything in the last minute.",
            "Nobody asked for anything in the last %d minutes.",
            minutes,
        )
        return Need(Level.CALM, text % minutes if "%d" in text else text)
    text = _("All is well: %(rate)s requests a second, %(errors)s errors.")
    rate = reading.total.requests / reading.covered_s if reading.covered_s else 0.0
    errors = percent(reading.total.error_rate or 0.0)
    return Need(Level.CALM, text % {"rate": number_format(rate, 1), "errors": errors})


def _cards(found: Situation, spans: Sequence[Span]) -> Iterator[Card]:
    """Make the numbers of the last minutes, each with its line over the window."""
    reading, promised = found.reading, found.promised
    total, seconds = reading.total, reading.covered_s
    endpoints = reverse("pulse:endpoints")
    p95_ms = total.latencies.quantile_ms(0.95)

    def rate(count: int) -> str:
        if not seconds:
            return NOTHING
        value = count / seconds
        return _("%s/s") % number_format(value, 2 if 0 < value < 0.1 else 1)

    yield Card(
        _("Requests"), rate(total.requests), endpoints, spark=_spark(spans, lambda m: m.requests)
    )
    yield Card(
        _("Errors"),
        NOTHING if total.error_rate is None else percent(total.error_rate),
        endpoints,
        Level.BAD if (total.error_rate or 0.0) > promised.error_rate else "",
        charts.spark([span.measures.error_rate for span in spans]),
    )
    yield Card(
        _("95 % within"),
        NOTHING if p95_ms is None else _("%s ms") % number_format(p95_ms, 1 if p95_ms < 10 else 0),
        endpoints,
        Level.SLOW if (p95_ms or 0.0) > promised.p95_ms else "",
        charts.spark([span.measures.latencies.quantile_ms(0.95) for span in spans]),
    )
    yield Card(
        _("Refused"),
        rate(total.refused),
        f"{reverse('pulse:policies')}?sort={Sort.REFUSED}",
        spark=_spark(spans, lambda m: m.refused),
    )
    peaks = {
        rule: each.peak for rule, each in (found.headroom or {}).items() if each.peak is not None
    }
    closest = max(peaks, key=lambda rule: peaks[rule], default=None)
    highest = None if closest is None else peaks[closest]
    named = "" if closest is None else f": {closest.partition(':')[2]}"
    yield Card(
        _("Closest limit, 24 h") + named,
        NOTHING if highest is None else percent(highest),
        f"{reverse('pulse:policies')}?sort={Sort.PEAK}",
        share=highest,
    )


def _spark(spans: Iterable[Span], count: Callable[[Measures], int]) -> charts.Spark:
    return charts.spark(
        [count(span.measures) / span.seconds if span.seconds else None for span in spans]
    )


def _volume(span: Span) -> charts.Volume:
    found = span.measures
    # What was refused by 503 is an error, too, and drawn as one alone.
    refused = min(found.refused, sum(found.statuses[status] for status in REFUSING))
    passed = max(0, found.requests - refused - found.errors)
    return charts.Volume(span.at, span.seconds, passed, refused, found.errors)


def _point(span: Span) -> charts.Point:
    p50, p90, _p95, p99 = _quantiles(span)
    return charts.Point(span.at, p50, p90, p99, span.measures.requests, None)


def _quantiles(span: Span) -> list[float | None]:
    return span.measures.latencies.quantiles_ms([*SHARES.values()])


def _rows(reading: Window, promised: Targets) -> list[Row]:
    """Return the endpoints, the worst first: those that fail, then the slow, then the busy."""

    def badness(pair: tuple[str, Measures]) -> tuple[float, ...]:
        _name, found = pair
        slow = keeps(found, promised) is False
        p95_ms = found.latencies.quantile_ms(0.95) or 0.0
        return (-found.errors, -slow, -p95_ms if slow else 0.0, -found.requests)

    return [
        Row(
            name,
            told(found, reading.covered_s, promised),
            keeps(found, promised),
            f"{reverse('pulse:endpoints')}?{urlencode({'q': name.partition(' ')[2]})}",
        )
        for name, found in sorted(reading.endpoints.items(), key=badness)
    ]


def _refusals(reading: Window, places: Places) -> list[tuple[Mapping[str, Any], int, str]]:
    """Return rules by how many they refused, each with where it is edited."""
    found = []
    for rule, count in reading.total.refused_by.most_common(ROWS):
        named = wire.rule_as_dict(rule)
        found.append((named, count, places.of(named["kind"], named["key"])))
    return found


def _offenders(places: Places) -> list[tuple[blocked.Blocked, str, str]]:
    """Return who is refused now, each with where it is explained and where it is denied."""
    entries = in_force(blocked.listing().entries, current.current_snapshot())
    entries.sort(key=lambda entry: -entry.refused)
    form = places.screen("pulse_accessrule_add")
    found = []
    for entry in entries[:ROWS]:
        method, _space, route = entry.request.partition(" ")
        asked = {"address": entry.address, "method": method, "path": route}
        explain = f"{reverse('pulse:explain')}?{urlencode({k: v for k, v in asked.items() if v})}"
        address = parse_address(entry.address)
        deny = ""
        if form and address is not None and not entry.rule.startswith(blocked.DENIALS):
            fields = {"network": client_prefix(address), "action": "deny", "ends_in": "1h"}
            deny = f"{form}?{urlencode(fields)}"
        found.append((entry, explain, deny))
    return found


def _told(
    found: Situation, listed: Sequence[Need], spans: Sequence[Span], rows: Sequence[Row]
) -> dict[str, Any]:
    """Write the page for machines."""
    verdict, reading = _verdict(found, listed), found.reading
    return {
        "verdict": verdict.as_dict(),
        "needs": [need.as_dict() for need in listed],
        "window": {"from_at": time_to_text(reading.from_at), "to_at": time_to_text(reading.to_at)},
        "stale": reading.is_stale,
        "total": told(
            reading.total, reading.covered_s, found.promised, in_flight=reading.in_flight
        ),
        "points": [dict(zip(COLUMNS, line, strict=True)) for line in map(_line, spans)],
        "endpoints": [{"endpoint_id": row.endpoint_id, **row.told} for row in rows],
    }


def _line(span: Span) -> list[Any]:
    """Return what a span is told as; nothing where nobody was there."""
    found = span.measures
    counts = [found.requests, found.refused, found.errors] if span.seconds else [None] * 3
    return [
        time_to_text(span.at),
        span.seconds,
        *counts,
        *_quantiles(span),
    ]


def _csv(spans: Sequence[Span], name: str) -> HttpResponse:
    response = HttpResponse(content_type="text/csv; charset=utf-8")
    response.headers["Content-Disposition"] = f'attachment; filename="pulse-{name}.csv"'
    writer = csv.writer(response)
    writer.writerow(COLUMNS)
    writer.writerows(map(_line, spans))
    return private(response)
