"""The commands: exit codes fit for CI, errors in words, one line of help that can be copied."""

import csv
import io
import json
import subprocess
import sys
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.test import Client

from pulse.policies import publisher
from pulse.policies.document import apply, parse
from pulse.policies.models import Exemption, PolicyRevision
from pulse.policies.state import PolicyGuard
from pulse.testing import override_policies
from tests.factories import KIM, default_tier
from tests.factories import document as doc

pytestmark = pytest.mark.django_db

COMMANDS = ("pulse_apply", "pulse_doctor", "pulse_explain", "pulse_export", "pulse_rollback")


def run(*words: str, stdin: str | None = None, monkeypatch=None) -> tuple[int, str, str]:
    """Run a command in this process: exit code, output, errors."""
    out, err = io.StringIO(), io.StringIO()
    if stdin is not None:
        monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))
    try:
        call_command(*words, stdout=out, stderr=err)
    except SystemExit as error:
        return int(error.code or 0), out.getvalue(), err.getvalue()
    except CommandError as error:
        return error.returncode, out.getvalue(), str(error)
    return 0, out.getvalue(), err.getvalue()


@pytest.fixture
def file(tmp_path: Path):
    """Write a document to a file."""

    def write(text: str | bytes | dict) -> str:
        path = tmp_path / "policy.yaml"
        if isinstance(text, dict):
            text = json.dumps(text)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return str(path)

    return write


@pytest.mark.parametrize("name", COMMANDS)
def test_help_has_an_example(name: str, capsys) -> None:
    """Lines as they are typed."""
    with pytest.raises(SystemExit) as caught:
        call_command(name, "--help")
    assert caught.value.code == 0
    text = capsys.readouterr().out
    assert f"examples:\n  manage.py {name} " in text
    assert "--format" in text


# pulse_apply


def test_apply_tells_what_it_did(file) -> None:
    """Exit 0; again: nothing differs, exit 0."""
    path = file(doc(exemptions=["/x"]))
    number = PolicyRevision.objects.latest("number").number
    code, out, _ = run("pulse_apply", path, "--reason", "Release 4.2")
    assert (code, out) == (0, f"+ exemptions /x\n1 change, revision {number + 1}.\n")
    made = PolicyRevision.objects.latest("number")
    assert (made.reason, made.source, made.actor_type) == ("Release 4.2", "document", "command")
    code, out, _ = run("pulse_apply", path)
    assert (code, out) == (0, f"Nothing differs from revision {number + 1}.\n")


def test_a_dry_run_exits_2_if_something_differs(file) -> None:
    """And 0 if nothing does; nothing is saved."""
    path = file(doc(exemptions=["/x", "/y"]))
    number = PolicyRevision.objects.latest("number").number
    code, out, _ = run("pulse_apply", path, "--dry-run")
    assert code == 2
    assert f"Dry run: 2 changes to revision {number}, nothing saved." in out
    assert not Exemption.objects.filter(path="/x").exists()
    run("pulse_apply", path)
    assert run("pulse_apply", path, "--dry-run")[0] == 0


def test_apply_prints_an_update_field_by_field(file) -> None:
    """Before and after."""
    run("pulse_apply", file(doc(exemptions=["/x"])))
    _, out, _ = run("pulse_apply", file(doc(exemptions=[{"path": "/x", "mode": "off"}])))
    assert '~ exemptions /x\n    mode: "enforce" -> "off"\n' in out


def test_apply_warns_of_what_newly_holds_browsers_to_https(file) -> None:
    """In one line, on a dry run too; not of a stage, of what is off, or of what was so already."""
    policies = [
        {"name": "whole", "path": "/whole/", "preset": "owasp"},
        {"name": "staged", "path": "/staged/", "preset": "owasp", "hsts_stage": "30d"},
        {"name": "off", "path": "/off/", "preset": "owasp", "mode": "off"},
        {
            "name": "listed",
            "path": "/listed/",
            "headers": {"Strict-Transport-Security": "max-age=300; preload"},
        },
    ]
    path = file(doc(header_policies=policies))
    for options in (["--dry-run"], []):
        _, _, err = run("pulse_apply", path, *options)
        assert [line.split(",")[0] for line in err.splitlines()] == [
            "The header policy listed begins to hold browsers to HTTPS (max-age=300; preload)",
            "The header policy whole begins to hold browsers to HTTPS (max-age=63072000)",
        ]
    code, _, err = run("pulse_apply", path)
    assert (code, err) == (0, "")
    policies[1]["hsts_stage"] = ""
    assert "policy staged begins" in run("pulse_apply", file(doc(header_policies=policies)))[2]


