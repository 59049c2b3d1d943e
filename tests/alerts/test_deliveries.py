"""Word to channels: signed, tried again, each by one courier, and recorded once."""

import contextlib
import json
import socket
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
import standardwebhooks
from django.core import mail
from django.db import connections
from django.db.models import F
from django.utils import timezone

from pulse.alerts import courier, deliveries, incidents, sender
from pulse.alerts.deliveries import Claimed, Event, Sent
from pulse.alerts.incidents import Finding, open_incident, resolve_incident
from pulse.alerts.models import AlertChannel, ChannelSecret
from pulse.alerts.retention import old
from pulse.alerts.state import AlertDelivery, DeliveryState, Incident
from pulse.policies import current
from pulse.policies.publisher import Actor
from pulse.probes import retention
from tests.alerts.conftest import SECRET, Receiver

KIM = Actor("user", "kim")
FINDING = Finding(
    title="p95 of GET /shop/ is 900 ms (> 200 ms)",
    severity="critical",
    rule="slow",
    source_key="slow",
    metric="latency_ms.p95",
    value=900.0,
    threshold=200.0,
    channels=["hook"],
)


def open_now(**fields: Any) -> Incident:
    finding = Finding(**{**{name: getattr(FINDING, name) for name in FINDING.__slots__}, **fields})
    return open_incident(finding, timezone.now())


def due_now() -> None:
    past = timezone.now() - timedelta(seconds=1)
    AlertDelivery.objects.update(next_attempt_at=past, lease_until=None)


def test_a_word_is_signed_so_that_others_can_check_it(apply, hook, receiver, settings) -> None:
    settings.PULSE = {"SITE_URL": "https://shop.example.com"}
    apply(alert_channels=[hook])
    incident = open_now()
    assert courier.deliver() == 1
    ((headers, body),) = receiver.got
    told = standardwebhooks.Webhook(SECRET).verify(body, headers)
    assert told["type"] == "alert.firing"
    assert told["data"]["incident"] == str(incident.pk)
    assert told["data"]["severity"] == "critical"
    assert told["data"]["url"] == f"https://shop.example.com/pulse/incidents/{incident.pk}/"
    row = AlertDelivery.objects.get()
    assert (row.state, row.attempt, row.status_code) == (DeliveryState.DELIVERED, 1, 204)
    assert headers["webhook-id"] == row.webhook_id
    assert courier.deliver() == 0


def test_what_was_not_taken_is_sent_again_under_the_same_id(apply, hook, receiver) -> None:
    receiver.answers = [(503, {}), (429, {"Retry-After": "600"}), (204, {})]
    apply(alert_channels=[hook])
    open_now()
    courier.deliver()
    row = AlertDelivery.objects.get()
    assert (row.state, row.error) == ("pending", "The receiver answered 503.")
    wait_s = (row.next_attempt_at - timezone.now()).total_seconds()
    assert 4 < wait_s < 6
    assert courier.deliver() == 0  # It is not due yet.
    due_now()
    courier.deliver()
    row.refresh_from_db()
    assert 590 < (row.next_attempt_at - timezone.now()).total_seconds() <= 600
    due_now()
    courier.deliver()
    row.refresh_from_db()
    assert (row.state, row.attempt, len(receiver.got)) == ("delivered", 3, 3)
    assert len({headers["webhook-id"] for headers, _body in receiver.got}) == 1
    assert [line["status_code"] for line in row.log] == [503, 429, 204]
    assert deliveries.totals() == [("hook", "delivered", 1)]


def test_a_clock_that_is_set_back_holds_no_first_word_up(apply, hook, receiver) -> None:
    apply(alert_channels=[hook])
    open_now()
    ahead = timezone.now() + timedelta(hours=1)
    AlertDelivery.objects.update(created_at=ahead, next_attempt_at=ahead)
    assert courier.deliver() == 1
    assert receiver.types == ["alert.firing"]


