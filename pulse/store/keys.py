"""Where the counters lie: names made into keys of one cache alias."""

from collections.abc import Callable
from typing import Final

#: One hash tag for all, so that a cluster keeps what one script touches on one node.
TAG: Final = "{pulse}"
SENTINELS: Final = (f"{TAG}:sentinel", f"{TAG}:another sentinel:\N{SNOWMAN}")


class Keys:
    """The keys of one cache alias, made as its ``make_key`` makes them.

    Where the alias's ``KEY_FUNCTION`` wraps the name, which nearly all do, what it puts around
    is found once and then joined; else it is called for each key.

    Attributes:
        announcement: The policy in force.
        processes: The processes alive that share the counters, a sorted set.
        alive: All processes alive, a sorted set; ``running`` is what they say of themselves.
    """

    def __init__(self, make_key: Callable[[str], object]) -> None:
        self._make_key = make_key
        made = [str(make_key(sentinel)) for sentinel in SENTINELS]
        head, found, tail = made[0].partition(SENTINELS[0])
        self._wraps = bool(found) and made[1] == f"{head}{SENTINELS[1]}{tail}"
        self._head, self._tail = (head, tail) if self._wraps else ("", "")
        self.announcement = self.named("announcement")
        self.processes = self.named("processes")
        self.alive = self.named("alive")
        self.running = self.named("running")
        self._limit_head = f"{self._head}{TAG}:l:"

    def named(self, name: str) -> str:
        """The key of one name of pulse's own."""
        if self._wraps:
            return f"{self._head}{TAG}:{name}{self._tail}"
        made = str(self._make_key(f"{TAG}:{name}"))
        return made if TAG in made else f"{TAG}:{made}"

    def limits(self, claim_key: str, slots: tuple[str, ...]) -> list[str]:
        """The key of each quota of one claim."""
        if not self._wraps:
            return [self.named(f"l:{claim_key}:{slot}") for slot in slots]
        head, tail = f"{self._limit_head}{claim_key}:", self._tail
        return [f"{head}{slot}{tail}" for slot in slots]