def test_apply_prints_the_contract_as_json(file) -> None:
    """API 4: revision, changed, dry_run, changes."""
    path = file(doc(exemptions=["/x"]))
    code, out, _ = run("pulse_apply", path, "--format", "json", "--dry-run")
    found = json.loads(out)
    assert code == 2
    assert list(found) == ["revision", "changed", "dry_run", "changes"]
    assert found["changes"][0].items() >= {
        "kind": "exemptions", "key": {"path": "/x"}, "action": "create",
    }.items()  # fmt: skip


def test_a_document_with_errors_exits_1_and_lists_them(file) -> None:
    """Line by line, by place."""
    code, out, err = run(
        "pulse_apply", file("version: 1\nexemptions: [x y]\ntrusted_proxies: [z]\n")
    )
    assert (code, out) == (1, "")
    lines = err.splitlines()
    assert lines[0] == "The document cannot be applied; nothing was changed."
    assert [line.split(":")[0] for line in lines[1:]] == [
        "  exemptions.0.network", "  trusted_proxies.0.network",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (b"\xff\xfe\x00", "is not text in UTF-8."),
        (b"version: [", "It cannot be read:"),
        (b"", "Write a mapping that begins with version: 1."),
    ],
)
def test_a_file_that_is_no_document_exits_1(file, text: bytes, told: str) -> None:
    """In words, without a traceback."""
    code, _, err = run("pulse_apply", file(text))
    assert code == 1
    assert told in err


def test_a_file_that_cannot_be_read_exits_1(tmp_path) -> None:
    """Missing, or a directory."""
    code, _, err = run("pulse_apply", str(tmp_path / "none.yaml"))
    assert (code, err) == (1, f"Cannot read {tmp_path}/none.yaml: No such file or directory")
    assert run("pulse_apply", str(tmp_path))[2].endswith("Is a directory")


def test_apply_reads_what_export_writes(monkeypatch) -> None:
    """Through a pipe, and with prune."""
    apply(doc(exemptions=["/x"]), KIM)
    _, text, _ = run("pulse_export")
    text = text.replace("/x", "/y")
    code, out, _ = run("pulse_apply", "-", "--prune", stdin=text, monkeypatch=monkeypatch)
    assert code == 0
    assert "- exemptions /x\n+ exemptions /y\n2 changes" in out


# pulse_export


@pytest.mark.parametrize("form", ["yaml", "json"])
def test_export_writes_the_policy_in_force(form: str, tmp_path) -> None:
    """To the terminal or to a file, the same text."""
    _, out, _ = run("pulse_export", "--format", form)
    assert parse(out) == publisher.newest_document()
    code, nothing, _ = run("pulse_export", "--format", form, "--output", str(tmp_path / "p"))
    assert (code, nothing) == (0, "")
    assert (tmp_path / "p").read_text() == out


def test_export_writes_earlier_revisions_and_drafts(settings) -> None:
    """By number; and the rows as they are."""
    number = PolicyRevision.objects.latest("number").number
    settings.PULSE = {"PUBLISH": "manual"}
    apply(doc(exemptions=["/draft"]), KIM)
    assert "/draft" not in run("pulse_export")[1]
    assert "/draft" in run("pulse_export", "--draft")[1]
    assert run("pulse_export", "--revision", str(number))[1] == run("pulse_export")[1]
    assert run("pulse_export", "--revision", "999")[::2] == (1, "There is no revision 999.")


def test_export_to_where_nobody_can_write_exits_1(tmp_path) -> None:
    """Said, not raised."""
    code, _, err = run("pulse_export", "--output", str(tmp_path / "no" / "p"))
    assert code == 1
    assert err.startswith(f"Cannot write {tmp_path}/no/p: ")


# pulse_rollback


def test_rollback_makes_a_new_revision() -> None:
    """With a reason; a dry run exits 2."""
    number = PolicyRevision.objects.latest("number").number
    apply(doc(exemptions=["/x"]), KIM)
    assert run("pulse_rollback", str(number), "--dry-run")[0] == 2
    code, out, _ = run("pulse_rollback", str(number), "--reason", "Oops")
    assert (code, out) == (0, f"- exemptions /x\n1 change, revision {number + 2}.\n")
    assert PolicyRevision.objects.latest("number").reason == "Oops"
    assert run("pulse_rollback", str(number), "--dry-run")[0] == 0


