"""What pulse's own requests reach."""

from collections.abc import Iterator

from django.core.checks import CheckMessage
from django.utils.module_loading import import_string

from pulse.checks.findings import found
from pulse.conf import conf


def check_network() -> Iterator[CheckMessage]:
    """The network that stands in for the real one is there."""
    path = conf.OUTBOUND_NETWORK
    if not path:
        return
    try:
        import_string(path)
    except ImportError as error:
        yield found("E110", path=path, error=error)


def check_deployed_network() -> Iterator[CheckMessage]:
    """In production requests reach the network, and not what a test put in its place."""
    path = conf.OUTBOUND_NETWORK
    if path:
        yield found("E111", path=path)
