"""Every topic that the doctor knows, in the order in which they are looked at."""

from collections.abc import Iterable, Iterator
from typing import Final

from pulse.doctor import alerts, audit, convergence, history, publishing, resources
from pulse.doctor.findings import Examination, Finding, Progress

TOPICS: Final[dict[str, Examination]] = {
    publishing.TOPIC: publishing.examine,
    convergence.TOPIC: convergence.examine,
    history.TOPIC: history.examine,
    audit.TOPIC: audit.examine,
    resources.TOPIC: resources.examine,
    alerts.TOPIC: alerts.examine,
}


def examine(topics: Iterable[str] = (), progress: Progress = lambda *_: None) -> Iterator[Finding]:
    """Look at some topics, at all where none is named; each yields a finding at least.

    Raises:
        KeyError: There is no such topic.
    """
    for topic in list(topics) or TOPICS:
        yield from TOPICS[topic](progress)
