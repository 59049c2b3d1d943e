import os
from concurrent.futures import ThreadPoolExecutor
from uuid import RFC_4122, UUID

from pulse.middleware.ids import AHEAD, new_id


def test_an_id_is_a_random_uuid() -> None:
    """Version 4, as written (S1-31)."""
    for _ in range(3 * AHEAD):
        made = new_id()
        found = UUID(made)
        assert (found.version, found.variant, str(found)) == (4, RFC_4122, made)


def test_no_two_requests_have_one_id() -> None:
    """Not in threads that take the last one made ahead at the same time."""
    with ThreadPoolExecutor(8) as pool:
        made = [
            one
            for many in pool.map(lambda _: [new_id() for _ in range(500)], range(16))
            for one in many
        ]
    assert len(set(made)) == len(made) == 8000


def test_a_forked_process_makes_its_own() -> None:
    """What was made ahead is not given twice."""
    new_id()
    reads, writes = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writes, "\n".join(new_id() for _ in range(AHEAD)).encode())
        os._exit(0)
    os.waitpid(child, 0)
    os.close(writes)
    with os.fdopen(reads) as pipe:
        theirs = set(pipe.read().split())
    assert len(theirs) == AHEAD
    assert not theirs & {new_id() for _ in range(AHEAD)}
