"""The public status: what everybody may see, also when the database is away."""

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from xml.etree import ElementTree as ET

import pytest
from django.db import DatabaseError, connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from pulse.pages import status
from pulse.pages.badges import draw
from pulse.probes.state import ProbeDay
from pulse.store import copies
from tests import factories
from tests.pages.conftest import BROWSER, text_of

PUBLIC = [
    {
        "name": "products",
        "path": "/api/products/",
        "public_name": "Catalogue",
        "public_group": "Shop",
    },
    {"name": "search", "url_name": "search", "public_name": "Search", "public_group": "Shop"},
    {"name": "images", "url": "https://img.example.com/secret-path/", "public_name": "Images"},
    {"name": "inner", "path": "/api/orders/"},
    {"name": "gone", "path": "/api/orders/", "public_name": "Gone", "mode": "off"},
]


@pytest.fixture(autouse=True)
def policy(apply):
    apply(probe_targets=PUBLIC)


@pytest.fixture
def away(monkeypatch):
    """Nothing can be read from the database any more."""

    def refuse(*_: object, **__: object):
        raise DatabaseError("the server closed the connection")

    def switch() -> None:
        status._held.until = 0.0
        monkeypatch.setattr("django.db.models.sql.compiler.SQLCompiler.execute_sql", refuse)

    return switch


def test_anybody_sees_how_it_is_and_nothing_of_how_it_is_built(nobody):
    """No URLs, errors, or names of what is not public."""
    factories.target_state("products", "up")
    factories.target_state("search", "down")
    factories.job("failed", targets=["search"])
    response = nobody.get("/pulse/status/")
    assert response.status_code == 200
    text = text_of(response)
    assert "Partial outage: 1 service is down" in text
    assert "Catalogue" in text
    content = response.content.decode()
    for hidden in ("/api/", "img.example.com", "inner", "Gone", "expected 200", "127.0.0.1"):
        assert hidden not in content


def test_machines_get_the_shape_of_the_contract():
    """API.md 5: JSON unless a browser asks."""
    now = timezone.now()
    factories.target_state("products", "up")
    ProbeDay.objects.create(
        target="products", at=(now - timedelta(days=1)).date(), up_s=85_400, down_s=1_000
    )
    response = Client().get("/pulse/status/")
    assert response["Content-Type"] == "application/json"
    body = response.json()
    assert list(body) == [
        "status",
        "updated_at",
        "stale",
        "components",
        "incidents",
        "maintenance",
    ]
    assert (body["status"], body["stale"], body["incidents"]) == ("operational", False, [])
    assert [(each["name"], each["group"], each["status"]) for each in body["components"]] == [
        ("Images", None, "not_watched"),
        ("Catalogue", "Shop", "operational"),
        ("Search", "Shop", "not_watched"),
    ]
    catalogue = body["components"][1]
    assert list(catalogue["uptime"]) == ["24h", "7d", "30d", "90d"]
    assert catalogue["uptime"]["24h"] is None
    assert catalogue["uptime"]["90d"] == pytest.approx(1 - 1000 / 86_400)
    assert len(catalogue["days"]) == 90
    assert catalogue["days"][-1]["date"] > catalogue["days"][0]["date"]
    assert catalogue["days"][-1] == {
        "date": now.date().isoformat(),
        "status": "not_watched",
        "uptime": None,
    }
    assert catalogue["days"][-2]["status"] == "outage"


def test_the_form_can_be_named(nobody):
    assert nobody.get("/pulse/status/?format=json")["Content-Type"] == "application/json"
    html = Client().get("/pulse/status/?format=html")
    assert html["Content-Type"].startswith("text/html")


@pytest.mark.parametrize(
    ("statuses", "word", "banner"),
    [
        ({}, "not_watched", "Nobody looks at the moment"),
        ({"products": "up"}, "operational", "What is watched is operational"),
        (
            {"products": "up", "search": "up", "images": "up"},
            "operational",
            "All services are operational",
        ),
        ({"products": "degraded", "search": "up"}, "degraded", "Some services are slow"),
        ({"products": "down", "search": "down", "images": "down"}, "outage", "Major outage"),
        (
            {"products": "down", "search": "down"},
            "outage",
            "Partial outage: 2 services are down",
        ),
    ],
)
def test_the_whole_is_as_its_worst(nobody, statuses, word, banner):
    for name, each in statuses.items():
        factories.target_state(name, each)
    response = nobody.get("/pulse/status/")
    assert banner in text_of(response)
    assert response.context is None or response.context["status"]["status"] == word


def test_a_day_is_told_by_the_shares_of_its_time(nobody):
    day = (timezone.now() - timedelta(days=3)).date()
    ProbeDay.objects.create(
        target="products", at=day, up_s=40_000, degraded_s=20_000, down_s=20_000
    )
    content = nobody.get("/pulse/status/").content.decode()
    assert '<rect class="bar-bad" x="430" y="22.50" width="4" height="7.50"/>' in content
    assert '<rect class="bar-slow" x="430" y="15.00" width="4" height="7.50"/>' in content
    assert '<rect class="bar-good" x="430" y="0.00" width="4" height="15.00"/>' in content


def test_maintenance_is_told_while_it_lasts_and_before(nobody, apply):
    now = timezone.now()

    def window(name: str, start_h: float, **scope: object) -> dict[str, object]:
        starts = now + timedelta(hours=start_h)
        ends = starts + timedelta(hours=2)
        return {
            "name": name,
            "starts_at": starts.isoformat(),
            "ends_at": ends.isoformat(),
            **scope,
        }

    apply(
        maintenance_windows=[
            window("now", -1, targets=["search"]),
            window("soon", 48),
            window("inner", -1, targets=["inner"]),
            window("far", 24 * 30),
            window("past", -5),
        ]
    )
    body = Client().get("/pulse/status/").json()
    assert [each["name"] for each in body["maintenance"]] == ["now", "soon"]
    assert body["maintenance"][0]["starts_at"].endswith("Z")
    assert body["components"][2]["status"] == "maintenance"
    assert "Maintenance is under way" in text_of(nobody.get("/pulse/status/"))


