"""Incidents and the timeline, as people meet them."""

import json
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import Client
from django.utils import timezone

from pulse.alerts.incidents import Finding, open_incident, resolve_incident
from pulse.alerts.state import IncidentUpdate, Mark
from pulse.policies.models import PolicyRevision
from pulse.probes.state import ProbeTransition
from tests.pages.conftest import text_of

LIST, TIMELINE = "/pulse/incidents/", "/pulse/timeline/"
MAIL = {"name": "mail", "type": "email", "to": ["ops@example.com"]}


@pytest.fixture
def incident(apply: Any) -> Any:
    apply(alert_channels=[MAIL])
    Mark.objects.create(at=timezone.now(), text="Release 4.2", url="https://git.example.com/4.2")
    finding = Finding(
        title="p95 of GET /<b>/ is 900 ms",
        severity="critical",
        rule="slow",
        source_key="slow",
        value=900.0,
        threshold=200.0,
        channels=["mail"],
    )
    return open_incident(finding, timezone.now() + timedelta(seconds=1))


def test_no_incident_says_what_opens_one(viewer: Client) -> None:
    text = text_of(viewer.get(LIST))
    assert "No incident is open." in text
    assert "Alert rules open them" in text


def test_incidents_are_listed_and_narrowed(viewer: Client, incident: Any) -> None:
    text = text_of(viewer.get(LIST))
    assert "1 incident is open." in text
    assert "p95 of GET /&lt;b&gt;/ is 900 ms" in text
    assert "No incident is like that." in text_of(viewer.get(LIST, {"state": "resolved"}))
    wild = {"state": "<b>", "severity": "x", "rule": "\x00'", "cursor": "o9999999999999999999999"}
    assert viewer.get(LIST, wild).status_code == 200
    told = viewer.get(LIST, headers={"accept": "application/json"}).json()
    assert told["results"][0]["state"] == "open"


def test_one_incident_tells_what_changed_who_was_told_and_the_way_back(
    administrator: Client, viewer: Client, incident: Any
) -> None:
    response = administrator.get(f"{LIST}{incident.pk}/")
    text, shown = text_of(response), response.content.decode()
    assert "Deploy: Release 4.2" in text
    number = PolicyRevision.objects.first().number
    assert f"Revision {number}: Begin" in text
    before = PolicyRevision.objects.get(number=number - 1)
    assert f"/admin/pulse/policyrevision/{before.pk}/rollback/" in shown
    assert "alert.firing" in text
    assert "pending" in text
    assert "Roll back" not in text_of(viewer.get(f"{LIST}{incident.pk}/"))
    assert viewer.get(f"{LIST}999/").status_code == 404


def test_notes_are_written_by_who_operates(operator: Client, viewer: Client, incident: Any) -> None:
    address = f"{LIST}{incident.pk}/notes/"
    assert viewer.post(address, {"text": "no"}).status_code == 403
    response = operator.post(address, {"text": "looking\ninto it", "public": "1"})
    assert response["Location"] == f"{LIST}{incident.pk}/"
    row = IncidentUpdate.objects.get(kind="note")
    assert (row.text, row.actor_name, row.public) == ("looking\ninto it", "op", True)
    refused = operator.post(address, {"text": " "})
    assert refused.status_code == 400
    assert "Write something." in text_of(refused)
    assert operator.post(address, {"text": "a\x00"}).status_code == 400
    assert operator.post(f"{LIST}999/notes/", {"text": "a"}).status_code == 404


def test_the_public_status_has_public_words_alone(
    nobody: Client, operator: Client, incident: Any
) -> None:
    assert nobody.get("/pulse/status/?format=json").json()["incidents"] == []
    operator.post(f"{LIST}{incident.pk}/notes/", {"text": "We are on it.", "public": "1"})
    operator.post(f"{LIST}{incident.pk}/notes/", {"text": "db-7 is full"})
    from pulse.pages import status

    status.forget()
    (told,) = nobody.get("/pulse/status/?format=json").json()["incidents"]
    assert told["state"] == "open"
    assert [update["text"] for update in told["updates"]] == ["We are on it."]
    page = nobody.get("/pulse/status/?format=html").content.decode()
    assert "We are on it." in page
    assert "db-7" not in page
    assert "GET /" not in page


def test_what_happened_is_on_one_page_newest_first(viewer: Client, incident: Any) -> None:
    ProbeTransition.objects.create(
        target="shop", before="up", after="down", at=timezone.now() - timedelta(minutes=1)
    )
    resolve_incident(incident, timezone.now() + timedelta(seconds=2), "well again")
    text = text_of(viewer.get(TIMELINE))
    places = [
        text.index(words)
        for words in ("Over: p95 of", "Deploy: Release 4.2", "Begin", "shop: down")
    ]
    assert places == sorted(places)
    only = text_of(viewer.get(TIMELINE, {"kind": "mark"}))
    assert "Release 4.2" in only
    assert "Begin" not in only
    told = viewer.get(TIMELINE, {"format": "json"}).json()
    assert {entry["kind"] for entry in told["results"]} == {"policy", "mark", "incident", "probe"}
    assert viewer.get(TIMELINE, {"kind": "<b>", "before": "soon"}).status_code == 200


def test_what_happened_at_one_instant_is_on_one_page(viewer: Client, db: None) -> None:
    """A look at many rules opens many incidents at once."""
    now = timezone.now() - timedelta(minutes=1)
    for number in range(60):
        open_incident(Finding(title=f"rule {number}", severity="warning", rule=f"r{number}"), now)
    open_incident(Finding(title="before", severity="warning", rule="b"), now - timedelta(minutes=1))
    query = {"kind": "incident", "format": "json"}
    told = viewer.get(TIMELINE, query).json()
    assert len(told["results"]) == 60
    rest = viewer.get(TIMELINE, {**query, "before": told["older"]}).json()
    assert [entry["text"] for entry in rest["results"]] == ["before"]
    assert rest["older"] is None


def test_the_timeline_is_read_page_by_page(viewer: Client, db: None) -> None:
    now = timezone.now()
    for number in range(120):
        Mark.objects.create(at=now - timedelta(minutes=number), text=f"m{number}", kind="note")
    seen: list[str] = []
    query: dict[str, str] = {"kind": "mark", "format": "json"}
    while True:
        told = viewer.get(TIMELINE, query).json()
        seen += [entry["text"] for entry in told["results"]]
        if told["older"] is None:
            break
        query["before"] = told["older"]
    assert seen == [f"m{number}" for number in range(120)]


def test_a_moment_is_marked_from_a_terminal(db: None) -> None:
    out = StringIO()
    call_command("pulse_mark", "Release  4.2", "--format", "json", stdout=out)
    assert json.loads(out.getvalue())["text"] == "Release 4.2"
    call_command(
        *("pulse_mark", "Sale", "--kind", "note", "--at", "2026-11-27T00:00:00Z"), stdout=StringIO()
    )
    assert Mark.objects.get(kind="note").at.isoformat() == "2026-11-27T00:00:00+00:00"
    for wrong in (
        ("a" * 201,),
        ("x", "--at", "tomorrow"),
        ("x", "--at", "2026-11-27T00:00:00"),
        ("x", "--url", "javascript:alert(1)"),
        (" ",),
    ):
        with pytest.raises(CommandError):
            call_command("pulse_mark", *wrong, stdout=StringIO())
    assert Mark.objects.count() == 2