def test_who_never_takes_it_is_given_up_in_the_end(apply, hook, receiver) -> None:
    receiver.answers = [(500, {})]
    apply(alert_channels=[hook])
    open_now()
    for _ in range(len(deliveries.WAITS_S) + 1):
        due_now()
        courier.deliver()
    row = AlertDelivery.objects.get()
    assert (row.state, row.attempt) == ("failed", 10)
    assert row.next_attempt_at is None
    due_now()
    assert courier.deliver() == 0
    assert deliveries.totals() == [("hook", "failed", 1)]


@pytest.mark.parametrize("status", [301, 400, 401, 404, 410])
def test_what_no_repetition_mends_fails_at_once(apply, hook, receiver, status) -> None:
    receiver.answers = [(status, {"Location": receiver.url})]
    apply(alert_channels=[hook])
    open_now()
    courier.deliver()
    assert AlertDelivery.objects.get().state == "failed"
    assert len(receiver.got) == 1


def test_nothing_is_sent_where_it_may_not_be(apply, hook, receiver) -> None:
    """The address was open as the channel was saved, and is not any more."""
    apply(alert_channels=[hook])
    open_now()
    AlertChannel.objects.update(allow_networks=["10.0.0.9/32"])
    word = deliveries.claim(1)[0]
    channel = {**word.channel, "allow_networks": ["10.0.0.9/32"]}
    sent = sender.send(Claimed(**{**_fields(word), "channel": channel}))
    assert (sent.delivered, sent.again) == (False, False)
    assert "not allowed" in sent.error
    assert receiver.got == []


def test_a_receiver_that_says_nothing_is_left_in_time(apply, hook, receiver, monkeypatch) -> None:
    monkeypatch.setattr(sender, "TIMEOUT_S", 0.2)
    import socket

    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        url, opened = f"http://127.0.0.1:{port}/", [f"127.0.0.1/32:{port}"]
        apply(alert_channels=[{**hook, "url": url, "allow_networks": opened}])
        open_now()
        courier.deliver()
    row = AlertDelivery.objects.get()
    assert row.state == "pending"
    assert "no whole answer within" in row.error


def test_email_is_sent_as_text(apply, settings) -> None:
    settings.PULSE = {"SITE_URL": "https://shop.example.com"}
    apply(alert_channels=[{"name": "mail", "type": "email", "to": ["ops@example.com"]}])
    incident = open_now(title="a\nb: <b>", channels=["mail"])
    courier.deliver()
    (sent,) = mail.outbox
    assert sent.subject == "[pulse] Critical: a b: <b>"
    assert sent.to == ["ops@example.com"]
    assert "Measured when it began: 900; threshold: 200." in sent.body
    assert f"https://shop.example.com/pulse/incidents/{incident.pk}/" in sent.body
    resolve_incident(incident, timezone.now(), "It is well again")
    courier.deliver()
    assert mail.outbox[1].subject == "[pulse] Resolved: a b: <b>"


@pytest.fixture
def slow_mail_server(settings) -> Iterator[None]:
    """Takes its time for each answer, though never too long for one."""

    def serve(server: socket.socket) -> None:
        with contextlib.suppress(OSError):
            client, _address = server.accept()
            with client, client.makefile("rwb") as lines:
                lines.write(b"220 slow\r\n")
                lines.flush()
                while lines.readline():
                    time.sleep(0.3)
                    lines.write(b"250 well\r\n")
                    lines.flush()

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=serve, args=(server,), daemon=True)
        thread.start()
        settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
        settings.EMAIL_HOST, settings.EMAIL_PORT = server.getsockname()
        yield
    thread.join(5)


