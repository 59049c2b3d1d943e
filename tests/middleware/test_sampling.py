"""Which requests the sample keeps, and what of them."""

import pytest
from django.contrib.auth.models import Group, User
from django.test import AsyncClient, Client

from pulse.core.recording import Recorded, decode
from pulse.store import sample
from pulse.testing import override_policies
from tests.factories import default_tier
from tests.factories import document as doc

pytestmark = pytest.mark.django_db
ECHO = "/api/echo/"


def recorded() -> list[Recorded]:
    """What is kept of each request, whatever its time."""
    sample.flush()
    current = sample.gathered.current
    found = []
    for slot in sample.read([current - 1, current]).slots.values():
        for field, times in slot.times.items():
            kept = decode(field[12:])
            assert kept is not None
            found += [kept] * (len(times) // 4)
    return found


def one() -> Recorded:
    (found,) = recorded()
    return found


@pytest.fixture(params=[Client, AsyncClient])
def get(request):
    from asgiref.sync import async_to_sync

    def call(path: str, client=None, **headers: str):
        client = client or request.param(raise_request_exception=False)
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        got = client.get if isinstance(client, Client) else async_to_sync(client.get)
        return got(path, headers=headers)

    return call


def test_request_is_kept_by_its_route(get) -> None:
    with override_policies(doc()):
        get(f"{ECHO}?q=hidden", X_Track_ID="me")
    kept = one()
    assert (kept.method, kept.url_name, kept.path, kept.is_whole) == ("GET", "echo", ECHO, True)
    assert [name for name, value in kept.headers if value] == ["x-track-id"]
    assert "hidden" not in str(kept)
    assert "me" not in str(kept).split("'")
    assert kept.user_known
    assert not kept.refused


def test_refusal_is_kept_as_one(get) -> None:
    with override_policies(doc(rate_tiers=[default_tier("1/h")])):
        get(ECHO)
        get(ECHO)
    assert [kept.refused for kept in recorded()] == [False, True]


def test_exempt_and_unresolved_requests_are_kept(get) -> None:
    """A draft may end the exemption, and the tier counts what resolves to nothing."""
    with override_policies(doc(exemptions=[{"path": "/static/"}])):
        get("/static/private.css")
        get("/wp-login.php")
    exempt, unresolved = recorded()
    assert (exempt.route, exempt.path) == (None, "/static/")
    assert (unresolved.route, unresolved.path) == (None, "/")


def test_what_access_rules_refuse_is_not_kept(get) -> None:
    """No limit was asked about it."""
    denied = {"network": "127.0.0.0/8", "action": "deny"}
    with override_policies(doc(access_rules=[denied])):
        assert get(ECHO).status_code == 403
    assert recorded() == []


def test_user_is_kept_where_policies_look(get) -> None:
    user = User.objects.create_user("kim")
    user.groups.add(Group.objects.create(name="paying"))
    client = Client()
    client.force_login(user)
    assigned = {"group": "paying", "tier": "default"}
    with override_policies(doc(rate_tiers=[default_tier("9/h")], tier_assignments=[assigned])):
        get(ECHO, client)
    kept = one()
    assert kept.user
    assert len(kept.groups or ()) == 1
    assert "kim" not in str(kept)


def test_nobody_is_looked_up_for_it(get, django_assert_num_queries) -> None:
    """Where no policy asks for users, that nobody asked who it is is kept."""
    client = Client()
    client.force_login(User.objects.create_user("kim"))
    with override_policies(doc()), django_assert_num_queries(0):
        get(ECHO, client)
    assert not one().user_known


def test_user_whom_the_view_looked_up_is_known(get) -> None:
    client = Client()
    client.force_login(User.objects.create_superuser("root"))
    with override_policies(doc()):
        get("/admin/", client)
    kept = one()
    assert kept.user_known
    assert kept.user


def test_switched_off_keeps_nothing(get, settings) -> None:
    settings.PULSE = {"SAMPLE_BYTES": 0}
    with override_policies(doc()):
        get(ECHO)
    assert recorded() == []


def test_what_fails_in_it_fails_no_request(get, monkeypatch, caplog) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr(sample, "add", fail)
    with override_policies(doc()):
        assert get(ECHO).status_code == 200
    assert "Failed to record metrics (non-fatal)" in caplog.text
