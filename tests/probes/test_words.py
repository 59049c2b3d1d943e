"""What is probed, when and how, word for word."""

import pytest

from pulse.policies.words import describe

TARGET = {
    "name": "products",
    "url_name": "products",
    "path_params": {},
    "method": "GET",
    "allow_unsafe": False,
    "transport": "http",
    "expect": {},
    "mode": "enforce",
}
SCHEDULE = {
    "name": "core",
    "targets": ["a", "b"],
    "every": "60s",
    "time_zone": "UTC",
    "expect": {},
    "retries": 0,
    "failure_threshold": 1,
    "success_threshold": 1,
    "mode": "enforce",
}
PAYLOAD = {
    "target": "POST /api/orders/",
    "path_params": {},
    "query": {},
    "headers": {},
    "mode": "enforce",
}
WINDOW = {
    "name": "night",
    "time_zone": "UTC",
    "targets": [],
    "groups": [],
    "rules": [],
    "mode": "enforce",
}


@pytest.mark.parametrize(
    ("kind", "item", "sentence"),
    [
        (
            "probe_targets",
            TARGET,
            "GET to products. It expects what its schedule does, or status 200-399.",
        ),
        (
            "probe_targets",
            {
                **TARGET,
                "url_name": "",
                "url": "https://status.example.com/",
                "method": "POST",
                "allow_unsafe": True,
                "public_name": "Status",
                "mode": "shadow",
                "expect": {
                    "status": [200, "3xx"],
                    "max_latency_ms": 500,
                    "contains": "ok",
                    "headers": {"Content-Type": "json", "ETag": ""},
                    "json": {"items.0.id": 1},
                    "certificate_days": 14,
                    "schema": True,
                },
            },
            (
                "POST to https://status.example.com/. It expects status 200 and 3xx, an answer "
                "within 500 ms, “json” in Content-Type, a header ETag, “ok” in the body, "
                "items.0.id to be 1, a certificate for 14 days more and a body as its schema "
                "says. It may change things. The status page calls it Status. In shadow: it runs "
                "and is recorded, and nobody is told."
            ),
        ),
        (
            "probe_targets",
            {**TARGET, "path_params": {"pk": 1, "s": "x"}, "transport": "in_process"},
            (
                "GET to products with pk=1 and s=x. It expects what its schedule does, or status "
                "200-399. It runs in a process beside the worker, without a network."
            ),
        ),
        (
            "probe_targets",
            {**TARGET, "url_name": "", "mode": "off", "expect": {"schema": False}},
            (
                "GET to nowhere. It expects what its schedule does, or status 200-399. Off: it "
                "does not run."
            ),
        ),
        ("probe_schedules", SCHEDULE, "Every 1 min: a and b."),
        (
            "probe_schedules",
            {
                **SCHEDULE,
                "every": "",
                "cron": "0 7 * * MON-FRI",
                "time_zone": "Europe/Berlin",
                "targets": [f"t{number}" for number in range(100)],
                "expect": {"status": [200]},
                "retries": 2,
                "failure_threshold": 3,
                "success_threshold": 2,
                "mode": "off",
            },
            (
                "At 0 7 * * MON-FRI in Europe/Berlin: t0, t1, t2, t3, t4 and 95 more. It expects "
                "status 200. What fails is tried up to 2 times more. Down after 3 failures in a "
                "row. Up after 2 successes in a row. Off: it does not run."
            ),
        ),
        (
            "probe_schedules",
            {**SCHEDULE, "targets": ["a"], "retries": 1},
            "Every 1 min: a. What fails is tried once more.",
        ),
        (
            "probe_payloads",
            {**PAYLOAD, "body": {"lines": []}, "query": {"q": 1}, "headers": {"A": "1", "B": "2"}},
            "POST /api/orders/ is sent a body of 12 bytes, 1 query parameter and 2 headers.",
        ),
        (
            "probe_payloads",
            {**PAYLOAD, "mode": "off"},
            "POST /api/orders/ is sent nothing. Off: it does nothing.",
        ),
        (
            "probe_budgets",
            {
                "max_concurrency": 200,
                "max_per_host": 2,
                "max_jobs": 3,
                "job_timeout_s": 600.0,
                "mode": "enforce",
            },
            (
                "At most 200 probes at once over all workers, and 2 of one host. At most 3 jobs "
                "that were started by hand, each for 10 min at most."
            ),
        ),
        (
            "maintenance_windows",
            {
                **WINDOW,
                "starts_at": "2027-01-01T00:00:00Z",
                "ends_at": "2027-01-01T02:00:00Z",
            },
            ("Maintenance of everything. From 2027-01-01 00:00 UTC until 2027-01-01 02:00 UTC."),
        ),
        (
            "maintenance_windows",
            {
                **WINDOW,
                "cron": "0 3 * * SUN",
                "duration_s": 5400,
                "targets": ["a", "b"],
                "groups": ["Shop"],
                "mode": "off",
            },
            (
                "At 0 3 * * SUN in UTC, for 1.5 h each: maintenance of the targets a and b and "
                "the groups Shop. Off: it does nothing."
            ),
        ),
    ],
)
def test_sentences(kind, item, sentence):
    assert describe(kind, item) == sentence