def test_a_slow_mail_server_keeps_no_word_for_longer_than_its_lease(
    apply, slow_mail_server, monkeypatch
) -> None:
    monkeypatch.setattr(sender, "MAIL_S", 1.0)
    to = [f"a{number}@example.com" for number in range(40)]
    apply(alert_channels=[{"name": "mail", "type": "email", "to": to}])
    open_now(channels=["mail"])
    began = time.monotonic()
    courier.deliver()
    assert time.monotonic() - began < 8  # 40 addresses would take 12.
    row = AlertDelivery.objects.get()
    assert (row.state, row.lease_until) == (DeliveryState.PENDING, None)
    assert "The mail was not taken" in row.error


def test_a_slow_receiver_keeps_no_other_word_unrecorded(apply, hook, monkeypatch) -> None:
    """Else another courier would send it again, once its lease is over."""
    slow = {"name": "a-slow", "type": "email", "to": ["ops@example.com"]}
    apply(alert_channels=[slow, hook])
    others = threading.Event()
    real, order = deliveries.record, []

    def send(claimed: Claimed) -> Sent:
        if claimed.name == "a-slow":
            assert others.wait(10)
        return Sent()

    def record(claimed: Claimed, sent: Sent) -> bool:
        order.append(claimed.name)
        others.set()
        return real(claimed, sent)

    monkeypatch.setattr(sender, "send", send)
    monkeypatch.setattr(deliveries, "record", record)
    open_now(channels=["a-slow", "hook"])
    assert courier.deliver() == 2
    assert order == ["hook", "a-slow"]


def test_slack_reads_no_marks_in_what_people_typed(apply, hook, receiver) -> None:
    slack = {key: value for key, value in hook.items() if key != "secret"}
    apply(alert_channels=[{**slack, "type": "slack"}])
    open_now(title="<!channel> & all")
    courier.deliver()
    ((headers, body),) = receiver.got
    assert json.loads(body)["text"].startswith("Critical: &lt;!channel&gt; &amp; all")
    assert "webhook-signature" not in headers


def test_each_channel_is_told_once_of_each_end(apply, hook) -> None:
    apply(alert_channels=[hook, {"name": "mail", "type": "email", "to": ["ops@example.com"]}])
    incident = open_now(channels=["hook", "mail", "hook", "nobody"])
    assert open_now(channels=["hook", "mail"]).pk == incident.pk
    assert deliveries.enqueue(incident, Event.FIRING, ["hook"]) == 1
    assert AlertDelivery.objects.count() == 2
    assert resolve_incident(incident, timezone.now(), "over")
    assert not resolve_incident(incident, timezone.now(), "over")
    ends = AlertDelivery.objects.filter(event=Event.RESOLVED)
    assert sorted(ends.values_list("channel", flat=True)) == ["hook", "mail"]


def test_word_of_a_beginning_does_not_come_after_that_of_the_end(apply, hook, receiver) -> None:
    """Whoever is told last of an incident knows that it is over."""
    receiver.answers = [(503, {}), (204, {})]
    apply(alert_channels=[hook])
    incident = open_now()
    courier.deliver()
    resolve_incident(incident, timezone.now(), "over")
    due_now()
    courier.deliver()
    assert receiver.types == ["alert.firing", "alert.resolved"]
    states = dict(AlertDelivery.objects.values_list("event", "state"))
    assert states == {"alert.firing": "failed", "alert.resolved": "delivered"}
    assert deliveries.totals() == [("hook", "delivered", 1), ("hook", "failed", 1)]


def test_a_channel_that_was_switched_off_takes_no_more_of_an_incident(
    apply, hook, receiver
) -> None:
    receiver.answers = [(503, {}), (204, {})]
    apply(alert_channels=[hook])
    open_now()
    courier.deliver()
    apply(alert_channels=[{**hook, "mode": "off"}])
    due_now()
    courier.deliver()
    assert len(receiver.got) == 1
    assert AlertDelivery.objects.get().state == "failed"


@pytest.mark.parametrize("mode", ["shadow", "off"])
def test_a_channel_that_is_not_in_force_is_told_nothing(apply, hook, mode) -> None:
    apply(alert_channels=[{**hook, "mode": mode}])
    open_now()
    assert not AlertDelivery.objects.exists()
    deliveries.send_test("hook", KIM)  # But it can be tried.
    assert courier.deliver() == 1


