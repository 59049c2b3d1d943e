"""Whether the record of policies is whole."""

from collections.abc import Iterator
from functools import partial
from typing import Final

from pulse.doctor.findings import Finding, Progress, Severity
from pulse.policies.history import check_chain

TOPIC: Final = "history"


def examine(progress: Progress) -> Iterator[Finding]:
    """Look along the hash chain; reads every revision."""
    chain = check_chain(partial(progress, TOPIC))
    if chain.broken is None:
        title = "The record of policies is whole."
        evidence = f"{chain.checked:,} revisions, each bound to the one before by its hash."
        yield Finding(TOPIC, Severity.OK, title, evidence)
        return
    yield Finding(
        TOPIC,
        Severity.ERROR,
        f"The record of policies is broken at revision {chain.broken}.",
        f"{chain.checked:,} revisions before it hang together. {chain.reason}",
        "Compare the table of revisions with a backup: someone wrote to it past pulse. The policy "
        "in force goes on; new revisions are bound to the newest.",
    )
