"""What a rule does, word for word."""

import pytest

from pulse.core.quotas import make_quota, parse_rate
from pulse.exceptions import InvalidQuota
from pulse.policies.words import describe, rate_texts, say_duration, say_quota

ENFORCED = {"mode": "enforce", "percent": 100}
LIMIT = {"rate": "5/m", "burst": 5, "algorithm": "token_bucket"}
ENDPOINT = {
    **ENFORCED,
    "url_name": "login",
    "methods": ["POST"],
    "key": "ip",
    "limits": [LIMIT],
    "cost": 1,
    "replaces_tier": False,
    "on_store_error": "local",
}
HEADERS = {
    **ENFORCED,
    "name": "site",
    "path": "/",
    "preset": "html",
    "headers": {},
    "force": False,
    "csp_report_only": False,
}
TIER = {
    **ENFORCED,
    "default": True,
    "limits": [{"rate": "10/s", "burst": 20, "algorithm": "token_bucket"}],
}


@pytest.mark.parametrize(
    ("kind", "item", "sentence"),
    [
        (
            "header_policies",
            HEADERS,
            "Answers under / carry the headers of the preset html.",
        ),
        (
            "header_policies",
            {
                **HEADERS,
                "path": "/api/",
                "headers": {"X-A": "1", "X-B": "2", "Server": None},
                "force": True,
                "csp_report_only": True,
                "hsts_stage": "1d",
                "percent": 10,
            },
            (
                "Answers under /api/ carry the headers of the preset html, X-A and X-B. "
                "Removed: Server. What views have set is replaced. What the "
                "Content-Security-Policy would block is reported, and not blocked. "
                "Browsers are held to HTTPS for a day only. For 10 % of clients."
            ),
        ),
        (
            "header_policies",
            {**HEADERS, "preset": "", "mode": "shadow"},
            "Answers under / carry no header of a policy. In shadow: it does nothing.",
        ),
        (
            "endpoint_limits",
            ENDPOINT,
            (
                "POST to login: each address may do 5 a minute, up to 5 at once. "
                "Enforced for everybody."
            ),
        ),
        (
            "endpoint_limits",
            {**ENDPOINT, "methods": ["GET", "POST"], "on_store_error": "closed"},
            (
                "GET, HEAD and POST to login: each address may do 5 a minute, up to 5 at once. "
                "Enforced for everybody. Without Redis everything is refused."
            ),
        ),
        (
            "endpoint_limits",
            {
                **ENDPOINT,
                "url_name": "",
                "path": "/",
                "methods": [],
                "key": "global",
                "mode": "shadow",
            },
            (
                "Every request to the site: all clients together may do 5 a "
                "minute, up to 5 at once. "
                "In shadow: it counts and reports, and refuses nobody."
            ),
        ),
        (
            "endpoint_limits",
            {**ENDPOINT, "key": ["user", "header:X-Tenant"], "cost": 5, "percent": 25},
            (
                "POST to login: each combination of user and value of X-Tenant "
                "may do 5 a minute, up to 5 at once. "
                "One request counts as 5. Enforced for 25 % of clients, in shadow for the rest."
            ),
        ),
        (
            "endpoint_limits",
            {**ENDPOINT, "limits": [], "tier": "paid", "replaces_tier": True, "key": "client"},
            (
                "POST to login: each client may do what the tier paid allows, counted apart. "
                "It is not charged to the client's tier. Enforced for everybody."
            ),
        ),
        (
            "endpoint_limits",
            {**ENDPOINT, "limits": [], "replaces_tier": True, "mode": "off"},
            (
                "POST to login: no limit of its own. It is not charged to the "
                "client's tier. Off: it does nothing."
            ),
        ),
        (
            "rate_tiers",
            TIER,
            (
                "Each client that no assignment gives another tier may do 10 a "
                "second, up to 20 at once. Enforced for everybody."
            ),
        ),
        (
            "rate_tiers",
            {
                **TIER,
                "default": False,
                "starts_at": "2027-01-01T00:00:00Z",
                "ends_at": "2027-02-01T00:00:00Z",
                "limits": [
                    *TIER["limits"],
                    {"rate": "1000/h", "burst": 1000, "algorithm": "fixed_window"},
                ],
            },
            (
                "Each client that is given this tier may do 10 a second, up to "
                "20 at once; and 1000 an hour, in a window "
                "that opens with the first request. Enforced for everybody. From "
                "2027-01-01 00:00 UTC until 2027-02-01 00:00 UTC."
            ),
        ),
        (
            "tier_assignments",
            {**ENFORCED, "group": "paying", "tier": "paid", "mode": "shadow"},
            (
                "Users of the group paying have the tier paid. "
                "In shadow: they keep the tier that they have, and this one counts beside it."
            ),
        ),
        (
            "exemptions",
            {**ENFORCED, "path": "/healthz"},
            "No limit touches /healthz and what lies under it.",
        ),
        (
            "exemptions",
            {**ENFORCED, "network": "10.0.0.0/8", "mode": "shadow"},
            "No limit touches requests from 10.0.0.0/8. In shadow: it does nothing.",
        ),
        (
            "trusted_proxies",
            {**ENFORCED, "network": "10.0.0.0/8"},
            "What 10.0.0.0/8 says in X-Forwarded-For is believed.",
        ),
        (
            "access_rules",
            {
                **ENFORCED,
                "network": "203.0.113.0/24",
                "path": "/",
                "action": "deny",
                "reason": "scrapes us.",
                "ends_at": "2027-01-01T00:00:00Z",
            },
            (
                "Clients from 203.0.113.0/24 are refused everywhere. Why: scrapes us. "
                "Enforced for everybody. Until 2027-01-01 00:00 UTC."
            ),
        ),
        (
            "access_rules",
            {
                **ENFORCED,
                "network": "10.0.0.0/8",
                "path": "/admin/",
                "action": "allow",
                "mode": "shadow",
            },
            (
                "Clients from 10.0.0.0/8 may come in under /admin/, whatever is said of wider "
                "networks. In shadow: it counts and reports, and refuses nobody."
            ),
        ),
        (
            "access_rules",
            {**ENFORCED, "network": "::/0", "path": "/admin/", "action": "deny"},
            ("Every client with an IPv6 address is refused under /admin/. Enforced for everybody."),
        ),
        ("nothing", {}, ""),
    ],
)
def test_an_item_in_words(kind, item, sentence):
    assert describe(kind, item) == sentence