def test_a_channel_that_is_gone_fails_what_waits(apply, hook) -> None:
    apply(alert_channels=[hook])
    open_now()
    apply()
    courier.deliver()
    row = AlertDelivery.objects.get()
    assert (row.state, row.error) == (
        "failed",
        "The policy has no channel of this name any more, or it is off.",
    )


def test_a_courier_that_died_leaves_its_word_to_the_next(apply, hook, receiver) -> None:
    apply(alert_channels=[hook])
    open_now()
    (dead,) = deliveries.claim(5)
    assert deliveries.claim(5) == []
    AlertDelivery.objects.update(lease_until=timezone.now() - timedelta(seconds=1))
    assert courier.deliver() == 1
    assert not deliveries.record(dead, Sent(error="too late"))
    row = AlertDelivery.objects.get()
    assert (row.state, row.attempt) == ("delivered", 2)


def test_a_secret_may_stay_in_the_environment(apply, hook, receiver, settings, monkeypatch) -> None:
    settings.PULSE = {"PROBE_SECRET_ENV": ["HOOK_*"]}
    monkeypatch.setenv("HOOK_SECRET", SECRET)
    apply(alert_channels=[{**hook, "secret": "env:HOOK_SECRET"}])
    assert not ChannelSecret.objects.exists()
    open_now()
    courier.deliver()
    ((headers, body),) = receiver.got
    standardwebhooks.Webhook(SECRET).verify(body, headers)
    monkeypatch.delenv("HOOK_SECRET")
    deliveries.send_test("hook", KIM)
    courier.deliver()
    assert "HOOK_SECRET" in AlertDelivery.objects.order_by("-pk")[0].error


def test_a_url_may_stay_in_the_environment(apply, hook, receiver, settings, monkeypatch) -> None:
    """Slack's is all that one needs to write there; whoever may view reads the name alone."""
    settings.PULSE = {"PROBE_SECRET_ENV": ["HOOK_*"]}
    monkeypatch.setenv("HOOK_URL", receiver.url)
    slack = {key: value for key, value in hook.items() if key != "secret"}
    apply(alert_channels=[{**slack, "type": "slack", "url": "env:HOOK_URL"}])
    open_now()
    courier.deliver()
    assert len(receiver.got) == 1
    monkeypatch.setenv("HOOK_URL", "http://169.254.169.254/")
    deliveries.send_test("hook", KIM)
    courier.deliver()
    row = AlertDelivery.objects.order_by("-pk")[0]
    assert row.state == "failed"
    assert "not allowed" in row.error


@pytest.mark.django_db(transaction=True)
def test_of_many_couriers_one_sends_each_word(apply, hook, receiver) -> None:
    apply(alert_channels=[hook])
    for number in range(30):
        open_now(subject=f"s{number}")
    barrier, failed = threading.Barrier(4), []

    def work() -> None:
        try:
            barrier.wait()
            courier.deliver()
        except Exception as error:
            failed.append(error)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    courier.deliver()
    assert len(receiver.got) == 30
    assert len({headers["webhook-id"] for headers, _body in receiver.got}) == 30
    assert AlertDelivery.objects.filter(state="delivered", attempt=1).count() == 30


@pytest.mark.django_db(transaction=True)
def test_of_two_who_open_at_once_one_does(apply, hook) -> None:
    apply(alert_channels=[hook])
    barrier, found = threading.Barrier(4), []

    def work() -> None:
        try:
            barrier.wait()
            found.append(open_now().pk)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert len(set(found)) == 1
    assert AlertDelivery.objects.count() == 1


def test_notes_are_whose_they_are(apply) -> None:
    incident = open_now(channels=[])
    incidents.note(incident, timezone.now(), "looking", KIM, public=True)
    told = incidents.as_dict(incident, updates=list(incident.updates.all()))
    assert told["updates"][0]["actor"] == {"type": "user", "name": "kim"}
    assert [update["kind"] for update in told["updates"]] == ["note", "opened"]


