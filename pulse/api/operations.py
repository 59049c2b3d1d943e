"""What a view says of itself, from which the schema is written."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final

Schema = Mapping[str, Any]


@dataclass(frozen=True)
class Shape:
    """A JSON Schema with a name of its own, under which it stands among the components.

    Attributes:
        name: Such as ``RateTier``.
        schema: In it, a Shape stands for the reference to it.
    """

    name: str
    schema: Schema = field(compare=False)


@dataclass(frozen=True)
class Operation:
    """One method of a view, for people and machines that read the schema.

    Attributes:
        summary: In a few words, as a command: ``List rate tiers``.
        answer: What is told when it went well; None: nothing.
        body: What is sent; None: nothing.
        status: When it went well.
        text: What the summary cannot say.
        errors: The statuses of problems beside those that every view of its kind has.
        example: Of the answer.
        body_example: Of the body.
        location: The answer names the address of what was made.
        etag: What is there has an ``ETag``, and ``If-None-Match`` or ``If-Match`` is heard.
        revision: The answer names the revision in force afterwards.
        others: Further answers when it went well, by status.
    """

    summary: str
    answer: Shape | Schema | None = None
    body: Shape | Schema | None = None
    status: int = HTTPStatus.OK
    text: str = ""
    errors: Sequence[int] = ()
    example: Any = None
    body_example: Any = None
    location: bool = False
    etag: bool = False
    revision: bool = False
    others: Mapping[int, Any] = field(default_factory=dict)


TEXT: Final[Schema] = {"type": "string"}
WHOLE: Final[Schema] = {"type": "integer"}
NUMBER: Final[Schema] = {"type": "number"}
FLAG: Final[Schema] = {"type": "boolean"}
TIME: Final[Schema] = {"type": "string", "format": "date-time"}
ANYTHING: Final[Schema] = {}


def nullable(schema: Schema) -> Schema:
    """Let a value be null, too."""
    if isinstance(schema.get("type"), str):
        found = {**schema, "type": [schema["type"], "null"]}
        if "enum" in schema:
            found["enum"] = [*schema["enum"], None]
        return found
    return {"anyOf": [schema, {"type": "null"}]}


def record(properties: Mapping[str, Any], *optional: str, **more: Any) -> Schema:
    """Write the schema of an object whose fields are all there but the optional ones."""
    required = [name for name in properties if name not in optional]
    found: dict[str, Any] = {"type": "object", "properties": properties, **more}
    return {**found, "required": required} if required else found


def several(item: Shape | Schema, **more: Any) -> Schema:
    """Write the schema of a list."""
    return {"type": "array", "items": item, **more}


def page(item: Shape | Schema, *, counted: bool = True) -> Schema:
    """Write the schema of a page of a list."""
    link = {"type": ["string", "null"], "format": "uri"}
    count: dict[str, Any] = {"count": {"type": "integer", "minimum": 0}} if counted else {}
    return record({**count, "next": link, "previous": link, "results": several(item)})


ACTOR: Final = Shape("Actor", record({"type": TEXT, "name": TEXT}))
