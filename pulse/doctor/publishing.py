"""Whether what was saved is in force."""

from collections.abc import Iterator
from typing import Final

from pulse.conf import conf
from pulse.doctor.findings import Finding, Progress, Severity
from pulse.policies import publisher

TOPIC: Final = "publishing"
#: Of many problems so many are told.
MAX_TOLD: Final = 10


def examine(_progress: Progress) -> Iterator[Finding]:
    """Compile the rows, and compare them with the newest revision."""
    problems = publisher.problems_of_rows()
    if problems:
        yield Finding(
            TOPIC,
            Severity.ERROR,
            "The saved rows make no policy.",
            " ".join(problems[:MAX_TOLD]),
            "Mend the rows that are named; until then the last revision stays in force.",
        )
        return
    changes = len(publisher.draft_changes())
    evidence = f"Changes beside the newest revision: {changes}."
    if not changes:
        yield Finding(TOPIC, Severity.OK, "What is saved is in force.", evidence)
    elif conf.PUBLISH == "manual":
        title = "There is a draft that is not in force."
        fix = "Publish it in the admin, or by POST policy/publish/."
        yield Finding(TOPIC, Severity.INFO, title, evidence, fix)
    else:
        yield Finding(
            TOPIC,
            Severity.ERROR,
            "Saved rows are not in force.",
            f"{evidence} They were written past every signal, or by a process that ended.",
            "Save any policy in the admin, or apply the document of pulse_export --draft.",
        )
