import hashlib

from pulse.store.keys import Keys


def test_wrapping_key_function_is_asked_once() -> None:
    asked = []

    def make_key(name: str) -> str:
        asked.append(name)
        return f"shop:1:{name}:end"

    keys = Keys(make_key)
    assert keys.announcement == "shop:1:{pulse}:announcement:end"
    assert keys.limits("t:ip:192.0.2.1", ("t0", "f0")) == [
        "shop:1:{pulse}:l:t:ip:192.0.2.1:t0:end",
        "shop:1:{pulse}:l:t:ip:192.0.2.1:f0:end",
    ]
    assert len(asked) == 2


def test_hashing_key_function_keeps_one_slot() -> None:
    """What a key function hashes is asked for each key, and still lies on one node."""

    def make_key(name: str) -> str:
        return hashlib.sha256(name.encode()).hexdigest()

    keys = Keys(make_key)
    made = keys.limits("a", ("t0", "t1"))
    assert made == [f"{{pulse}}:{make_key(f'{{pulse}}:l:a:{slot}')}" for slot in ("t0", "t1")]
    assert keys.announcement == f"{{pulse}}:{make_key('{pulse}:announcement')}"
