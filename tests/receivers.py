"""A real mail server and a real webhook on this machine, for tests of what reaches people."""

from __future__ import annotations

import hashlib
import hmac
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from email import message_from_bytes, policy
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, cast

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session


class Mailbox:
    """The messages that arrived; ``arrived`` is set by each. ``unknown`` are addresses that it refuses."""

    def __init__(self) -> None:
        self.messages: list[EmailMessage] = []
        self.url = ""
        self.answer = "250 OK"
        self.unknown: set[str] = set()
        self.arrived = threading.Event()

    async def handle_RCPT(  # noqa: N802
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, _options: list[str]
    ) -> str:
        if address in self.unknown:
            return "550 no such person here"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802
        if self.answer.startswith("250"):
            message = message_from_bytes(cast("bytes", envelope.content), policy=policy.default)
            self.messages.append(cast("EmailMessage", message))
            self.arrived.set()
        return self.answer

    def bodies(self) -> list[str]:
        return [message.get_content().replace("\r\n", "\n") for message in self.messages]


class _Controller(Controller):
    def _trigger_server(self) -> None:
        self.port = self.server.sockets[0].getsockname()[1]  # the one that was free
        super()._trigger_server()


@contextmanager
def mail_server(**options: Any) -> Iterator[Mailbox]:
    """An SMTP server on a free loopback port; ``options`` are those of aiosmtpd's SMTP."""
    box = Mailbox()
    controller = _Controller(box, hostname="127.0.0.1", port=0, **options)
    controller.start()
    try:
        box.url = f"smtp://127.0.0.1:{controller.port}"
        yield box
    finally:
        controller.stop()


class Hook:
    """The documents that were posted, and the headers they came with; ``status`` is what it answers."""

    def __init__(self) -> None:
        self.posts: list[tuple[dict[str, str], bytes]] = []
        self.status = 204
        self.url = ""

    def documents(self) -> list[dict[str, Any]]:
        return [json.loads(body) for _, body in self.posts]

    def signed_with(self, key: str) -> bool:
        return bool(self.posts) and all(
            headers.get("X-Calanque-Signature") == "sha256=" + hmac.new(key.encode(), body, hashlib.sha256).hexdigest()
            for headers, body in self.posts
        )


@contextmanager
def webhook() -> Iterator[Hook]:
    """An HTTP server on a free loopback port that takes POST."""
    hook = Hook()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            hook.posts.append((dict(self.headers), body))
            self.send_response(hook.status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        hook.url = f"http://127.0.0.1:{server.server_address[1]}/hook"
        yield hook
    finally:
        server.shutdown()
        server.server_close()
