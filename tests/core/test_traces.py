"""What counts as a request id, and as a trace context."""

import pytest

from pulse.core.traces import is_request_id, is_traceparent, trace_id_of

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = f"00-{TRACE}-00f067aa0ba902b7-01"


@pytest.mark.parametrize(
    "given", ["abc123", "6f1e2a0c-6c1d-4b8e-8f0a-0f6f3c1d2e3f", "1-67891233-abcdef.01_A", "x" * 128]
)
def test_an_id_that_means_something_is_taken(given: str) -> None:
    """UUIDs, the ids of load balancers, and the ledger's example (S0-22)."""
    assert is_request_id(given)


@pytest.mark.parametrize(
    "given",
    ["", "short", "x" * 129, "abc 123", "abc123\n", "\nabc123", "abc\r\nX: y", "abc123;", "äbc123",
     "abc123,def456", "١٢٣٤٥٦", "<script>", None, 123456, b"abc123", ["abc123"]],
)  # fmt: skip
def test_an_id_that_could_break_a_line_is_not(given: object) -> None:
    """Length and letters are bounded, and nothing follows them (S0-22, trap 17)."""
    assert not is_request_id(given)


def test_a_trace_context_names_its_trace() -> None:
    """W3C Trace Context, version 00."""
    assert is_traceparent(PARENT)
    assert trace_id_of(PARENT) == TRACE
    assert trace_id_of("") == ""


@pytest.mark.parametrize(
    "given",
    ["", PARENT.upper(), f"{PARENT}\n", f"{PARENT}-00", f" {PARENT}",
     PARENT.replace("00-", "01-", 1), PARENT.replace("00-", "ff-", 1),
     PARENT.replace(TRACE, "0" * 32), PARENT.replace("00f067aa0ba902b7", "0" * 16), PARENT[:-1],
     PARENT.replace("-", "_"), None, 1],
)  # fmt: skip
def test_a_trace_context_that_is_none_is_ignored(given: object) -> None:
    """Strictly: a wrong one is as none."""
    assert not is_traceparent(given)
