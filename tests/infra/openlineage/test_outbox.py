"""Events are kept first and sent second: to a real HTTP server, or to none, or to one that fails."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from openlineage_checks import check

from infra import secrets
from infra.openlineage import facets, names, outbox, runs
from infra.openlineage.runs import PARENT, ROOT, Dataset, Run
from infra.settings import Settings


class Backend(ThreadingHTTPServer):
    """What a lineage backend is: something that takes posts. ``statuses`` are its next answers, 201 after them."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.statuses: list[int] = []
        self.asked: list[tuple[str, str | None, dict[str, Any]]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def jobs(self) -> list[str]:
        return [event["job"]["name"] for _, _, event in self.asked]


class _Handler(BaseHTTPRequestHandler):
    server: Backend

    def do_POST(self) -> None:
        event = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        status = self.server.statuses.pop(0) if self.server.statuses else 201
        self.server.asked.append((self.path, self.headers.get("Authorization"), event))
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def listening() -> Iterator[Backend]:
    with Backend() as backend:
        thread = threading.Thread(target=backend.serve_forever, daemon=True)
        thread.start()
        yield backend
        backend.shutdown()
        thread.join()


@pytest.fixture
def backend() -> Iterator[Backend]:
    with listening() as found:
        yield found


def lake(home: Path, url: str | None = None) -> Settings:
    return Settings(home=home, openlineage_url=url)


def tell(settings: Settings, *jobs: str) -> None:
    for job in jobs:
        Run(settings, job).complete()


def allow_at_once(settings: Settings) -> None:
    """As if a minute had passed since the backend did not answer."""
    mark = settings.lineage_dir / ".unanswered"
    os.utime(mark, (time.time() - 61, time.time() - 61))


def test_without_an_address_events_are_files(tmp_path: Path) -> None:
    settings = lake(tmp_path)
    run = Run(settings, "ingest.tows")
    run.start()
    run.complete([Dataset(names.stored("landing", "tows/x.csv"))])
    assert outbox.send(settings) == 0
    events = list(outbox.read(settings))
    assert [event["eventType"] for event in events] == ["START", "COMPLETE"]
    assert len({event["run"]["runId"] for event in events}) == 1
    assert (events[1]["inputs"][0]["namespace"], events[1]["inputs"][0]["name"]) == ("s3://landing", "tows/x.csv")
    for event in events:
        check(event)


def test_what_was_kept_is_sent_once_and_in_order(tmp_path: Path, backend: Backend) -> None:
    tell(lake(tmp_path), "a", "b")  # before there was a backend
    settings = lake(tmp_path, backend.url)
    secrets.write(settings, outbox.API_KEY, "sesame")
    tell(settings, "c")
    assert outbox.send(settings) == 3
    assert outbox.send(settings) == 0
    tell(settings, "d")
    assert outbox.send(settings) == 1
    assert backend.jobs() == ["a", "b", "c", "d"]
    assert {(path, key) for path, key, _ in backend.asked} == {("/api/v1/lineage", "Bearer sesame")}
    assert [event for _, _, event in backend.asked] == list(outbox.read(settings))


def test_files_of_several_days_follow_each_other(tmp_path: Path, backend: Backend) -> None:
    settings = lake(tmp_path, backend.url)
    tell(settings, "b")
    (today,) = settings.lineage_dir.glob("*.jsonl")
    (settings.lineage_dir / "2020-01-01.jsonl").write_text(today.read_text().replace('"b"', '"a"'))
    assert outbox.send(settings) == 2
    assert backend.jobs() == ["a", "b"]


def test_a_backend_that_is_down_fails_nothing_and_misses_nothing(tmp_path: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        dead = f"http://127.0.0.1:{unused.getsockname()[1]}"
    settings = lake(tmp_path, dead)
    tell(settings, "a", "b")
    assert outbox.send(settings) == 0
    with listening() as backend:
        alive = lake(tmp_path, backend.url)
        assert outbox.send(alive) == 0, "it is left alone for a minute"
        assert backend.asked == []
        allow_at_once(alive)
        assert outbox.send(alive) == 2
        assert backend.jobs() == ["a", "b"]


def test_a_backend_that_breaks_down_gets_the_rest_later(tmp_path: Path, backend: Backend) -> None:
    settings = lake(tmp_path, backend.url)
    tell(settings, "a", "b", "c")
    backend.statuses = [201, 503]
    assert outbox.send(settings) == 1
    allow_at_once(settings)
    assert outbox.send(settings) == 2
    assert backend.jobs() == ["a", "b", "b", "c"]


def test_an_event_that_is_refused_does_not_stop_the_next(tmp_path: Path, backend: Backend) -> None:
    settings = lake(tmp_path, backend.url)
    tell(settings, "a", "b")
    backend.statuses = [422]
    assert outbox.send(settings) == 1
    assert backend.jobs() == ["a", "b"]


def test_a_line_that_is_being_written_is_left_for_the_next_time(tmp_path: Path, backend: Backend) -> None:
    settings = lake(tmp_path, backend.url)
    tell(settings, "a")
    (today,) = settings.lineage_dir.glob("*.jsonl")
    with today.open("a") as stream:
        stream.write('{"job":')
    assert outbox.send(settings) == 1
    with today.open("a") as stream:
        stream.write('{"name":"b"}}\n')
    assert outbox.send(settings) == 1
    assert backend.jobs() == ["a", "b"]


def test_lineage_that_cannot_be_kept_stops_nobody(tmp_path: Path) -> None:
    (tmp_path / "lineage").write_text("in the way")
    settings = lake(tmp_path, "http://127.0.0.1:1")
    tell(settings, "a")
    assert outbox.send(settings) == 0


def test_a_run_says_who_started_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = lake(tmp_path)
    dag, task = Run(settings, "land_tows"), Run(settings, "land_tows.ingest")
    monkeypatch.setenv(PARENT, task.id_in_environment)
    monkeypatch.setenv(ROOT, dag.id_in_environment)
    tell(settings, "ingest.tows")
    (event,) = outbox.read(settings)
    parent = event["run"]["facets"]["parent"]
    assert (parent["job"], parent["run"]) == ({"namespace": "calanque", "name": task.job}, {"runId": task.run_id})
    assert (parent["root"]["job"]["name"], parent["root"]["run"]["runId"]) == (dag.job, dag.run_id)
    check(event)


@pytest.mark.parametrize("value", ["", "nonsense", "a/b", "//"])
def test_a_parent_that_cannot_be_read_is_none(value: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PARENT, value)
    tell(lake(tmp_path), "a")
    (event,) = outbox.read(lake(tmp_path))
    assert event["run"]["facets"] == {}


def test_ids_sort_by_time() -> None:
    ids = []
    for _ in range(3):
        ids.append(runs.new_id())
        time.sleep(0.002)
    assert ids == sorted(ids)
    assert all(identity[14] == "7" for identity in ids)


def test_a_failure_is_told_with_its_sentence(tmp_path: Path) -> None:
    settings = lake(tmp_path)
    Run(settings, "a", facets.job_type("CALANQUE", "DELIVERY")).fail("refused: empty_file")
    (event,) = outbox.read(settings)
    assert event["eventType"] == "FAIL"
    assert event["run"]["facets"]["errorMessage"]["message"] == "refused: empty_file"
    check(event)
