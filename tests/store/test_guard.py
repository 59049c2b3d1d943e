from pulse.store.guard import Guard


def test_one_hiccup_does_not_open() -> None:
    guard = Guard(0.0)
    assert not guard.failed(TimeoutError(), 1.0)
    assert not guard.is_open
    assert not guard.failed(TimeoutError(), 2.5)
    assert not guard.is_open


def test_second_failure_within_a_second_opens() -> None:
    guard = Guard(0.0)
    guard.failed(TimeoutError(), 1.0)
    assert guard.failed(TimeoutError(), 1.5)
    assert guard.is_open


def test_success_between_begins_anew() -> None:
    guard = Guard(0.0)
    guard.failed(TimeoutError(), 1.0)
    guard.succeeded()
    guard.failed(TimeoutError(), 1.5)
    assert not guard.is_open


def test_refused_connection_opens_at_once() -> None:
    wrapped = OSError("wrapped")
    wrapped.__context__ = ConnectionRefusedError()
    assert Guard(0.0).failed(wrapped, 1.0)


def test_only_a_trial_closes() -> None:
    """A call that was under way when the guard opened says nothing of now."""
    guard = Guard(0.0)
    guard.failed(ConnectionRefusedError(), 1.0)
    guard.succeeded()
    assert guard.is_open
    assert guard.recovered()
    assert not guard.is_open
    assert not guard.recovered()


def test_unattended_when_nobody_tries() -> None:
    guard = Guard(0.0)
    guard.failed(ConnectionRefusedError(), 1.0)
    assert not guard.is_unattended(2.9)
    assert guard.is_unattended(3.1)
    guard.tried(3.1)
    assert not guard.is_unattended(5.0)
