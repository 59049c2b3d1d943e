"""``Name: value`` lines: what is stored is shown, and what is shown is read back."""

import pytest
from django.core.exceptions import ValidationError
from hypothesis import given
from hypothesis import strategies as st

from pulse.admin.probes import lines

TEXTS = st.text(st.characters(blacklist_categories=("Cs",), blacklist_characters="\0"), max_size=20)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=5,
)


@given(st.dictionaries(TEXTS.filter(bool), TEXTS, max_size=4))
def test_texts_survive_being_shown(values):
    """Whatever a header or a parameter is, a form that is sent back unchanged changes nothing."""
    assert lines.read_lines(lines.write_lines(values)) == values


@given(st.dictionaries(TEXTS.filter(bool), JSON, max_size=4))
def test_json_survives_being_shown(values):
    """A text that reads as a number stays a text, and a number a number."""
    assert lines.read_lines(lines.write_lines(values, lines.write_json), lines.read_value) == values


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("", {}),
        ("\r\n \n", {}),
        ("Accept: text/html", {"Accept": "text/html"}),
        ("  a :  b: c  \r\nd:", {"a": "b: c", "d": ""}),
        ('"a:b": "x\\ny"', {"a:b": "x\ny"}),
        ('"quoted" and more: "as it is', {'"quoted" and more': '"as it is'}),
    ],
)
def test_lines_are_read_as_people_write_them(text, values):
    assert lines.read_lines(text) == values


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("ok: 1\nno colon", "Line 2: “no colon” is no “Name: value”."),
        (": value", "Line 1: “: value” is no “Name: value”."),
        ("a: 1\na: 2", "Line 2: a is named twice."),
        ('a: "\\u0000"', "Line 1: Null characters are not allowed."),
        ('a: "\\ud800"', "Line 1: Half a character cannot be stored."),
    ],
)
def test_what_is_no_line_is_told_by_its_number(text, problem):
    with pytest.raises(ValidationError) as refusal:
        lines.read_lines(text)
    assert refusal.value.messages == [problem]


def test_a_number_that_was_there_stays_one():
    """So that an edit of something else does not change what is sent."""
    before = {"pk": 1, "q": "1"}
    assert lines.keep_kinds({"pk": "1", "q": "1", "n": "2"}, before) == {**before, "n": "2"}
    assert lines.keep_kinds({"pk": "2"}, before) == {"pk": "2"}
