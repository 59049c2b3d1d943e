"""The doctor on a page."""

from django.test import Client

from tests.pages.conftest import text_of


def test_findings_and_processes_are_on_one_page(viewer: Client, policy: None) -> None:
    text = text_of(viewer.get("/pulse/doctor/"))
    assert "Pools and local caches have room." in text
    assert "endpoints 0 / 1000" in text or "endpoints " in text
    assert "manage.py pulse_doctor" in text
    told = viewer.get("/pulse/doctor/", {"format": "json"}).json()["findings"]
    assert {"publishing", "convergence", "resources"} <= {one["topic"] for one in told}
