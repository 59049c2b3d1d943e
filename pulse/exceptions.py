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
│   └── InvalidExpectation
├── InvalidFields(ValueError)    several values at once, with every error by its place
│   ├── InvalidDocument          a whole policy document
│   └── InvalidQuestion          a request that cannot be explained
│       └── UnknownUser
├── LockOut                      an edit after which its author could not work
├── InvalidReport(ValueError)    what a browser sent is no report
├── AccessError                  who asks cannot be let in, and why
│   ├── KeyRefused
│   ├── KeyEnded                 what is revoked or expired has no successor
│   ├── TooManyFailures          an address sent too many keys that do not count
│   ├── RequestRunning           the same request is being answered
│   └── RequestMismatch          its key came with something else before
├── ProbeError                   a probe that cannot be started or sent, and why
│   ├── TargetForbidden(ValueError)
│   │   ├── ForbiddenUrl         a URL that pulse does not call
│   │   └── ForbiddenAddress     an address that pulse does not connect to
│   ├── CallFailed               a call that has no whole answer, and why
│   ├── UnknownTarget
│   │   └── TargetResting        there is one, but it is not in force
│   ├── UnknownSchedule
│   ├── UnknownJob
│   ├── CooldownActive           it was started a moment ago
│   ├── TooManyJobs
│   ├── JobFinished              what has ended cannot be cancelled
│   ├── InvalidSecret            what signs webhooks is none
│   └── SecretUnreadable         a secret is stored nowhere, or under a key that is gone
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


class InvalidFields(PulseError, ValueError):
    """Values that cannot be used, and why.

    Attributes:
        errors: Texts by place, such as ``endpoint_limits.3.limits.0.rate``.
    """

    def __init__(self, errors: Mapping[str, Sequence[str]]) -> None:
        self.errors = {place: list(texts) for place, texts in errors.items()}
        super().__init__(
            "; ".join(f"{place}: {' '.join(texts)}" for place, texts in self.errors.items())
        )


class InvalidDocument(InvalidFields):
    """A policy document that cannot be applied."""


class InvalidQuestion(InvalidFields):
    """Something that cannot be explained, by the fields that say what."""


class UnknownUser(InvalidQuestion):
    """No user has that name."""

    def __init__(self, name: str) -> None:
        super().__init__({"user": [f"There is no user {name}."]})


class LockOut(PulseError):
    """An edit that would refuse its author, the admin or the site's health.

    Attributes:
        threats: What each rule would do; as text, a sentence for people.
    """

    def __init__(self, threats: Sequence[object]) -> None:
        super().__init__(" ".join(map(str, threats)))
        self.threats = list(threats)


class InvalidReport(PulseError, ValueError):
    """A body that is no report of a browser."""


class AccessError(PulseError):
    """The base of what keeps somebody, or a key, out."""


class KeyRefused(AccessError):
    """A key that does not count. Whom it is told learns no more than that.

    Attributes:
        reason: For the audit alone: ``unknown wrong expired revoked``.
    """

    def __init__(self, reason: str) -> None:
        super().__init__("The key is not valid.")
        self.reason = reason


class KeyEnded(AccessError):
    """A key that is revoked or has expired, where one in use is needed."""

    def __init__(self, prefix: str) -> None:
        super().__init__(f"The key {prefix} has ended already. Make another.")
        self.prefix = prefix


class TooManyFailures(AccessError):
    """An address sent so many keys that do not count that none of its keys is looked at.

    Attributes:
        retry_after_s: When one is again, in seconds from now.
    """

    def __init__(self, retry_after_s: float) -> None:
        super().__init__("Too many keys from this address were not valid.")
        self.retry_after_s = retry_after_s


class RequestRunning(AccessError):
    """A request with the same ``Idempotency-Key`` is still being answered."""

    def __init__(self) -> None:
        super().__init__("The first request with this Idempotency-Key is still being answered.")


class RequestMismatch(AccessError):
    """An ``Idempotency-Key`` that came with something else before."""

    def __init__(self) -> None:
        super().__init__("This Idempotency-Key came with another request. Take a new one.")


class ProbeError(PulseError):
    """The base of what keeps a probe, or a webhook, from being sent or answered."""


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


class UnknownTarget(ProbeError):
    """There is no such target in force; for an empty name, nothing at all to probe."""

    def __init__(self, name: str) -> None:
        super().__init__(f"Unknown target: {name}" if name else "There is nothing to probe.")
        self.name = name


class TargetResting(UnknownTarget):
    """There is such a target, but it is off, or its time has not come or is over."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.args = (f"Target {name} is off, or not in its time.",)


class UnknownSchedule(ProbeError):
    """There is no such schedule in force."""

    def __init__(self, name: str) -> None:
        super().__init__(f"Unknown schedule: {name}")
        self.name = name


class UnknownJob(ProbeError):
    """There is no such job."""

    def __init__(self, name: str) -> None:
        super().__init__(f"Unknown job: {name}")
        self.name = name


class CooldownActive(ProbeError):
    """It was started by hand less than its cooldown ago.

    Attributes:
        retry_after_s: When it may be, in seconds from now.
    """

    def __init__(self, retry_after_s: float) -> None:
        super().__init__(
            f"Probe cooldown active. Please wait {retry_after_s:.1f}s before starting another probe"
        )
        self.retry_after_s = retry_after_s


class TooManyJobs(ProbeError):
    """As many jobs are open as may be.

    Attributes:
        running: How many are queued or running.
        most: How many may be.
    """

    def __init__(self, running: int, most: int) -> None:
        super().__init__(
            f"Too many concurrent probe jobs ({running}/{most}). "
            "Wait for existing jobs to complete."
        )
        self.running = running
        self.most = most


class JobFinished(ProbeError):
    """A job that has ended cannot be cancelled."""

    def __init__(self, job: int, status: str) -> None:
        super().__init__(f"Job {job} has ended already: {status}.")
        self.job = job
        self.status = status


class InvalidSecret(ProbeError):
    """Text that no webhook can be signed with."""

    def __init__(self) -> None:
        super().__init__("It is whsec_ and 24 to 64 bytes in base64.")


class SecretUnreadable(ProbeError):
    """A secret that is stored nowhere, or was encrypted with a key that is gone."""

    def __init__(self, reason: str = "It was encrypted with a key that is gone.") -> None:
        super().__init__(reason)


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