@pytest.mark.parametrize(
    ("rate", "burst", "algorithm", "sentence"),
    [
        (
            "10/s",
            20,
            "token_bucket",
            (
                "10 a second, up to 20 at once; a client that has used them all "
                "waits 0.1 s for the next"
            ),
        ),
        (
            "5/10m",
            None,
            "token_bucket",
            (
                "5 every 10 minutes, up to 5 at once; a client that has used them "
                "all waits 2 min for the next"
            ),
        ),
        (
            "1000/h",
            None,
            "fixed_window",
            (
                "1000 an hour, in a window that opens with the first request; a "
                "client that has used them all waits for "
                "its end, 1 h at most"
            ),
        ),
    ],
)
def test_a_limit_in_words(rate, burst, algorithm, sentence):
    assert say_quota(make_quota(rate, burst, algorithm), wait=True) == sentence


@pytest.mark.parametrize(
    ("us", "text"),
    [
        (1, "less than 1 ms"),
        (1000, "0.001 s"),
        (12_000_000, "12 s"),
        (90_000_000, "1.5 min"),
        (86_400_000_000, "24 h"),
        (366 * 86_400_000_000, "366 days"),
    ],
)
def test_a_time_in_words(us, text):
    assert say_duration(us) == text


@pytest.mark.parametrize(
    ("rate", "name"),
    [
        ("many", "no_rate"),
        ("0/s", "no_count"),
        ("1/0s", "no_period"),
        ("1/400d", "long_period"),
        ("2000000/s", "fast"),
    ],
)
def test_the_script_says_what_the_server_says(rate, name):
    with pytest.raises(InvalidQuota) as error:
        parse_rate(rate)
    assert str(error.value) == f'"{rate}" {rate_texts()[name]}'


CORS = {
    "mode": "enforce",
    "percent": 100,
    "origin": "https://app.example.com",
    "path": "/",
    "methods": ["GET", "POST"],
    "credentials": False,
    "csrf_trusted": False,
}


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        (
            {},
            (
                "Scripts of https://app.example.com may ask here by GET and POST, "
                "and read the answers."
            ),
        ),
        (
            {"origin": "https://*.example.com:8443", "path": "/api/", "credentials": True},
            (
                "Scripts of every host under https://example.com:8443 may ask under /api/ by "
                "GET and POST, and read the answers. They act with the visitor's cookies."
            ),
        ),
        (
            {"origin": "*", "methods": ["GET"], "mode": "shadow"},
            (
                "Scripts of any page may ask here by GET, and read the answers. In shadow: it "
                "allows nothing, and counts whom it would."
            ),
        ),
        (
            {"csrf_trusted": True, "mode": "off"},
            (
                "Scripts of https://app.example.com may ask here by GET and POST, and read the "
                "answers. Forms from there may post with a valid token. Off: it does nothing."
            ),
        ),
    ],
)
def test_a_cors_rule_in_words(fields, sentence):
    assert describe("cors_origins", {**CORS, **fields}) == sentence