@pytest.mark.parametrize("number", ["999", "0", "-1", "99999999999"])
def test_rollback_to_a_revision_that_is_not_there_exits_1(number: str) -> None:
    """Whatever the number."""
    words = ("--", number) if number.startswith("-") else (number,)
    assert run("pulse_rollback", *words)[::2] == (1, f"There is no revision {number}.")


def test_rollback_to_what_names_who_is_gone_exits_1(django_user_model) -> None:
    """The places are told."""
    user = django_user_model.objects.create(username="kim")
    apply(doc(tier_assignments=[{"user": "kim", "tier": "default"}]), KIM)
    number = PolicyRevision.objects.latest("number").number
    with publisher.edit(KIM, source="admin"):
        user.delete()
    code, _, err = run("pulse_rollback", str(number))
    assert code == 1
    assert "tier_assignments.0.user: There is no user “kim”." in err


# pulse_explain


def test_apply_and_rollback_begin_a_guard(file) -> None:
    """And say what it will do."""
    path = file(doc(rate_tiers=[default_tier("20/s")]))
    code, out, _err = run("pulse_apply", path, "--guard-refusals", "7", "--guard-minutes", "3")
    assert (code, PolicyGuard.objects.get().refusals) == (0, 7)
    assert "Guarded: more than 7 refusals within 3 minutes and it is taken back." in out
    first = publisher.lock("default").revision - 1
    run("pulse_rollback", str(first), "--guard-refusals", "8")
    newest = PolicyGuard.objects.first()
    assert newest is not None
    assert (newest.refusals, newest.minutes) == (8, 10)
    code, _out, err = run("pulse_apply", path, "--guard-refusals", "0")
    assert (code, "guard_refusals: Write a whole number from 1 to" in err) == (1, True)
    assert PolicyGuard.objects.count() == 2


def test_explain_tells_it_in_lines() -> None:
    """Verdict, address, client, route, rules, headers, body."""
    with override_policies(doc(rate_tiers=[default_tier("3/m")], trusted_proxies=["10.0.0.0/8"])):
        code, out, _ = run(
            "pulse_explain", "GET /api/echo/ from 10.0.0.7", "--count", "4",
            "--header", "X-Forwarded-For: 203.0.113.9",
        )  # fmt: skip
    assert code == 0
    lines = out.splitlines()
    assert lines[0] == "429 refused (3 of 4 pass) under revision 0"
    assert lines[2] == "Address   203.0.113.9"
    assert lines[4].strip() == "10.0.0.7 is a trusted proxy and was called by 203.0.113.9."
    assert "Client    counted by ip, tier default" in lines
    assert "Route     api/echo/" in lines
    assert "      3/m token_bucket: 0 of 3 left, again in 20 s" in lines
    assert "Retry-After: 20" in lines
    given = next(line for line in lines if line.startswith("Django's"))
    assert given.startswith("Django's  own settings give X-Content-Type-Options (SECURE_CONTENT")
    assert given.endswith("and what they give stays unless a policy forces its own")


def test_explain_prints_the_answer_of_the_api() -> None:
    """Members in the order of the contract."""
    with override_policies(doc()):
        _, out, _ = run("pulse_explain", "/nope/", "--format", "json")
    assert list(json.loads(out)) == [
        "verdict", "status", "allowed", "refused", "revision", "route", "url_name", "exempt_by",
        "client", "rules", "headers", "body", "cors", "bounds", "header_policy",
        "headers_by_setting",
    ]  # fmt: skip


