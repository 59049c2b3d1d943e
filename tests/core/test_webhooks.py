"""Signatures, checked by somebody else's library."""

import base64
import time

import pytest
import standardwebhooks

from pulse.core.webhooks import make_secret, read_secret, sign
from pulse.exceptions import InvalidSecret

BODY = '{"type":"alert.firing","data":{"title":"größer"}}'.encode()


def test_a_third_party_library_takes_what_was_signed() -> None:
    secret = make_secret()
    headers = sign(read_secret(secret), "msg_1", int(time.time()), BODY)
    told = standardwebhooks.Webhook(secret).verify(BODY, dict(headers))
    assert told["data"]["title"] == "größer"


@pytest.mark.parametrize("part", ["webhook-id", "webhook-timestamp", "body"])
def test_what_was_changed_on_the_way_is_not(part: str) -> None:
    secret = make_secret()
    headers = dict(sign(read_secret(secret), "msg_1", int(time.time()), BODY))
    body = BODY
    if part == "body":
        body = BODY.replace(b"firing", b"resolved")
    elif part == "webhook-id":
        headers[part] = "msg_2"
    else:
        headers[part] = str(int(headers[part]) + 1)
    with pytest.raises(standardwebhooks.WebhookVerificationError):
        standardwebhooks.Webhook(secret).verify(body, headers)


def test_secrets_are_never_the_same() -> None:
    assert len({make_secret() for _ in range(100)}) == 100
    assert len(read_secret(make_secret())) == 32


@pytest.mark.parametrize(
    "text",
    [
        "",
        "whsec_",
        "whsec_short",
        "whsec_!!!!",
        "whsec_é",
        base64.b64encode(b"a" * 32).decode(),
        "whsec_" + base64.b64encode(b"a" * 23).decode(),
        "whsec_" + base64.b64encode(b"a" * 65).decode(),
    ],
)
def test_what_is_no_secret_is_refused(text: str) -> None:
    with pytest.raises(InvalidSecret):
        read_secret(text)
