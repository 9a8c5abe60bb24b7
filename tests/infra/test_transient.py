"""Which faults are worth a retry: each met for real where it can be, at a port nobody listens on or a full device."""

from __future__ import annotations

import errno
import json
import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import ClassVar

import duckdb
import polars as pl
import psycopg
import pyarrow.parquet as pq
import pytest
import urllib3
from full_disk import fill, small_disk
from minio.error import S3Error
from pyiceberg.exceptions import CommitFailedException, NoSuchTableError
from sqlalchemy.exc import OperationalError
from urllib3.exceptions import MaxRetryError, SSLError

from infra import catalog, compute, database, endpoints, object_store, secrets
from infra.endpoints import Endpoints, NotRunning
from infra.keys.store import KeyDamagedError
from infra.secrets import SecretMissing
from infra.settings import Settings
from infra.transient import Several, disk_full, explained, transient
from privacy.ledger import LedgerBrokenError

NUMBERS = pl.DataFrame({"number": range(300_000)})


def lake_at(folder: Path, port: int) -> Settings:
    """A lake whose servers are said to be at ``port``."""
    settings = Settings(home=folder, quiet=True)
    at = Endpoints(s3_url=f"http://127.0.0.1:{port}", postgres_host="127.0.0.1", postgres_port=port)
    endpoints.save(settings, at)
    secrets.write(settings, "s3-pipeline", "key:secret")
    secrets.write(settings, "pg-pipeline", "secret")
    return settings


