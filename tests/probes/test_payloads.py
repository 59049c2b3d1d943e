"""Payloads in a file of their own shape, and those made of samples."""

import json
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ValidationError

from pulse.exceptions import InvalidDocument
from pulse.policies import document, publisher
from pulse.policies.publisher import Actor
from pulse.probes import discovery, payloads
from pulse.probes.models import ProbePayload
from tests.factories import KIM
from tests.management.test_commands import run
from tests.probes.conftest import Apply

PRODUCT = "PUT /api/products/<int:pk>/"
FILE = {
    PRODUCT: {
        "path_params": {"pk": 7},
        "query": {"dry": "1"},
        "headers": {"X-Shop": "north"},
        "body": {"name": "mug"},
        "media_type": "application/json",
    },
    "POST /api/upload/": {
        "path_params": {},
        "query": {},
        "headers": {},
        "body": "a;b",
        "media_type": "text/csv",
    },
}


def test_a_file_goes_in_and_comes_out_the_same(tmp_path: Path) -> None:
    """S0-11: ``pulse_apply`` takes it, ``pulse_export --payloads`` writes it."""
    file = tmp_path / "pulse_payloads.json"
    file.write_text(json.dumps(FILE))
    code, out, err = run("pulse_apply", str(file))
    assert (code, err, "+ probe_payloads" in out) == (0, "", True)
    row = ProbePayload.objects.get(target="POST /api/upload/")
    assert (row.headers, row.body, row.source) == ({"Content-Type": "text/csv"}, "a;b", "custom")
    code, out, _ = run("pulse_export", "--payloads")
    assert (code, json.loads(out)) == (0, FILE)
    code, out, _ = run("pulse_apply", str(file), "--dry-run")
    assert (code, out.startswith("Nothing differs")) == (0, True)


def test_parameters_may_be_named_as_openapi_does() -> None:
    """By their place in the path, as the forerunner's file has them."""
    made = payloads.to_document(
        {"PUT /api/products/{product_id}/": {"path_params": {"product_id": 3}}}
    )
    assert made["probe_payloads"] == [{"target": PRODUCT, "path_params": {"pk": 3}}]


def test_a_route_with_a_full_stop_has_payloads(settings) -> None:
    """Defect 5 of the forerunner: its pattern of ids was too narrow, and ended in a 500."""
    settings.ROOT_URLCONF = "tests.probes.site"
    made = payloads.to_document({"GET /files/{n}.json": {"path_params": {"n": 2}}})
    document.apply(made, KIM)
    assert ProbePayload.objects.get().target == "GET /files/<int:n>.json"


@pytest.mark.parametrize(
    ("name", "payload", "error"),
    [
        ("GET /../../etc/passwd", {}, "Invalid endpoint_id format: GET /../../etc/passwd"),
        ("GET /nowhere/", {}, "Unknown target: GET /nowhere/"),
        (PRODUCT, [], "Write a mapping of path_params, query, headers, body, media_type."),
        (PRODUCT, {"bodi": 1}, "Unknown field: bodi"),
    ],
)
def test_what_cannot_be_is_told_by_its_name(name: str, payload: Any, error: str) -> None:
    with pytest.raises(InvalidDocument) as refusal:
        payloads.to_document({name: payload})
    assert refusal.value.errors == {name: [error]}


def test_one_operation_is_named_once() -> None:
    with pytest.raises(InvalidDocument):
        payloads.to_document({PRODUCT: {}, "PUT /api/products/{id}/": {}})


def test_a_document_is_no_file_of_payloads() -> None:
    assert not payloads.looks_like_payloads({"version": 1})
    assert not payloads.looks_like_payloads({})
    assert payloads.looks_like_payloads(FILE)


def test_payloads_are_no_whole_policy(tmp_path: Path) -> None:
    """``--prune`` is refused: it would remove everything else."""
    file = tmp_path / "pulse_payloads.json"
    file.write_text(json.dumps(FILE))
    code, _, err = run("pulse_apply", str(file), "--prune")
    assert (code, "--prune would remove the rest" in err) == (1, True)


def test_samples_are_exported_beside() -> None:
    """Those of endpoints that have no payload of their own."""
    discovery.discover()
    document.apply(payloads.to_document({PRODUCT: {"path_params": {"pk": 9}}}), KIM)
    _, out, _ = run("pulse_export", "--payloads", "--samples")
    told = json.loads(out)
    assert told[PRODUCT]["path_params"] == {"pk": 9}
    assert told["GET /api/products/<int:pk>/"]["path_params"] == {"pk": 1}
    assert told["POST /api/products/"]["media_type"] == "application/json"
    code, _, err = run("pulse_export", "--samples")
    assert (code, err) == (1, "--samples goes with --payloads.")


def test_samples_are_kept_to_be_edited() -> None:
    """As ``generated``, in one revision; one that is there stays as it is."""
    discovery.discover()
    get = "GET /api/products/<int:pk>/"
    ProbePayload(target=get, path_params={"pk": 9}).save()
    wanted = [get, "POST /api/products/", "GET /api/search/", "POST /api/orders/", "GET /nowhere/"]
    assert payloads.generate(wanted, KIM) == ["POST /api/products/"]
    row = ProbePayload.objects.get(target="POST /api/products/")
    assert (row.source, row.body["sku"]) == ("generated", "probe")
    assert ProbePayload.objects.get(target=get).path_params == {"pk": 9}
    assert "POST /api/products/" in str(publisher.newest_document())
    assert payloads.generate(wanted, Actor("user", "kim")) == []


def test_generated_ones_obey_the_limits(settings, apply: Apply) -> None:
    """S0-09: none is made if one is too much."""
    discovery.discover()
    settings.PULSE = {"PROBE_PAYLOAD_TOTAL_BYTES": 10}
    with pytest.raises(ValidationError, match="Storage limit exceeded"):
        payloads.generate(["POST /api/products/"], KIM)
    assert not ProbePayload.objects.exists()


def test_a_payload_may_say_what_its_body_is(apply: Apply) -> None:
    """As any client; only what frames a request is the client's own."""
    apply(
        probe_payloads=[{"target": PRODUCT, "headers": {"Content-Type": "text/csv"}, "body": "a"}]
    )
    with pytest.raises(InvalidDocument, match="is set by pulse itself"):
        apply(probe_payloads=[{"target": PRODUCT, "headers": {"Content-Length": "1"}}])
