"""Every read of what is personal is logged as the servers saw it, whoever reads and with whatever program."""

from __future__ import annotations

import json
import stat
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest
from minio import Minio
from minio.error import S3Error
from typer.testing import CliRunner

from calanque.cli import app
from infra import database, endpoints, object_store, secrets
from infra.machines import access_log
from infra.machines.access_log.receiver import follow, of_minio, of_postgres
from infra.settings import Settings


def until(condition: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not true within {seconds} s"
        time.sleep(0.2)


def told(lake: Settings) -> set[tuple[str, str, str, int | None]]:
    return {(read.role, read.verb, read.what, read.status) for read in access_log.reads(lake)}


@pytest.mark.live
def test_reads_of_the_store_are_logged_and_refused_ones_too(store: Settings) -> None:
    admin, steward = object_store.client(store, "admin"), object_store.client(store, "steward")
    name = f"tows/{time.monotonic_ns()}"
    for bucket, key in (("landing", name), ("quarantine", name), ("lake", f"conformed/{name}"), ("docs", name)):
        object_store.put_bytes(admin, bucket, key, b"x")
    object_store.get_bytes(steward, "quarantine", name)
    with pytest.raises(S3Error):
        object_store.get_bytes(steward, "landing", name)
    object_store.get_bytes(object_store.client(store, "pipeline"), "lake", f"conformed/{name}")
    object_store.get_bytes(steward, "docs", name)  # nothing personal is there
    # A client of somebody's own, with a key but not its secret, and the listing of a bucket.
    access_key, _ = object_store.credentials(store, "steward")
    stolen = Minio(object_store.endpoint(store).address, access_key, "not-the-secret", secure=False, region="us-east-1")
    with pytest.raises(S3Error):
        stolen.get_object("landing", name)
    list(object_store.list_keys(steward, "quarantine"))

    wanted = {
        ("steward", "read", f"quarantine/{name}", 200),
        ("steward", "read", f"landing/{name}", 403),
        ("pipeline", "read", f"lake/conformed/{name}", 200),
    }
    who = {object_store.credentials(store, role)[0]: role for role in object_store.ROLES}  # MinIO tells access keys

    def known() -> set[tuple[str, str, str, int | None]]:
        return {(who.get(role, role), *rest) for role, *rest in told(store)}

    until(lambda: wanted <= known())
    until(lambda: any(verb == "list" and what.startswith("quarantine/") for _, verb, what, _ in known()))
    assert not any("docs" in what for _, _, what, _ in known())
    [line] = [read for read in access_log.reads(store) if read.what == f"quarantine/{name}" and read.verb == "read"]
    assert (line.by, line.came_from) == ("store", "127.0.0.1")
    assert abs((datetime.now(UTC) - line.at).total_seconds()) < 300
    [path] = (store.logs_dir / "access").glob(f"{line.at.date()}.jsonl")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.live
def test_what_a_steward_asks_the_database_is_logged(lake: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    at = endpoints.load(lake)
    with psycopg.connect(  # with a program of its own
        host=at.postgres_host,
        port=at.postgres_port,
        user="steward",
        dbname="lake",
        password=secrets.read(lake, "pg-steward"),
    ) as connection:
        connection.execute("select count(*) from registry.delivery where silo = %s", ["a-value"])
    with database.connect(lake, "pipeline", "lake") as connection:
        connection.execute("select 'not a person'")
    until(lambda: any("from registry.delivery where silo = $1" in what for _, _, what, _ in told(lake)))
    assert not any("a-value" in what or "not a person" in what for _, _, what, _ in told(lake))

    for name, value in lake.environment().items():
        monkeypatch.setenv(name, value)
    said = CliRunner().invoke(app, ["reads", "--json"])
    assert said.exit_code == 0, said.output
    assert {"steward"} <= {read["role"] for read in json.loads(said.output)}
    assert "steward" in CliRunner().invoke(app, ["reads"]).output


def test_minio_and_postgres_are_understood() -> None:
    entry = {
        "version": "1",
        "time": "2026-03-08T06:00:00.5Z",
        "api": {"name": "GetObject", "bucket": "landing", "object": "tows/a.csv", "statusCode": 200},
        "remotehost": "10.0.0.9",
        "userAgent": "curl",
        "accessKey": "steward",
    }
    read = of_minio(entry)
    assert read is not None
    assert (read.verb, read.what, read.status, read.came_from) == ("read", "landing/tows/a.csv", 200, "10.0.0.9")
    assert of_minio({**entry, "api": {**entry["api"], "name": "PutObject"}}) is None  # type: ignore[dict-item]
    assert of_minio({**entry, "api": {**entry["api"], "bucket": "docs"}}) is None  # type: ignore[dict-item]
    asked = of_postgres("2026-03-08 06:00:00.500 UTC [7] steward@lake 10.0.0.9 LOG:  execute <unnamed>: select 1")
    assert asked is not None
    assert (asked.role, asked.what, asked.came_from) == ("steward", "lake: select 1", "10.0.0.9")
    assert of_postgres("2026-03-08 06:00:00.500 UTC [7] LOG:  checkpoint starting: time") is None


def test_a_log_is_followed_when_it_is_rotated_and_cut(tmp_path: Path) -> None:
    log = tmp_path / "postgres.log"
    log.write_text("before\n")
    lines = follow(log)

    def add(text: str) -> None:
        with log.open("a") as stream:
            stream.write(text)

    threading.Timer(0.2, add, ["one\ntw"]).start()
    assert next(lines) == "one"
    threading.Timer(0.2, add, ["o\n"]).start()
    assert next(lines) == "two"
    log.rename(tmp_path / "postgres.log.1")
    log.write_text("three\n")
    assert next(lines) == "three"
    log.write_text("4\n")  # cut
    assert next(lines) == "4"
