"""One attempt to send a word: whatever becomes of it is told, never raised."""

import asyncio
import logging
import os
import smtplib
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from typing import Any, Final

from django.core.mail import EmailMessage, get_connection
from django.utils.module_loading import import_string
from django.utils.translation import gettext as _

from pulse.alerts import messages
from pulse.alerts.deliveries import Claimed, Sent
from pulse.alerts.models import ChannelType
from pulse.core.attempts import Answer, Call, Failure
from pulse.core.document import Item
from pulse.core.urls import is_plain
from pulse.core.webhooks import read_secret, sign
from pulse.exceptions import InvalidSecret, SecretUnreadable
from pulse.probes import secrets
from pulse.probes.client.calls import send as call

logger = logging.getLogger(__name__)

#: Of one attempt, for everything together; of mail, for each answer of its server.
TIMEOUT_S: Final = 15.0
#: Of one mail, once its server is connected to. Lists of fifty addresses take as many answers.
MAIL_S: Final = 45.0
#: Answers after which another attempt makes sense, beside those of 500 and more.
AGAIN: Final = frozenset({408, 409, 425, 429})
#: Failures that no later attempt mends: somebody must edit the channel.
FINAL: Final = frozenset(
    {Failure.URL_FORBIDDEN, Failure.ADDRESS_FORBIDDEN, Failure.REDIRECT_FORBIDDEN}
)
#: The longest that a receiver may have waited for, in digits of seconds.
MAX_DIGITS: Final = 6


def send(claimed: Claimed) -> Sent:
    """Send a word to its channel once, within ``TIMEOUT_S``."""
    channel = claimed.channel
    if channel is None:
        text = _("The policy has no channel of this name any more, or it is off.")
        return Sent(error=text, again=False)
    try:
        if channel["type"] == ChannelType.EMAIL:
            return _mail(claimed, channel)
        return _post(claimed, channel)
    except (InvalidSecret, SecretUnreadable) as error:
        return Sent(error=_("The secret cannot be used: %s") % error, again=False)
    except Exception as error:
        logger.exception("A word to the channel %s failed in pulse itself", claimed.name)
        return Sent(error=f"pulse itself failed: {type(error).__name__}.")


def _mail(claimed: Claimed, channel: Item) -> Sent:
    told = messages.of_email(claimed.body)
    headers = {"Message-ID": f"<{claimed.webhook_id}@pulse.invalid>"}
    is_ours = _takes_timeout()
    connection = get_connection(timeout=TIMEOUT_S) if is_ours else get_connection()
    message = EmailMessage(
        told.subject, told.text, to=list(channel["to"]), headers=headers, connection=connection
    )
    try:
        with _cut_off(connection, MAIL_S) if is_ours else nullcontext():
            message.send()
    except smtplib.SMTPRecipientsRefused:
        return Sent(error=_("The server refuses every address."), again=False)
    except (smtplib.SMTPException, OSError) as error:
        # Its own words may hold addresses and what the server was told.
        code = getattr(error, "smtp_code", None)
        said = f"{type(error).__name__} {code}" if code else type(error).__name__
        return Sent(error=_("The mail was not taken: %s.") % said)
    return Sent()


@contextmanager
def _cut_off(connection: Any, after_s: float) -> Iterator[None]:
    """End a conversation with a mail server that takes too long, which no single answer may do.

    Args:
        connection: Django's, for SMTP.
        after_s: Seconds from now.
    """
    is_over = threading.Event()

    def watch() -> None:
        wait_s = after_s
        while not is_over.wait(wait_s):
            wait_s = 1.0  # There is no socket before it has connected.
            sock = getattr(connection.connection, "sock", None)
            if sock is not None:
                with suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)

    watcher = threading.Thread(target=watch, name="pulse-mail-watch", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        is_over.set()
        watcher.join()


def _takes_timeout() -> bool:
    """Whether the host's backend is Django's for SMTP, or one made of it."""
    from django.conf import settings
    from django.core.mail.backends.smtp import EmailBackend

    return issubclass(import_string(settings.EMAIL_BACKEND), EmailBackend)


def _post(claimed: Claimed, channel: Item) -> Sent:
    headers: Mapping[str, str] = {"Content-Type": "application/json"}
    if channel["type"] == ChannelType.WEBHOOK:
        body = messages.of_webhook(claimed.body)
        key = read_secret(_secret(channel, claimed.kept))
        headers = {**headers, **sign(key, claimed.webhook_id, int(time.time()), body)}
    else:
        body = messages.of_slack(claimed.body)
    url = _url(channel)
    order = Call(
        "POST",
        url,
        headers=headers,
        body=body,
        timeout_s=TIMEOUT_S,
        allow_networks=tuple(channel["allow_networks"]),
        public=not is_plain(url),
    )
    return _judged(asyncio.run(call(order)))


def _judged(answer: Answer) -> Sent:
    status = answer.status_code
    if answer.failure is not None:
        return Sent(status, answer.detail, again=answer.failure not in FINAL)
    if status is not None and 200 <= status < 300:
        return Sent(status)
    again = status is None or status >= 500 or status in AGAIN
    error = _("The receiver answered %s.") % status
    return Sent(status, error, again, _retry_after(answer))


def _retry_after(answer: Answer) -> float | None:
    text = answer.headers.get("retry-after", "")
    is_number = text.isascii() and text.isdecimal() and len(text) <= MAX_DIGITS
    return float(text) if is_number else None


def _url(channel: Item) -> str:
    """Return where word is sent.

    Raises:
        SecretUnreadable: It may not be read.
    """
    written = str(channel["url"])
    return _of_environment(written) if written.startswith(secrets.REFERENCE) else written


def _secret(channel: Item, kept: str) -> str:
    """Return what a webhook is signed with.

    Raises:
        SecretUnreadable: It is stored nowhere, or may not be read.
    """
    written = str(channel.get("secret", ""))
    if not written.startswith(secrets.REFERENCE):
        if not kept:
            raise SecretUnreadable(_("No secret is stored for this channel."))
        return secrets.decrypt(kept)
    return _of_environment(written)


def _of_environment(written: str) -> str:
    """Return what a variable holds.

    Raises:
        SecretUnreadable: It may not be read, or there is none.
    """
    variable = written.removeprefix(secrets.REFERENCE)
    if not secrets.is_open(variable):
        raise SecretUnreadable(secrets.closed(variable))
    if variable not in os.environ:
        raise SecretUnreadable(f"The environment has no {variable}.")
    return os.environ[variable]
