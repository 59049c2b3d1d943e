"""Whether alerts are looked for, and whether anybody hears of them."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Final

from pulse.alerts import deliveries
from pulse.alerts.measured import PROBE_DOWN
from pulse.alerts.rules import Rule, in_force
from pulse.alerts.state import AlertEngine
from pulse.doctor.findings import Finding, Progress, Severity, name_some
from pulse.policies import publisher
from pulse.probes import engine
from pulse.probes.plan import current_plan
from pulse.probes.summary import targets

TOPIC: Final = "alerts"
#: Beat has every rule looked at each ten seconds; so long after that nobody does.
SILENCE: Final = timedelta(minutes=2)


def examine(_progress: Progress) -> Iterator[Finding]:
    """Look for rules that nobody looks at, that nobody hears of or that are about nothing."""
    using = publisher.database()
    now = engine.clock(using)
    rules = list(in_force(now))
    found = [*_unwatched(rules, now, using), *_failing(now), *_misled(rules, now)]
    if found:
        yield from found
        return
    title = "Alerts are looked for, and word of them arrives."
    if not rules:
        title = "No alert rule is in force."
    evidence = f"Rules in force: {len(rules)}. Channels in force: {len(deliveries.in_force())}."
    yield Finding(TOPIC, Severity.OK, title, evidence)


def _unwatched(rules: Sequence[Rule], now: datetime, using: str) -> Iterator[Finding]:
    if not rules:
        return
    row = AlertEngine.objects.using(using).first()
    last = None if row is None else row.looked_at
    if last is not None and now - last <= SILENCE:
        return
    when = "never" if last is None else f"at {last:%Y-%m-%d %H:%M:%S} UTC"
    yield Finding(
        TOPIC,
        Severity.ERROR,
        "Nobody looks at the alert rules.",
        f"Rules in force: {len(rules)}. The last look was {when}.",
        "Run a worker with pulse's beat schedule, or pulse_worker.",
    )


def _failing(now: datetime) -> Iterator[Finding]:
    failed = deliveries.failing(now)
    if failed:
        yield Finding(
            TOPIC,
            Severity.ERROR,
            f"Word of alerts does not arrive; channels that fail: {len(failed)}.",
            name_some([f"{name} ({error})" if error else name for name, error in failed.items()]),
            "Mend the channel, and send it a test from its screen.",
        )


def _misled(rules: Sequence[Rule], now: datetime) -> Iterator[Finding]:
    heard = deliveries.in_force()
    mute = [rule.name for rule in rules if not rule.shadow and not heard.keys() & rule.channels]
    if mute:
        yield Finding(
            TOPIC,
            Severity.WARNING,
            f"Alert rules that open incidents and tell nobody: {len(mute)}.",
            name_some(mute),
            "Give them a channel that is in force, or put them in shadow.",
        )
    watched = {view.name for view in targets.views(current_plan(now.timestamp()), now)}
    lost = [
        f"{rule.name} ({rule.endpoint})"
        for rule in rules
        if rule.metric == PROBE_DOWN and rule.endpoint and rule.endpoint not in watched
    ]
    if lost:
        yield Finding(
            TOPIC,
            Severity.WARNING,
            f"Alert rules about targets that there are not: {len(lost)}.",
            name_some(lost),
            "Write the name of a target that is watched, or none for all of them.",
        )
