"""A script with curl and a key builds a whole policy, tries, applies, reads and rolls it back."""

import json
import subprocess
from pathlib import Path

import pytest

from tests.sites import Site, running

SCRIPT = Path(__file__).with_name("policy_by_curl.sh")
DOCUMENT = {
    "version": 1,
    "rate_tiers": [
        {"name": "default", "default": True, "limits": [{"rate": "50/s", "burst": 100}]},
        {"name": "paid", "limits": [{"rate": "100/s", "burst": 200}]},
    ],
    "tier_assignments": [{"network": "198.51.100.0/24", "tier": "paid", "priority": 1}],
    "endpoint_limits": [
        {"name": "login", "url_name": "login", "methods": ["POST"], "key": "ip", "limits": ["9/m"]}
    ],
    "exemptions": ["/healthz", "/readyz"],
    "trusted_proxies": ["127.0.0.0/8"],
    "cors_origins": [{"origin": "https://app.example.com", "path": "/api/", "credentials": True}],
    "header_policies": [{"name": "api", "path": "/api/", "preset": "api"}],
    "access_rules": [{"network": "203.0.113.0/24", "path": "/api/", "reason": "abuse"}],
    "probe_targets": [{"name": "search", "path": "/api/search/"}],
    "probe_schedules": [{"name": "core", "every": "60s", "targets": ["search"]}],
    "probe_payloads": [{"target": "search", "query": {"q": "x"}}],
    "maintenance_windows": [{"name": "night", "cron": "0 3 * * SUN", "duration_s": 600}],
}


@pytest.fixture
def site(redis_server, tmp_path):
    with redis_server.client() as client:
        client.flushdb()
    yield from running(Site(tmp_path, redis_server.url, processes=1))


def test_a_policy_by_curl_from_end_to_end(site: Site, tmp_path: Path) -> None:
    key = site.python(
        "from pulse.access import keys\n"
        "from pulse.policies.publisher import SYSTEM\n"
        "print(keys.make('ci', actor=SYSTEM, scopes=['administer']).text)"
    ).split()[-1]
    document = tmp_path / "policy.json"
    document.write_text(json.dumps(DOCUMENT))
    address = f"http://127.0.0.1:{site.port}/pulse/api/v1"
    done = subprocess.run(
        [SCRIPT, address, key, document, tmp_path],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr

    def read(name: str):
        return json.loads((tmp_path / name).read_text())

    tried, applied = read("tried.json"), read("applied.json")
    assert (tried["dry_run"], applied["dry_run"]) == (True, False)
    assert tried["changed"] and tried["changes"] == applied["changes"]
    assert {change["action"] for change in applied["changes"]} == {"create", "update", "delete"}
    assert all(change["effect"] for change in applied["changes"])
    after = read("after.json")
    for kind, items in DOCUMENT.items():
        if isinstance(items, list):
            assert len(after[kind]) == len(items), kind
            assert after[kind][0].items() >= plain(items[0]).items(), kind
    assert (read("again.json")["changed"], read("again.json")["changes"]) == (False, [])
    assert read("made-again.json") == read("made.json")
    assert read("changed.json")["version"] == 2
    assert [change["kind"] for change in read("diff.json")["changes"]]
    assert read("rolled.json")["changed"]
    assert read("rolled-back.json") == read("before.json")


def plain(item):
    """An item as it is read back: limits and short forms written out."""
    if isinstance(item, str):
        return {"path" if item.startswith("/") else "network": item}
    return {name: value for name, value in item.items() if name != "limits"}