@pytest.fixture
def gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A lake whose servers have gone: nobody listens where they were."""
    monkeypatch.setattr(object_store, "RETRIES", 0)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    return lake_at(tmp_path, port)


def of(act: Callable[[], object]) -> Exception:
    with pytest.raises(Exception) as caught:
        act()
    return caught.value


def test_a_store_that_is_away_is_worth_a_retry_whoever_asks_it(gone: Settings) -> None:
    options = object_store.polars_options(gone, "pipeline")
    connection = compute.connect(gone, "pipeline")
    connection.execute("set http_retries = 0")
    for act in (
        lambda: object_store.client(gone, "pipeline").stat_object("lake", "x"),
        lambda: object_store.filesystem(gone, "pipeline").open_input_file("lake/x"),
        lambda: pl.read_parquet("s3://lake/x.parquet", storage_options={**options, "max_retries": 0}),  # type: ignore[dict-item]
        lambda: connection.execute("select * from 's3://lake/x.parquet'"),
    ):
        error = of(act)
        assert transient(error), f"{type(error)}: {error}"
        assert not disk_full(error)


def test_a_database_that_is_away_is_worth_a_retry(gone: Settings) -> None:
    assert transient(of(lambda: database.connect(gone, "pipeline", "lake")))
    assert transient(of(lambda: catalog.open_catalog(gone, "pipeline").load_table("conformed.x")))


def test_a_full_disk_is_worth_a_retry_whoever_writes(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", megabytes=1) as disk:
        fill(disk)
        for act in (
            lambda: (disk / "python").write_bytes(b"x" * 10_000),
            lambda: NUMBERS.write_parquet(disk / "polars.parquet"),
            lambda: NUMBERS.write_csv(disk / "polars.csv"),
            lambda: pq.write_table(NUMBERS.to_arrow(), disk / "arrow.parquet"),
            lambda: duckdb.connect().execute(f"copy (select range from range(300000)) to '{disk}/duckdb.csv'"),
        ):
            error = of(act)
            assert transient(error), f"{type(error)}: {error}"
            assert disk_full(error), f"{type(error)}: {error}"


class _Answer(BaseHTTPRequestHandler):
    """Answers every request with one status and one S3 error code."""

    status: ClassVar[int] = 503
    code: ClassVar[str] = "SlowDown"

    def do_GET(self) -> None:
        body = f"<Error><Code>{self.code}</Code><Message>no</Message></Error>".encode()
        self.send_response(self.status)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def answering(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    monkeypatch.setattr(object_store, "RETRIES", 0)
    monkeypatch.setattr(object_store, "http_client", lambda: urllib3.PoolManager(retries=False))
    server = HTTPServer(("127.0.0.1", 0), _Answer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield lake_at(tmp_path, server.server_port)
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [
        (503, "SlowDown", True),
        (500, "InternalError", True),
        (507, "XMinioStorageFull", True),
        (403, "AccessDenied", False),
        (404, "NoSuchBucket", False),
        (400, "InvalidAccessKeyId", False),
    ],
)
def test_what_the_store_answers(
    answering: Settings, monkeypatch: pytest.MonkeyPatch, status: int, code: str, expected: bool
) -> None:
    monkeypatch.setattr(_Answer, "status", status)
    monkeypatch.setattr(_Answer, "code", code)
    error = of(lambda: object_store.get_bytes(object_store.client(answering, "pipeline"), "lake", "x"))
    assert isinstance(error, S3Error)
    assert transient(error) is expected
    assert disk_full(error) is (code == "XMinioStorageFull")


@pytest.mark.parametrize(
    "error",
    [
        NotRunning("no lake"),
        ConnectionResetError(),
        TimeoutError(),
        OSError(errno.ENOSPC, "No space left on device"),
        OSError(errno.EIO, "Input/output error"),
        psycopg.errors.DeadlockDetected(),
        psycopg.errors.SerializationFailure(),
        psycopg.errors.DiskFull(),
        psycopg.errors.TooManyConnections(),
        psycopg.errors.AdminShutdown(),
        psycopg.errors.CannotConnectNow(),
        psycopg.OperationalError("the connection is closed"),
        OperationalError("select", {}, psycopg.errors.AdminShutdown()),
        CommitFailedException("another was quicker"),
        Several("two", [ValueError("no"), TimeoutError()]),
        ExceptionGroup("two", [ValueError("no"), TimeoutError()]),
    ],
    ids=lambda error: f"{type(error).__name__}",
)
def test_worth_a_retry(error: Exception) -> None:
    assert transient(error)


@pytest.mark.parametrize(
    "error",
    [
        ValueError("Connection refused"),  # its words alone prove nothing
        KeyError("timeout"),
        FileNotFoundError(errno.ENOENT, "no such file"),
        PermissionError(errno.EACCES, "no"),
        psycopg.errors.UndefinedTable(),
        psycopg.errors.InsufficientPrivilege(),
        psycopg.errors.InvalidPassword(),
        psycopg.errors.CheckViolation(),
        psycopg.errors.DataCorrupted(),
        psycopg.OperationalError('connection failed: FATAL: password authentication failed for user "x"'),
        OperationalError("select", {}, psycopg.errors.UndefinedColumn()),
        MaxRetryError(None, "/", SSLError("certificate")),  # type: ignore[arg-type]
        SecretMissing("no secret"),
        KeyDamagedError("no key"),
        LedgerBrokenError("broken"),
        NoSuchTableError("no table"),
        duckdb.ConversionException("no"),
        pl.exceptions.ColumnNotFoundError("no"),
        json.JSONDecodeError("no", "", 0),
        Several("two", [ValueError("no"), KeyError("no")]),
        Several("none", []),
    ],
    ids=lambda error: f"{type(error).__name__}",
)
def test_not_worth_a_retry(error: Exception) -> None:
    assert not transient(error)
    assert not disk_full(error)


@pytest.mark.parametrize(("number", "says"), [(errno.EACCES, "is closed to"), (errno.EROFS, "read-only")])
def test_a_file_that_is_closed_is_named_with_what_to_do_about_it(number: int, says: str) -> None:
    sentence = explained(OSError(number, "no", "/srv/lake/keys/tows"))
    assert sentence is not None
    assert sentence.startswith("/srv/lake/keys/tows ")
    assert says in sentence
    assert "space" not in sentence


def test_of_an_error_that_is_nobodys_its_cause_decides() -> None:
    def because_of(cause: Exception) -> Exception:
        error = RuntimeError("could not")
        error.__cause__ = cause
        return error

    assert transient(because_of(TimeoutError()))
    assert disk_full(because_of(OSError(errno.ENOSPC, "full")))
    assert not transient(because_of(ValueError("no")))