def test_explain_tells_every_step_of_the_edge_in_lines() -> None:
    """Access rule, CORS, bounds, header policy, and the headers that would be sent."""
    policy = doc(
        access_rules=[{"network": "203.0.113.0/24", "reason": "scrapes us"}],
        cors_origins=[{"origin": "https://app.example.com"}],
        header_policies=[{"name": "api", "path": "/api/", "preset": "api"}],
        endpoint_limits=[
            {"name": "echo", "url_name": "echo", "max_body_bytes": 1024, "timeout_s": 2}
        ],
    )
    with override_policies(policy):
        code, out, _ = run(
            "pulse_explain", "GET /api/echo/ from 203.0.113.9", "--https",
            "--header", "Origin: https://app.example.com",
        )  # fmt: skip
    assert code == 0
    lines = out.splitlines()
    assert lines[0] == "403 refused under revision 0"
    assert "CORS      https://app.example.com may read it: the rule for https://app" in out
    assert (
        "Bounds    body 1 KB (by endpoint_limits:echo), time 2 s (by endpoint_limits:echo), "
        "slow after 1000 ms (by site:slow_request_ms)"
    ) in lines
    assert "Headers   by the policy api" in lines
    refused = "✗ refused      access_rules 203.0.113.0/24 / (enforce)"
    assert f"{refused}: denies this network (scrapes us)" in lines
    assert "Access-Control-Allow-Origin: https://app.example.com" in lines
    assert "X-Content-Type-Options: nosniff" in lines
    assert any(line.startswith("Strict-Transport-Security: ") for line in lines)
    assert json.loads(lines[-1]) == {"detail": "Access denied."}


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["search"], 'Cannot read "search". Write it like "GET /api/search/ as'),
        (["GET /a from nowhere"], "nowhere is no address."),
        (["GET /a as nobody"], "There is no user nobody."),
        (["GET /a", "--count", "0"], "--count is from 1 to 10000."),
        (["GET /a", "--count", "10001"], "--count is from 1 to 10000."),
        (["GET /a", "--header", "X-Plan"], 'Cannot read the header "X-Plan".'),
        (["GET /a", "--header", ": gold"], 'Cannot read the header ": gold".'),
        (["--decision", "made-up"], "That is no decision id of this site."),
        ([], "one of the arguments REQUEST --decision is required"),
        (["GET /a", "--decision", "x"], "not allowed with argument"),
    ],
)
def test_what_cannot_be_explained_exits_1(words, told: str) -> None:
    """In words."""
    code, _, err = run("pulse_explain", *words)
    assert code == 1
    assert told in err


def test_a_decision_id_of_a_refusal_is_explained() -> None:
    """What, when, by which rule, under which revision."""
    with override_policies(doc(rate_tiers=[default_tier("1/h")])):
        Client().get("/api/echo/")
        decision = Client().get("/api/echo/").json()["decision"]
    _, out, _ = run("pulse_explain", "--decision", decision)
    assert out.startswith("GET api/echo/ was refused at ")
    assert "by rate_tiers default (1/h), revision 0." in out
    found = json.loads(run("pulse_explain", "--decision", decision, "--format", "json")[1])
    assert found["decision"]["key"] == {"name": "default"}
    assert found["route"] == "api/echo/"
    assert found["decision"]["at"].endswith("Z")


def test_from_a_shell_the_codes_are_the_same() -> None:
    """An unknown file: 1, in one line on standard error."""
    done = subprocess.run(
        [sys.executable, "manage.py", "pulse_apply", "/nowhere.yaml"],
        env={"DJANGO_SETTINGS_MODULE": "project.settings.test", "PATH": ""},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.strip().endswith("Cannot read /nowhere.yaml: No such file or directory")
    assert "Traceback" not in done.stderr


def test_the_document_of_a_moment_is_written() -> None:
    publisher.finish_leftovers()
    made = PolicyRevision.objects.latest("number")
    code, out, _ = run("pulse_export", "--format", "json", "--at", made.created_at.isoformat())
    assert code == 0
    assert json.loads(out) == made.document
    assert run("pulse_export", "--at", "2001-01-01")[0] != 0
    code, _, err = run("pulse_export", "--at", "2001-01-01T00:00Z")
    assert (code, err) == (1, "There was no policy then.")


def test_the_audit_is_written_to_a_file_and_that_is_an_entry(tmp_path: Path) -> None:
    apply(doc(exemptions=["/a/"]), KIM)
    path = tmp_path / "audit.csv"
    code, out, _ = run("pulse_export", "--audit", "--format", "csv", "--output", str(path))
    assert (code, out) == (0, "")
    rows = list(csv.DictReader(io.StringIO(path.read_text("utf-8-sig"), newline="")))
    assert {"policy.create", "policy.apply", "audit.export"} <= {row["action"] for row in rows}
    assert rows[0]["action"] == "audit.export"
    code, out, _ = run("pulse_export", "--audit", "--format", "json")
    assert len(json.loads(out)) == len(rows) + 1
    assert run("pulse_export", "--audit")[0] == 1
    assert run("pulse_export", "--format", "csv")[0] == 1
