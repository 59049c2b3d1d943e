"""Origins on their way into the policy, by any door."""

import pytest
from django.core.exceptions import ValidationError
from django.db import IntegrityError

from pulse.exceptions import InvalidDocument
from pulse.policies import document, origins, publisher
from pulse.policies.completion import complete
from pulse.policies.edge import CorsOrigin

APP = "https://app.example.com"


@pytest.mark.parametrize(
    "fields",
    [
        {"origin": "*", "credentials": True},
        {"origin": "*", "csrf_trusted": True},
        {"origin": "null"},
        {"origin": "https://app.example.com/"},
        {"origin": "https://*.com"},
        {"origin": APP, "percent": 50},
        {"origin": APP, "methods": []},
        {"origin": APP, "methods": ["get"]},
        {"origin": APP, "allowed_headers": ["*"]},
        {"origin": APP, "exposed_headers": ["X-A\r\nX-B"]},
        {"origin": APP, "max_age": -1},
        {"origin": APP, "path": "api"},
    ],
)
def test_no_document_has_what_cannot_be(fields) -> None:
    """S0-01, S0-02: as a form, so a document."""
    with pytest.raises(InvalidDocument):
        complete({"version": 1, "cors_origins": [fields]})


@pytest.mark.django_db
def test_no_row_is_any_origin_with_credentials() -> None:
    """S0-01: neither validated nor, without validation, stored."""
    with pytest.raises(ValidationError):
        CorsOrigin(origin="*", credentials=True).full_clean()
    with pytest.raises(IntegrityError):
        CorsOrigin(origin="*", credentials=True).save()


@pytest.mark.django_db
def test_an_origin_has_one_rule_for_a_path() -> None:
    with pytest.raises(InvalidDocument, match="twice"):
        document.apply(
            {"version": 1, "cors_origins": [{"origin": APP}, {"origin": APP, "path": "/"}]},
            publisher.SYSTEM,
        )


def test_the_default_is_the_one_asked_for() -> None:
    """S0-05."""
    found = origins.default_index().find("/api/", "http://localhost:3000")
    assert found.rule is not None
    assert ("Access-Control-Allow-Credentials", "true") not in found.rule.permission.answer


@pytest.mark.parametrize("name", origins.HOST_SETTINGS)
def test_any_setting_of_origins_is_something_said(settings, name: str) -> None:
    assert not origins.has_host_settings()
    setattr(settings, name, [])
    assert origins.has_host_settings()
