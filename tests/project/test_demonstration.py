import io
import json
import os
import socket
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.core.management import call_command

from project.demonstration import processes, redis_server, state, web
from project.demonstration.management.commands.demo import Command
from project.demonstration.options import BadOption, Options
from project.demonstration.processes import Child
from pulse.access import keys
from tests.factories import KIM

POLICY = Path(state.__file__).with_name("policy.yaml")


def test_options_have_defaults(tmp_path: Path) -> None:
    options = Options.read({"PORT": " ", "TRAFFIC": ""}, tmp_path)
    assert (options.port, options.server, options.web_processes) == (8000, "wsgi", 2)
    assert options.traffic
    assert options.database_url == f"sqlite:///{tmp_path}/db.sqlite3"
    assert options.redis_url == ""


def test_options_are_read(tmp_path: Path) -> None:
    words = {"PORT": "0", "SERVER": "ASGI", "WEB_PROCESSES": "4", "TRAFFIC": "0"}
    options = Options.read({**words, "REDIS_URL": "unix:///run/r.sock"}, tmp_path)
    assert (options.port, options.server, options.web_processes) == (0, "asgi", 4)
    assert not options.traffic
    assert options.redis_url == "unix:///run/r.sock"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "http"),
        ("PORT", "65536"),
        ("PORT", "-1"),
        ("PORT", "٣"),
        ("SERVER", "cgi"),
        ("WEB_PROCESSES", "0"),
        ("WEB_PROCESSES", "1000"),
        ("TRAFFIC", "some"),
        ("DATABASE_URL", "mysql://h/d"),
        ("DATABASE_URL", "sqlite://:memory:"),
        ("REDIS_URL", "http://h"),
    ],
)
def test_an_option_that_cannot_be_used_is_named(tmp_path: Path, name: str, value: str) -> None:
    with pytest.raises(BadOption, match=name):
        Options.read({name: value}, tmp_path)


def test_help_shows_an_example() -> None:
    command = Command(stdout=io.StringIO())
    text = command.create_parser("manage.py", "demo").format_help()
    assert "SERVER=asgi WEB_PROCESSES=4" in text


def test_state_is_its_owners_and_read_back(tmp_path: Path) -> None:
    written = state.State(url="http://x/", password="p", api_key="k", pids={"web": [1]})
    state.write(tmp_path, written)
    assert (tmp_path / "state.json").stat().st_mode & 0o777 == 0o600
    found = state.read(tmp_path)
    assert (found.url, found.password, found.api_key) == ("http://x/", "p", "k")
    assert found.pids == {}
    assert [path.name for path in tmp_path.iterdir()] == ["state.json"]


def test_directory_is_held_once(tmp_path: Path) -> None:
    with state.held(tmp_path), pytest.raises(state.AlreadyRunning), state.held(tmp_path):
        pass
    with state.held(tmp_path):
        pass


def test_a_busy_port_gives_way_to_the_next() -> None:
    said: list[str] = []
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        port = busy.getsockname()[1]
        with web.listen(port, said.append) as listener:
            taken = listener.getsockname()[1]
    assert taken > port
    assert said == [f"Port {port} is busy: taking {taken} instead."]


def test_redis_keeps_its_port_where_it_is_free() -> None:
    port = redis_server.choose_port("")
    assert redis_server.choose_port(redis_server.url_of(port)) == port
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", port))
        busy.listen()
        assert redis_server.choose_port(redis_server.url_of(port)) != port


def test_a_child_that_keeps_ending_is_started_less_and_less_often(tmp_path: Path) -> None:
    child = Child("web", [sys.executable, "-c", "exit(3)"], os.environ, tmp_path / "log")
    delays = []
    for _ in range(3):
        child.start()
        assert child.process
        child.process.wait()
        assert child.watch() == "web ended (exit code 3); it is started again"
        delays.append(child.due_at - time.monotonic())
        assert child.process is None
        assert child.watch() is None
        assert child.process is None
    assert child.failures == 3
    assert delays == sorted(delays)


def test_children_that_do_not_listen_are_killed(tmp_path: Path) -> None:
    deaf = "import signal, time; signal.signal(15, signal.SIG_IGN); print('on'); time.sleep(60)"
    child = Child("web", [sys.executable, "-u", "-c", deaf], os.environ, tmp_path / "log")
    child.start()
    while "on" not in child.tail():
        pass
    processes.end([child], patience_s=0.1)
    assert child.process
    assert child.process.returncode == -9


def test_policy_document_leaves_the_plain_tier_to_the_api() -> None:
    """Only login, export and upload have limits of their own; all is enforced."""
    document: dict[str, Any] = yaml.safe_load(POLICY.read_text())
    assert document["version"] == 1
    limited = [rule for rule in document["endpoint_limits"] if "limits" in rule]
    paths = {rule.get("path", rule.get("url_name")) for rule in limited}
    assert paths == {"/accounts/login/", "export", "upload"}
    rules = [*document["rate_tiers"], *document["endpoint_limits"]]
    assert {rule.get("mode", "enforce") for rule in rules} == {"enforce"}


@pytest.mark.django_db
def test_preparing_twice_keeps_what_an_operator_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from django.contrib.auth.models import User

    monkeypatch.setenv("DEMO_PASSWORD", "first password")
    result = tmp_path / "result.json"
    quiet = {"stdout": io.StringIO(), "stderr": io.StringIO()}
    call_command("demo_prepare", str(result), **quiet)
    assert '"applied": true' in result.read_text()
    assert result.stat().st_mode & 0o777 == 0o600
    key = json.loads(result.read_text())["api_key"]
    assert keys.authenticate(key).scopes == ["administer"]
    monkeypatch.setenv("DEMO_API_KEY", key)
    admin = User.objects.get(username="admin")
    assert admin.is_superuser
    known = admin.password
    call_command("demo_prepare", str(result), **quiet)
    assert '"applied": false' in result.read_text()
    assert json.loads(result.read_text())["api_key"] == key
    keys.revoke(keys.authenticate(key), actor=KIM)
    call_command("demo_prepare", str(result), **quiet)
    assert keys.authenticate(json.loads(result.read_text())["api_key"])
    admin.refresh_from_db()
    assert admin.password == known
