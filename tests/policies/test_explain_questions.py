"""What is asked is read by its fields, whatever was sent."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pulse.exceptions import InvalidQuestion
from pulse.policies.explain.questions import FIELDS, MAX_HEADERS, Question, read, read_headers

WHOLE = {
    "method": "post",
    "path": "/api/search/?q=x",
    "address": "203.0.113.9",
    "user": "kim",
    "headers": {"X-Plan": "gold"},
    "count": 25,
    "counters": "fresh",
    "https": True,
}


def test_every_field_is_read() -> None:
    """As the API's body names them; what is null is not said."""
    question = read(WHOLE)
    assert question == Question(
        "/api/search/?q=x",
        method="POST",
        address="203.0.113.9",
        user="kim",
        headers={"X-Plan": "gold"},
        count=25,
        counters="fresh",
        secure=True,
    )
    assert read({**dict.fromkeys(FIELDS), "path": "/"}) == Question("/")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("path", None), ("path", "api/"), ("path", ""), ("path", 7), ("path", "/" + "a" * 2048),
        ("path", "/\ud800"), ("method", "GET /"), ("method", ""), ("address", "here"),
        ("address", ["203.0.113.9"]), ("user", ""), ("user", {}), ("count", 0),
        ("count", 10_001), ("count", True), ("count", 1.5), ("count", "2"), ("counters", "old"),
        ("https", "yes"), ("https", 1), ("headers", ["X: y"]), ("headers", {"a b": "c"}),
        ("headers", {"": "c"}), ("headers", {"X": 1}), ("headers", {"X": "a\r\nY: b"}),
        ("headers", {"X": "\ud800"}), ("headers", {f"x{n}": "" for n in range(MAX_HEADERS + 1)}),
        ("colour", "red"), ("user", "a\0b"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_by_its_field(field: str, value: Any) -> None:
    with pytest.raises(InvalidQuestion) as caught:
        read({"path": "/", field: value})
    assert list(caught.value.errors) == [field]


@given(
    st.dictionaries(
        st.sampled_from(FIELDS) | st.text(max_size=5),
        st.none() | st.booleans() | st.integers() | st.text() | st.lists(st.text())
        | st.dictionaries(st.text(), st.none() | st.text()),
    )
)  # fmt: skip
def test_reading_refuses_or_makes_a_question(fields: dict[str, Any]) -> None:
    """Whatever a client sends."""
    try:
        found = read(fields)
    except InvalidQuestion as error:
        assert error.errors
    else:
        assert found.path.startswith("/")


def test_headers_are_read_by_lines() -> None:
    """Blank ones are left out; of one that comes twice all values count, as in HTTP."""
    text = " X-Plan :  gold \n\nAccept: a\nAccept: b:c\n"
    assert read_headers(text) == {"X-Plan": "gold", "Accept": "a, b:c"}
    with pytest.raises(InvalidQuestion) as caught:
        read_headers("X: y\n\nnonsense")
    assert caught.value.errors["headers"][0].startswith("Line 3 is no header.")
