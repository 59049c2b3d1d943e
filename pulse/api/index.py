"""The root: where each resource is."""

from collections.abc import Mapping
from typing import ClassVar

from django.urls import reverse
from rest_framework.request import Request
from rest_framework.response import Response

from pulse.access.scopes import Scope
from pulse.api.operations import TEXT, Operation, Shape
from pulse.api.views import ApiView

INDEX = Shape("Index", {"type": "object", "additionalProperties": {**TEXT, "format": "uri"}})


class Index(ApiView):
    """Every resource by its name."""

    scopes: ClassVar[Mapping[str, Scope | None]] = {"GET": None}
    operations: ClassVar[Mapping[str, Operation]] = {
        "GET": Operation("List the resources", INDEX, text="Each with its address; open to all.")
    }

    def get(self, request: Request) -> Response:
        """Answer with the address of each resource that has one without an id."""
        from pulse.api.urls import urlpatterns  # Which itself names this view.

        return Response(
            {
                route.rstrip("/"): request.build_absolute_uri(reverse(f"pulse:{pattern.name}"))
                for pattern in urlpatterns
                if (route := str(pattern.pattern)) and pattern.name and "<" not in route
            }
        )
