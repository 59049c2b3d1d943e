"""Names of targets as one segment of a path, and back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pulse.core.targets import parse_target
from pulse.exceptions import InvalidEndpointId
from pulse.pages.converters import TargetConverter

converter = TargetConverter()


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("products", "products"),
        ("GET /", "GET~"),
        ("GET /api/products/<int:pk>/", "GET~api~products~<int:pk>~"),
        ("GET /api/a~b/", "GET~api~a%7Eb~"),
        ("GET /a%2Fb/", "GET~a%252Fb~"),
        (r"GET /^files/(?P<name>[\w.]+)$", r"GET~^files~(?P<name>[\w.]+)$"),
    ],
)
def test_a_name_is_one_segment_and_comes_back(name, written):
    assert converter.to_url(name) == written
    assert converter.to_python(written) == name


@given(st.text(st.characters(exclude_categories=["C", "Z"]), min_size=0, max_size=60))
def test_every_route_comes_back_as_it_was(route):
    name = f"GET /{route}"
    try:
        parse_target(name)
    except InvalidEndpointId:
        return
    written = converter.to_url(name)
    assert "/" not in written
    assert converter.to_python(written) == name


@pytest.mark.parametrize("written", ["Nonsense", "GET", "GET~..~etc", "a b", "get~api~", "~", "%"])
def test_what_names_nothing_resolves_to_nothing(written):
    with pytest.raises(ValueError, match="Invalid endpoint_id format"):
        converter.to_python(written)