@pytest.mark.parametrize("accept", ["*/*", BROWSER])
def test_without_the_database_the_last_copy_is_shown_and_says_so(accept, away):
    factories.target_state("products", "up")
    client = Client(headers={"accept": accept})
    before = client.get("/pulse/status/")
    away()
    after = client.get("/pulse/status/")
    assert after.status_code == 200
    if accept == BROWSER:
        assert "This is the last copy: the current status cannot be read." in text_of(after)
        assert "Catalogue" in text_of(after)
    else:
        assert after.json() == {**before.json(), "stale": True}


def test_a_process_that_has_just_started_finds_the_copy_in_redis(away, redis_cache):
    factories.target_state("products", "up")
    before = Client().get("/pulse/status/").json()
    copies.forget()
    status.forget()
    away()
    assert Client().get("/pulse/status/").json() == {**before, "stale": True}


def test_where_nothing_is_known_nothing_is_claimed(away):
    away()
    body = Client().get("/pulse/status/").json()
    assert (body["status"], body["stale"], body["components"]) == ("not_watched", True, [])


def test_however_many_ask_the_database_is_asked_once_in_a_while(nobody):
    nobody.get("/pulse/status/")
    with CaptureQueriesContext(connection) as queries:
        for _ in range(5):
            assert nobody.get("/pulse/status/").status_code == 200
    assert len(queries) == 0


def test_reading_it_takes_the_same_queries_for_one_and_for_many(apply):
    Client().get("/pulse/status/")
    status.forget()
    with CaptureQueriesContext(connection) as few:
        Client().get("/pulse/status/")
    apply(
        probe_targets=[
            {"name": f"t{number}", "path": "/api/products/", "public_name": f"T {number}"}
            for number in range(30)
        ]
    )
    Client().get("/pulse/status/")
    status.forget()
    with CaptureQueriesContext(connection) as many:
        Client().get("/pulse/status/")
    assert len(few) == len(many) == 5


@pytest.mark.parametrize("form", ["json", "html"])
def test_any_cache_may_keep_it_a_moment_and_its_tag_saves_the_rest(monkeypatch, form):
    first = Client().get(f"/pulse/status/?format={form}")
    assert first["Cache-Control"] == "public, max-age=10, stale-if-error=300"
    assert "Cookie" not in first["Vary"]
    status.forget()
    # Minutes later the page says another time, and nothing else.
    read, later = status.public.status_as_dict, timezone.now() + timedelta(minutes=2)
    monkeypatch.setattr(status.public, "status_as_dict", lambda plan, now: read(plan, later))
    same = Client().get(f"/pulse/status/?format={form}", headers={"if-none-match": first["ETag"]})
    assert (same.status_code, same.content) == (304, b"")
    factories.target_state("products", "down")
    status.forget()
    other = Client().get(f"/pulse/status/?format={form}", headers={"if-none-match": first["ETag"]})
    assert other.status_code == 200


def test_a_script_hears_of_parameters_that_there_are_not(nobody):
    """A person sees the page, whoever lengthened the link."""
    told = nobody.get("/pulse/status/?fromat=json", headers={"accept": "application/json"})
    assert told.status_code == 400
    assert told.json()["errors"] == {"fromat": ["Unknown parameter. Known are: format."]}
    assert nobody.get("/pulse/status/?utm_source=mail").status_code == 200


def test_writing_to_it_is_refused(nobody):
    assert nobody.post("/pulse/status/").status_code == 405


def test_a_badge_is_a_picture_of_one_component(nobody):
    factories.target_state("search", "down")
    response = nobody.get("/pulse/status/badges/search.svg")
    assert response["Content-Type"] == "image/svg+xml"
    picture = ET.fromstring(response.content)
    assert picture.get("aria-label") == "Search: outage"
    assert b"http" not in response.content.replace(b"http://www.w3.org/2000/svg", b"")
    assert b"style" not in response.content
    again = nobody.get(
        "/pulse/status/badges/search.svg", headers={"if-none-match": response["ETag"]}
    )
    assert again.status_code == 304


def test_a_name_stands_in_a_badge_as_text_whatever_it_is(nobody, apply):
    name = "<script>alert(1)</script> & Söhne"
    apply(probe_targets=[{"name": "search", "url_name": "search", "public_name": name}])
    response = nobody.get("/pulse/status/badges/scriptalert1script-söhne.svg")
    assert ET.fromstring(response.content).get("aria-label") == f"{name}: not watched"


@pytest.mark.parametrize("slug", ["inner", "gone", "nothing"])
def test_there_is_no_badge_of_what_is_not_public(nobody, slug):
    assert nobody.get(f"/pulse/status/badges/{slug}.svg").status_code == 404


def test_who_waits_for_the_first_reading_does_not_read_again(monkeypatch):
    """However many come at once to a process that knows nothing yet."""
    reads = []

    def read_slowly():
        reads.append(1)
        time.sleep(0.2)
        return {"status": "operational"}

    monkeypatch.setattr(status, "_read", read_slowly)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _number: status.current(), range(8)))
    assert (len(reads), len(found)) == (1, 8)


def test_a_badge_is_xml_whatever_the_name():
    ET.fromstring(draw("a\x01<b>&\x7f\uffff\u2028", "operational", 0.5))
