"""Names of targets within a path.

An endpoint id has slashes and ``<`` and ``>`` in it, and servers and proxies decode, join and
reorder what looks like segments. So ``GET /api/products/<int:pk>/`` is written as one segment,
``GET~api~products~<int:pk>~``, in which nothing else is a tilde.
"""

from pulse.core.targets import parse_target
from pulse.exceptions import InvalidEndpointId

#: What is written otherwise, in the order of writing; read back in the other order.
WRITTEN: tuple[tuple[str, str], ...] = (("%", "%25"), ("~", "%7E"), ("/", "~"))


class TargetConverter:
    """A target's name, or an endpoint id as one segment."""

    regex = "[^/]{1,1600}"

    def to_python(self, value: str) -> str:
        """Read a name; what is none resolves to nothing."""
        if "~" in value:
            for plain, written in reversed(WRITTEN):
                value = value.replace(written, plain)
            method, _slash, route = value.partition("/")
            value = f"{method} /{route}"
        try:
            parse_target(value)
        except InvalidEndpointId as error:
            raise ValueError(str(error)) from error
        return value

    def to_url(self, value: str) -> str:
        """Write a name."""
        if " " not in value:
            return value
        method, _blank, path = value.partition(" ")
        value = f"{method}{path}"
        for plain, written in WRITTEN:
            value = value.replace(plain, written)
        return value