def _fields(word: Claimed) -> dict[str, Any]:
    return {name: getattr(word, name) for name in word.__slots__}


def test_attempts_are_counted_as_they_begin(apply, hook, receiver: Receiver) -> None:
    """So that one that is killed on its way counts as well."""
    apply(alert_channels=[hook])
    open_now()
    deliveries.claim(1)
    AlertDelivery.objects.update(lease_until=F("created_at"))
    (again,) = deliveries.claim(1)
    assert again.attempt == 2


def test_what_is_old_goes_and_what_is_open_stays(apply, hook) -> None:
    apply(alert_channels=[hook])
    now = timezone.now()
    opened, over = open_now(), open_now(subject="other")
    courier.deliver()
    resolve_incident(over, now, "over")
    courier.deliver()
    later = now + timedelta(days=401)
    assert not retention.prune(now, also=old).total
    pruned = retention.prune(later, also=old)
    # Who was told that it began is told that it is over, however late.
    assert (pruned.rows["deliveries"], pruned.rows["incidents"]) == (2, 1)
    assert pruned.rows["incident updates"] == 2
    assert list(Incident.objects.all()) == [opened]
    assert deliveries.totals() == [("hook", "delivered", 3)]
    resolve_incident(opened, later, "over")
    assert AlertDelivery.objects.filter(event=Event.RESOLVED, incident=opened).exists()


def test_word_of_an_end_waits_for_that_of_its_beginning(apply, hook, receiver) -> None:
    apply(alert_channels=[hook])
    incident = open_now()
    resolve_incident(incident, timezone.now(), "over")
    (beginning,) = deliveries.claim(8)
    assert beginning.event == Event.FIRING
    assert deliveries.claim(8) == []  # Another courier has the beginning under way.
    deliveries.record(beginning, Sent())
    (end,) = deliveries.claim(8)
    assert end.event == Event.RESOLVED


def test_a_beginning_that_waits_for_its_next_attempt_holds_no_end_up(apply, hook) -> None:
    apply(alert_channels=[hook])
    incident = open_now()
    (beginning,) = deliveries.claim(8)
    deliveries.record(beginning, Sent(error="away", status_code=503))
    resolve_incident(incident, timezone.now(), "over")
    (end,) = deliveries.claim(8)
    assert end.event == Event.RESOLVED


def test_one_channel_takes_its_share_of_couriers_and_no_more(apply, hook, monkeypatch) -> None:
    apply(alert_channels=[hook, {"name": "mail", "type": "email", "to": ["ops@example.com"]}])
    told = threading.Event()
    under_way, most = [0], [0]

    def send(claimed: Claimed) -> Sent:
        if claimed.name == "mail":
            told.set()
            return Sent()
        under_way[0] += 1
        most[0] = max(most[0], under_way[0])
        assert told.wait(10)  # While the receiver hangs, mail goes out.
        under_way[0] -= 1
        return Sent()

    monkeypatch.setattr(sender, "send", send)
    for number in range(12):
        open_now(subject=str(number), channels=["hook"])
    open_now(subject="mail", channels=["mail"])
    assert courier.deliver() == 13
    assert most[0] <= courier.SHARE


def test_a_channel_that_this_process_has_not_heard_of_yet_is_looked_for(
    apply, hook, receiver
) -> None:
    """The worker may be a second behind the policy; a word that fails for that fails for good."""
    apply()
    current.current_snapshot()
    held = current._held.snapshot, current._held.compiled, current._held.document
    apply(alert_channels=[hook])
    current._held.snapshot, current._held.compiled, current._held.document = held
    deliveries.send_test("hook", KIM)
    courier.deliver()
    assert AlertDelivery.objects.get().state == DeliveryState.DELIVERED
