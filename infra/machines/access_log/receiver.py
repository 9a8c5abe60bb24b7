"""The service ``access-log``: what servers tell of reads, into the access log.

SeaweedFS speaks JSON of the Fluent forward protocol into a unix socket that only the lake's owner may reach; MinIO
posts to a loopback port, with a token; PostgreSQL writes its own log, which is followed.
"""

from __future__ import annotations

import hmac
import json
import re
import socketserver
import threading
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

from infra import secrets
from infra.machines.access_log import Read, append, is_watched
from infra.machines.services.places import socket_dir
from infra.settings import Settings

TOKEN: Final = "access-log-token"  # noqa: S105 - the name of the secret
HOST: Final = "127.0.0.1"

_CHUNK: Final = 1 << 16
_LONGEST: Final = 300  # characters of a statement
_FOLLOW_SECONDS: Final = 1.0
_MINIO_VERBS: Final = {"GetObject": "read", "SelectObjectContent": "read", "HeadObject": "look"}
_STATEMENT: Final = re.compile(
    r"^(\S+ \S+) UTC \[\d+\] (?P<role>\w+)@(?P<database>\w*) (?P<host>\S*) LOG:  (?P<what>.*)$"
)
_ASKED: Final = re.compile(r"^(?:statement|execute [^:]*): ")


def socket_path(settings: Settings) -> Path:
    """Where SeaweedFS tells of requests."""
    return socket_dir(settings) / "access.sock"


def of_seaweedfs(record: Mapping[str, Any]) -> Read | None:
    """A request as SeaweedFS tells it; None when it is no read of what is watched."""
    bucket, key, operation = record["bucket"], record["key"].lstrip("/"), record["operation"]
    verbs = {"REST.GET.OBJECT": "read" if key else "list", "REST.GET.BUCKET": "list", "REST.HEAD.OBJECT": "look"}
    if not bucket or operation not in verbs or not is_watched(bucket, key):
        return None
    return Read(
        at=datetime.fromtimestamp(record["time"], UTC),
        by="store",
        role=record["requester"],
        verb=verbs[operation],
        what=f"{bucket}/{key}",
        status=record["status"],
        came_from=record["remote_ip"],
        program=record["user_agent"][:_LONGEST],
    )


def of_minio(entry: Mapping[str, Any]) -> Read | None:
    """A request as MinIO tells it; None when it is no read of what is watched."""
    api = entry.get("api") or {}
    name, bucket, key = api.get("name", ""), api.get("bucket", ""), api.get("object", "")
    listed = name.startswith("ListObject")
    key = key or (entry.get("requestQuery") or {}).get("prefix", "") if listed else key
    if not bucket or not (listed or name in _MINIO_VERBS) or not is_watched(bucket, key):
        return None
    return Read(
        at=datetime.fromisoformat(entry["time"]).astimezone(UTC),
        by="store",
        role=entry.get("accessKey", ""),
        verb="list" if listed else _MINIO_VERBS[name],
        what=f"{bucket}/{key}",
        status=api.get("statusCode"),
        came_from=entry.get("remotehost", ""),
        program=entry.get("userAgent", "")[:_LONGEST],
    )


def of_postgres(line: str) -> Read | None:
    """A line of PostgreSQL's log; None when it is no statement."""
    found = _STATEMENT.match(line)
    if found is None or not (asked := _ASKED.match(found["what"])):
        return None
    return Read(
        at=datetime.fromisoformat(found[1]).replace(tzinfo=UTC),
        by="database",
        role=found["role"],
        verb="ask",
        what=f"{found['database']}: {found['what'][asked.end() :][:_LONGEST]}",
        status=None,
        came_from=found["host"],
        program="",
    )


def serve(settings: Settings, port: int | None) -> None:
    """Receive until the process is stopped; ``port`` is where MinIO posts to, if it is the store."""
    if settings.postgres == "embedded":
        threading.Thread(target=_follow_postgres, args=[settings], daemon=True).start()
    if port is not None:
        threading.Thread(target=minio_server(settings, port).serve_forever, daemon=True).start()
    path = socket_path(settings)
    path.unlink(missing_ok=True)

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            for record in _messages(self.request):
                _keep(settings, of_seaweedfs(record))

    with socketserver.ThreadingUnixStreamServer(str(path), Handler) as server:
        server.daemon_threads = True
        server.serve_forever()


def _follow_postgres(settings: Settings) -> None:
    for line in follow(settings.logs_dir / "postgres.log"):
        _keep(settings, of_postgres(line))


def minio_server(settings: Settings, port: int) -> ThreadingHTTPServer:
    """The server that MinIO posts to, listening; 0 takes any free port."""
    token = secrets.read(settings, TOKEN)

    class Handler(BaseHTTPRequestHandler):
        server_version = "calanque"
        sys_version = ""

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            known = hmac.compare_digest(self.headers.get("Authorization", "").encode(), f"Bearer {token}".encode())
            if known:
                for entry in _documents(body.decode())[0]:
                    _keep(settings, of_minio(entry))
            self.send_response(HTTPStatus.OK if known else HTTPStatus.UNAUTHORIZED)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def do_GET(self) -> None:
            self.send_error(HTTPStatus.UNAUTHORIZED)

        def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
            """A line for each request would be the access log once more."""

    return ThreadingHTTPServer((HOST, port), Handler)


def follow(log: Path) -> Iterator[str]:
    """Every line that is added to a log from now on, whichever file bears its name."""
    where, number = (log.stat().st_size, log.stat().st_ino) if log.exists() else (0, 0)
    rest = b""
    while True:
        time.sleep(_FOLLOW_SECONDS)
        try:
            found = log.stat()
            if found.st_ino != number or found.st_size < where:  # rotated, or cut
                where, number, rest = 0, found.st_ino, b""
            with log.open("rb") as stream:
                stream.seek(where)
                added = stream.read()
        except FileNotFoundError:
            continue
        where += len(added)
        *lines, rest = (rest + added).split(b"\n")
        yield from (line.decode(errors="replace") for line in lines)


def _keep(settings: Settings, read: Read | None) -> None:
    if read is not None:
        append(settings, [read])


def _messages(connection: Any) -> Iterator[Mapping[str, Any]]:
    """The records of a connection: each message is ``[tag, time, record, options]``."""
    waiting = b""
    while received := connection.recv(_CHUNK):
        waiting += received
        try:
            text = waiting.decode()
        except UnicodeDecodeError:  # in the middle of a character
            continue
        messages, rest = _documents(text)
        waiting = rest.encode()
        yield from (message[2] for message in messages)


def _documents(text: str) -> tuple[list[Any], str]:
    """The JSON documents that ``text`` begins with, and what is left of it."""
    decoder, found, at = json.JSONDecoder(), [], 0
    text = text.lstrip()
    while at < len(text):
        try:
            document, at = decoder.raw_decode(text, at)
        except json.JSONDecodeError:
            break
        found.append(document)
        while at < len(text) and text[at].isspace():
            at += 1
    return found, text[at:]
