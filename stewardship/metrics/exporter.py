"""The service that Prometheus scrapes: one page of figures, for whoever brings the token, on the loopback interface."""

from __future__ import annotations

import hmac
import threading
import time
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector

from infra import secrets
from infra.settings import Settings
from stewardship.metrics.figures import collect

TOKEN: Final = "metrics-token"  # noqa: S105 - the name of the secret
PATH: Final = "/metrics"
HEALTH: Final = "/health"
HOST: Final = "127.0.0.1"

_KEPT_SECONDS = 10


class Page:
    """The page as of ``kept`` seconds ago at most, so that however many ask, the lake is looked at that often only."""

    def __init__(self, look: Callable[[], list[Metric]], kept: float = _KEPT_SECONDS) -> None:
        self._look, self._kept = look, kept
        self._lock = threading.Lock()
        self._made_at = float("-inf")
        self._page = b""

    def read(self) -> bytes:
        with self._lock:
            if time.monotonic() - self._made_at >= self._kept:
                registry = CollectorRegistry()
                registry.register(_Once(self._look()))
                self._page = generate_latest(registry)
                self._made_at = time.monotonic()
            return self._page


class _Once(Collector):
    def __init__(self, metrics: list[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> list[Metric]:
        return self._metrics


def serve(settings: Settings, port: int, host: str = HOST) -> None:
    """Answer on ``port`` until the process is stopped."""
    server(settings, port, host).serve_forever()


def server(settings: Settings, port: int, host: str = HOST) -> ThreadingHTTPServer:
    """The server, listening; 0 takes any free port."""
    token = secrets.read(settings, TOKEN)
    page = Page(lambda: collect(settings))

    class Handler(BaseHTTPRequestHandler):
        server_version = "calanque"
        sys_version = ""

        def do_GET(self) -> None:
            given = self.headers.get("Authorization", "")
            if not hmac.compare_digest(given.encode(), f"Bearer {token}".encode()):
                self._answer(HTTPStatus.UNAUTHORIZED)
            elif self.path == PATH:
                self._answer(HTTPStatus.OK, page.read())
            elif self.path == HEALTH:
                self._answer(HTTPStatus.NO_CONTENT)
            else:
                self._answer(HTTPStatus.NOT_FOUND)

        def _answer(self, status: HTTPStatus, body: bytes = b"") -> None:
            self.send_response(status)
            if status is HTTPStatus.UNAUTHORIZED:
                self.send_header("WWW-Authenticate", "Bearer")
            self.send_header("Content-Type", CONTENT_TYPE_LATEST)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
            """A line for each scrape would be all there is in the log."""

    return ThreadingHTTPServer((host, port), Handler)
