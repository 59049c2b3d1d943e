"""What can go wrong in pulse, as one family.

PulseError
├── PolicyError(ValueError)      a value that cannot be a policy, and why
│   ├── InvalidQuota
│   ├── InvalidNetwork
│   ├── InvalidPath
│   ├── InvalidOrigin
│   ├── InvalidHeader
│   ├── InvalidSize
│   ├── InvalidEndpointId
│   ├── InvalidPathParams
│   ├── InvalidSchedule
│   ├── InvalidWindow
│   ├── InvalidExpectation
│   └── InvalidDocument          a whole document, with every error by its place
├── InvalidReport(ValueError)    what a browser sent is no report
└── StoreError
    ├── StoreUnavailable         the counters cannot be reached in time
    └── StaleAnnouncement        the counters belong to another revision: nothing was charged
"""

from collections.abc import Mapping, Sequence


class PulseError(Exception):
    """The base of every error that pulse raises."""


class PolicyError(PulseError, ValueError):
    """A policy value that cannot be used, and why."""

    def __init__(self, value: str, reason: str) -> None:
        super().__init__(f'"{value}" {reason}')
        self.value = value
        self.reason = reason


class InvalidQuota(PolicyError):
    """A rate, burst or algorithm that makes no limit."""


class InvalidNetwork(PolicyError):
    """Text that is neither an address nor a CIDR network."""


class InvalidPath(PolicyError):
    """Text that cannot be a path of this site."""


class InvalidOrigin(PolicyError):
    """Text that is no origin, or one that would match more than it says."""


class InvalidHeader(PolicyError):
    """A header's name or value that cannot be sent."""


class InvalidSize(PolicyError):
    """Text that is no number of bytes."""


class InvalidEndpointId(PolicyError):
    """Text that is neither the name of a target nor an endpoint id."""

    def __init__(self, value: str) -> None:
        super().__init__(value, "is neither a name nor a method and a route.")
        # The public text of it, which scripts may look for.
        self.args = (f"Invalid endpoint_id format: {value}",)


class InvalidPathParams(PolicyError):
    """Values that make no path of a route."""


class InvalidSchedule(PolicyError):
    """An interval, cron expression or time zone that makes no schedule."""


class InvalidWindow(PolicyError):
    """Times that make no maintenance window."""


class InvalidExpectation(PolicyError):
    """Something that no answer can be judged by."""


class InvalidDocument(PulseError, ValueError):
    """A policy document that cannot be applied.

    Attributes:
        errors: Texts by place, such as ``endpoint_limits.3.limits.0.rate``.
    """

    def __init__(self, errors: Mapping[str, Sequence[str]]) -> None:
        self.errors = {place: list(texts) for place, texts in errors.items()}
        super().__init__(
            "; ".join(f"{place}: {' '.join(texts)}" for place, texts in self.errors.items())
        )


class InvalidReport(PulseError, ValueError):
    """A body that is no report of a browser."""


class StoreError(PulseError):
    """The base of what the counter store raises."""


class StoreUnavailable(StoreError):
    """The counters could not be reached within their time budget."""


class StaleAnnouncement(StoreError):
    """The store announces another revision than the caller holds; nothing was charged.

    Attributes:
        announced: The announcement as the store has it, None when it has none.
    """

    def __init__(self, announced: str | None) -> None:
        super().__init__(f"announced: {announced}")
        self.announced = announced
