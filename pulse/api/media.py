"""What the API reads and writes: JSON, and YAML where a view says so; whatever the host uses."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

from django.utils.translation import gettext as _
from rest_framework.exceptions import NotAcceptable, ParseError
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.parsers import BaseParser
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request
from rest_framework.settings import DEFAULTS, IMPORT_STRINGS, APISettings
from rest_framework.utils.encoders import JSONEncoder

from pulse.envelope import MAX_ACCEPT
from pulse.exceptions import InvalidDocument
from pulse.policies import document, reading

#: Where the framework looks for what a view does not name: never at the host's settings.
_OWN: Any = {"EXCEPTION_HANDLER": "pulse.api.errors.handle", "URL_FORMAT_OVERRIDE": None}
SETTINGS: Any = APISettings(
    _OWN,
    DEFAULTS,
    IMPORT_STRINGS,
)


class JsonRenderer(BaseRenderer):
    """JSON in UTF-8, as compact as it gets."""

    media_type = "application/json"
    format = "json"
    charset = None

    def render(
        self,
        data: Any,
        accepted_media_type: str | None = None,  # noqa: ARG002 - the framework's signature
        renderer_context: Mapping[str, Any] | None = None,  # noqa: ARG002 - as above
    ) -> bytes:
        """Write a value; nothing at all for None, as in an answer without a body."""
        if data is None:
            return b""
        written = json.dumps(
            data, cls=JSONEncoder, ensure_ascii=False, allow_nan=False, separators=(",", ":")
        )
        return written.encode()


class YamlRenderer(BaseRenderer):
    """A document as YAML, as ``pulse_export`` writes it."""

    media_type = "application/yaml"
    format = "yaml"
    charset = None

    def render(
        self,
        data: Any,
        accepted_media_type: str | None = None,  # noqa: ARG002 - the framework's signature
        renderer_context: Mapping[str, Any] | None = None,  # noqa: ARG002 - as above
    ) -> bytes:
        """Write a document."""
        return b"" if data is None else document.to_yaml(data).encode()


class JsonParser(BaseParser):
    """JSON that a database can hold: every key once, every number finite."""

    media_type = "application/json"

    def parse(
        self,
        stream: Any,
        media_type: str | None = None,  # noqa: ARG002 - the framework's signature
        parser_context: Mapping[str, Any] | None = None,  # noqa: ARG002 - as above
    ) -> Any:
        """Read a body.

        Raises:
            ParseError: It is no JSON.
            InvalidDocument: It has values that cannot be stored.
        """
        try:
            found = reading.load_json(_text(stream))
        except (ValueError, RecursionError) as error:
            raise ParseError(_("The body is not JSON: %s") % error) from error
        reading.check_storable(found)
        return found


class YamlParser(BaseParser):
    """YAML, of a document."""

    media_type = "application/yaml"

    def parse(
        self,
        stream: Any,
        media_type: str | None = None,  # noqa: ARG002 - the framework's signature
        parser_context: Mapping[str, Any] | None = None,  # noqa: ARG002 - as above
    ) -> Any:
        """Read a body.

        Raises:
            ParseError: It is no YAML.
            InvalidDocument: It has values that cannot be stored.
        """
        try:
            found = reading.load(_text(stream))
        except UnicodeDecodeError as error:
            raise ParseError(_("The body is not YAML: %s") % error) from error
        except InvalidDocument as error:
            raise ParseError(" ".join(error.errors["document"])) from error
        reading.check_storable(found)
        return found


class Negotiation(DefaultContentNegotiation):
    """By ``Accept``; by ``?format=`` where a view has several forms."""

    settings = SETTINGS

    def select_renderer(
        self, request: Request, renderers: Iterable[BaseRenderer], format_suffix: str | None = None
    ) -> tuple[BaseRenderer, str]:
        """Return what to answer in.

        Raises:
            NotAcceptable: The client takes none of it.
        """
        named = request.query_params.get("format")
        known = list(renderers)
        for renderer in known:
            if named == renderer.format:
                return renderer, renderer.media_type
        if len(request.META.get("HTTP_ACCEPT", "")) > MAX_ACCEPT:
            return known[0], known[0].media_type
        try:
            found: tuple[BaseRenderer, str] = super().select_renderer(request, known, format_suffix)
        except (ValueError, TypeError, KeyError):  # Of an Accept that is no list of types.
            raise NotAcceptable(available_renderers=known) from None
        return found[0], found[0].media_type


class ForDocuments:
    """The forms of a view that reads and writes whole documents."""

    renderer_classes: ClassVar[Sequence[type[BaseRenderer]]] = (JsonRenderer, YamlRenderer)
    parser_classes: ClassVar[Sequence[type[BaseParser]]] = (JsonParser, YamlParser)


def _text(stream: Any) -> str:
    written: bytes = stream.read()
    return written.decode("utf-8-sig")
