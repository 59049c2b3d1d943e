"""Where an alert rule stands: pure steps from one look to the next."""

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

#: What comes back again and again must be well for longer, up to so many seconds.
LONGEST_CALM_S: Final = 3600.0


class Standing(StrEnum):
    """Where a rule is."""

    OK = "ok"
    PENDING = "pending"
    FIRING = "firing"


@dataclass(frozen=True, slots=True)
class State:
    """A rule on one subject at a look. All times in epoch seconds.

    Attributes:
        since_s: When it came to stand there.
        clear_since_s: When it was first well again while firing; None while it is not.
    """

    standing: Standing
    since_s: float
    clear_since_s: float | None = None


def compare(op: str, value: float | None, threshold: float | None) -> bool:
    """Whether a value is as it should not be; where nothing was measured, only ``absent`` is.

    A zero that was measured is not absent: whoever counts requests says None for none of them.
    """
    if op == "absent":
        return value is None
    if value is None or threshold is None:
        return False
    compared = {
        ">": value > threshold,
        ">=": value >= threshold,
        "<": value < threshold,
        "<=": value <= threshold,
    }
    return compared[op]


def step(
    state: State | None, now_s: float, *, is_wrong: bool | None, for_s: float, calm_s: float
) -> State:
    """Return where a rule stands after another look.

    Args:
        state: Before; None for the first look.
        now_s: When; where the clock was set back, what has lasted is counted from now on.
        is_wrong: What the look found; None where it could find nothing out, which changes nothing.
        for_s: How long it must be wrong before it fires.
        calm_s: How long it must be well before that is over.
    """
    state = State(Standing.OK, now_s) if state is None else _cut(state, now_s)
    if is_wrong is None:
        return state
    return _wrong(state, now_s, for_s) if is_wrong else _well(state, now_s, calm_s)


def calm_after(resolve_for_s: float, returns: int) -> float:
    """Return for how long it must be well, in seconds, once it came back so often of late.

    Each return doubles it: what flaps is one long incident, and not a word a minute.
    """
    doubled: float = max(resolve_for_s, 1.0 if returns else 0.0) * 2.0 ** min(returns, 12)
    return min(doubled, max(resolve_for_s, LONGEST_CALM_S))


def _cut(state: State, now_s: float) -> State:
    """Bring times that lie ahead to now."""
    clear_s = state.clear_since_s
    return State(
        state.standing,
        min(state.since_s, now_s),
        None if clear_s is None else min(clear_s, now_s),
    )


def _wrong(state: State, now_s: float, for_s: float) -> State:
    if state.standing == Standing.FIRING:
        return replace(state, clear_since_s=None)
    since_s = state.since_s if state.standing == Standing.PENDING else now_s
    is_long = now_s - since_s >= for_s
    return State(Standing.FIRING, now_s) if is_long else State(Standing.PENDING, since_s)


def _well(state: State, now_s: float, calm_s: float) -> State:
    if state.standing == Standing.OK:
        return state
    if state.standing == Standing.PENDING:
        return State(Standing.OK, now_s)
    clear_s = now_s if state.clear_since_s is None else state.clear_since_s
    is_over = now_s - clear_s >= calm_s
    return State(Standing.OK, now_s) if is_over else replace(state, clear_since_s=clear_s)
