"""What can go wrong in pulse, as one family.

PulseError
├── PolicyError(ValueError)      a value that cannot be a policy, and why
│   ├── InvalidQuota
│   ├── InvalidNetwork
│   ├── InvalidPath
│   ├── InvalidOrigin
│   ├── InvalidHeader
│   ├── InvalidSize
│   └── InvalidDocument          a whole document, with every error by its place
├── InvalidReport(ValueError)    what a browser sent is no report
├── ProbeError
│   ├── TargetForbidden(ValueError)
│   │   ├── ForbiddenUrl         a URL that pulse does not call
│   │   └── ForbiddenAddress     an address that pulse does not connect to
│   └── CallFailed               a call that has no whole answer, and why
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


class ProbeError(PulseError):
    """The base of what keeps a probe, or a webhook, from an answer."""


class TargetForbidden(ProbeError, ValueError):
    """Somewhere that pulse sends nothing to, on anybody's word.

    Attributes:
        reason: Why, as the wire contract names it.
    """

    def __init__(self, text: str, reason: str) -> None:
        super().__init__(text)
        self.reason = reason


class ForbiddenUrl(TargetForbidden):
    """A URL that pulse does not call. The URL is not told: it may have a secret in it."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"URL not allowed: {reason}", reason)


class ForbiddenAddress(TargetForbidden):
    """An address that pulse does not connect to."""

    def __init__(self, address: str, reason: str) -> None:
        super().__init__(f"Address not allowed: {address} ({reason})", reason)
        self.address = address


class CallFailed(ProbeError):
    """A call that has no whole answer.

    Attributes:
        failure: A value of ``core.attempts.Failure``.
        detail: The failure in words for people, without secrets.
    """

    def __init__(self, failure: str, detail: str) -> None:
        super().__init__(detail)
        self.failure = failure
        self.detail = detail


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
