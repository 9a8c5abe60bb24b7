"""How warnings leave the lake: by e-mail and by webhook, as the settings say; neither, when they say nothing.

What an error says is kept in the registry, so it never holds an address with a password or a token in it.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import smtplib
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from email.message import EmailMessage
from email.utils import formatdate, parseaddr
from typing import Protocol
from urllib.parse import SplitResult, unquote, urlsplit

import httpx

from infra import secrets
from infra.settings import Settings
from stewardship.alerts import messages, people
from stewardship.alerts.messages import Notice

TIMEOUT_SECONDS = 10.0
SMTP_PASSWORD = "smtp-password"  # noqa: S105 - the name of a secret
WEBHOOK_KEY = "webhook-key"
SIGNATURE_HEADER = "X-Calanque-Signature"

_log = logging.getLogger(__name__)


DIGEST_FROM = 6
"""So many messages at once to the same people become one."""


class ChannelError(RuntimeError):
    """A channel could not take a message; it is tried again later. The message says why, without a secret."""


class RefusedError(ChannelError):
    """A channel refused this message for what it is or whom it is for; it may take others."""


class Channel(Protocol):
    """One way out."""

    name: str

    def messages(self, waiting: list[Notice]) -> list[list[Notice]]:
        """What waits, in order, as the messages that are to be sent."""

    def send(self, notices: list[Notice]) -> None:
        """Send one of these messages.

        Raises:
            ChannelError: it was not taken.
        """


@contextmanager
def configured(settings: Settings) -> Iterator[list[Channel]]:
    """The channels of this lake, open while needed."""
    found: list[Channel] = []
    mail = Mail(settings) if settings.smtp_url and settings.alert_to else None
    if mail is not None:
        found.append(mail)
    if settings.webhook_url:
        found.append(Webhook(settings, settings.webhook_url))
    try:
        yield found
    finally:
        if mail is not None:
            mail.close()


class Mail:
    """E-mail by SMTP to the owners of what is warned of. One connection serves many messages."""

    name = "email"

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._people = people.load(settings)
        self._server: smtplib.SMTP | None = None

    def messages(self, waiting: list[Notice]) -> list[list[Notice]]:
        to: dict[tuple[str, ...], list[Notice]] = {}
        for notice in waiting:
            to.setdefault(self._people.of(notice[1].owner), []).append(notice)
        return [
            message
            for notices in to.values()
            for message in ([notices] if len(notices) >= DIGEST_FROM else [[notice] for notice in notices])
        ]

    def send(self, notices: list[Notice]) -> None:
        """Send one message to their owner; to everybody, when the server knows none of the owner's addresses."""
        addresses = self._people.of(notices[0][1].owner)
        try:
            if self._server is None:
                self._server = _connect(self._settings)
            try:
                self._server.send_message(self._message(notices, addresses))
            except smtplib.SMTPRecipientsRefused:
                if addresses == self._people.everybody:
                    raise
                _log.warning("the mail server refuses the addresses of %s", notices[0][1].owner)
                self._server.send_message(self._message(notices, self._people.everybody))
        except smtplib.SMTPRecipientsRefused:
            raise RefusedError("the mail server refuses every recipient of CALANQUE_ALERT_TO") from None
        except (OSError, smtplib.SMTPException, ssl.SSLError, ValueError, secrets.SecretMissing) as error:
            self.close()
            raise ChannelError(_said(error)) from None

    def close(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            try:
                server.quit()
            except (OSError, smtplib.SMTPException):
                server.close()

    def _message(self, notices: list[Notice], addresses: tuple[str, ...]) -> EmailMessage:
        message = EmailMessage()
        lake = self._settings.city
        message["Subject"] = messages.subject(lake, notices)
        message["From"] = self._settings.alert_from
        message["To"] = ", ".join(addresses)
        message["Date"] = formatdate(localtime=False)
        message["Auto-Submitted"] = "auto-generated"
        domain = parseaddr(self._settings.alert_from)[1].rpartition("@")[2] or "localhost"
        if len(notices) == 1:
            phase, episode = notices[0]
            thread = f"{episode.alert_id}.{episode.first_seen:%Y%m%d%H%M%S}"
            message["Message-ID"] = f"<{thread}.{phase}@{domain}>"
            if phase == "resolved":  # mail programs show it under the message it answers
                message["In-Reply-To"] = f"<{thread}.begun@{domain}>"
        message.set_content(messages.text(notices))
        return message


class Webhook:
    """A JSON document by HTTP POST, one per alert; signed when the secret :data:`WEBHOOK_KEY` exists.

    The signature is ``sha256=`` and the HMAC-SHA256 of the body in hexadecimal.
    """

    name = "webhook"

    def __init__(self, settings: Settings, url: str) -> None:
        self._settings = settings
        self._url = url

    def messages(self, waiting: list[Notice]) -> list[list[Notice]]:
        return [[notice] for notice in waiting]

    def send(self, notices: list[Notice]) -> None:
        for notice in notices:
            phase, episode = notice
            body = json.dumps(messages.document(self._settings.city, notice), ensure_ascii=False).encode()
            headers = {"Content-Type": "application/json", "Idempotency-Key": f"{episode.alert_id}-{phase}"}
            if secrets.path(self._settings, WEBHOOK_KEY).exists():
                key = secrets.read(self._settings, WEBHOOK_KEY).encode()
                headers[SIGNATURE_HEADER] = "sha256=" + hmac.new(key, body, hashlib.sha256).hexdigest()
            try:
                answer = httpx.post(self._url, content=body, headers=headers, timeout=TIMEOUT_SECONDS)
            except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
                raise ChannelError(f"the webhook does not answer: {type(error).__name__}") from None
            if not answer.is_success:
                raise ChannelError(f"the webhook answered {answer.status_code}")


def _connect(settings: Settings) -> smtplib.SMTP:
    at = urlsplit(settings.smtp_url or "")
    if at.scheme not in ("smtp", "smtps") or not at.hostname:
        raise ValueError("CALANQUE_SMTP_URL must be smtp://host:port or smtps://host:port, with a login if need be")
    if at.scheme == "smtps":
        server: smtplib.SMTP = smtplib.SMTP_SSL(
            at.hostname, at.port or 465, timeout=TIMEOUT_SECONDS, context=ssl.create_default_context()
        )
    else:
        server = smtplib.SMTP(at.hostname, at.port or (587 if at.username else 25), timeout=TIMEOUT_SECONDS)
    try:
        _secure(server, at, settings)
    except BaseException:
        server.close()
        raise
    return server


def _secure(server: smtplib.SMTP, at: SplitResult, settings: Settings) -> None:
    """TLS when the server offers it, and always before a password is sent."""
    server.ehlo()
    if at.scheme == "smtp" and server.has_extn("starttls"):
        server.starttls(context=ssl.create_default_context())
        server.ehlo()
    elif at.scheme == "smtp" and at.username:
        raise ValueError("the mail server offers no STARTTLS: no password is sent in the clear")
    if at.username:
        password = unquote(at.password) if at.password else secrets.read(settings, SMTP_PASSWORD)
        server.login(unquote(at.username), password)


def _said(error: Exception) -> str:
    if isinstance(error, smtplib.SMTPResponseException):  # the server's words may quote what it was told
        return f"the mail server answered {error.smtp_code} ({type(error).__name__})"
    if isinstance(error, ValueError | secrets.SecretMissing):
        return str(error)
    return f"the mail server does not answer: {type(error).__name__}"
