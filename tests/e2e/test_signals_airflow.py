"""A real Airflow that sends its lineage and its metrics to a real HTTP server: who started what, what is counted."""

from __future__ import annotations

import json
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from datetime import date
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from lakes import declare, running
from openlineage_checks import check
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from calanque.demo.generate import generate
from infra import logs, secrets
from infra.calendar import clock
from infra.city.profile import load_city
from infra.machines.services.ports import load
from infra.settings import Settings
from stewardship.metrics.exporter import TOKEN

pytestmark = [pytest.mark.live, pytest.mark.airflow, pytest.mark.slow, pytest.mark.long]

DAY = date(2026, 3, 31)


class Receiver(ThreadingHTTPServer):
    """Takes lineage events and OTLP metrics."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.events: list[dict[str, Any]] = []
        self.metrics: dict[str, set[str]] = {}  # by service, the names of what it sent

    def named(self, job: str, kind: str) -> list[dict[str, Any]]:
        return [each for each in list(self.events) if (each["job"]["name"], each["eventType"]) == (job, kind)]


class _Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/api/v1/lineage":
            self.server.events.append(json.loads(body))
        else:
            assert self.path == "/v1/metrics"
            for resource in ExportMetricsServiceRequest.FromString(body).resource_metrics:
                attributes = {each.key: each.value.string_value for each in resource.resource.attributes}
                found = {metric.name.replace(".", "_") for scope in resource.scope_metrics for metric in scope.metrics}
                self.server.metrics.setdefault(attributes["service.name"], set()).update(found)
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    with Receiver() as found:
        thread = threading.Thread(target=found.serve_forever, daemon=True)
        thread.start()
        yield found
        found.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def lived(receiver: Receiver) -> Iterator[Settings]:
    """A lake whose Airflow has landed and ingested a delivery of tows."""
    with pytest.MonkeyPatch.context() as environment:
        url = f"http://127.0.0.1:{receiver.server_address[1]}"
        environment.setenv("CALANQUE_OPENLINEAGE_URL", url)
        environment.setenv("CALANQUE_OTLP_ENDPOINT", url)
        with running(airflow=True, prefix="calanque-telling-") as settings:
            declare(settings, clock.quarter_start(DAY), DAY)
            generate(
                load_city(settings), seed=7, start=DAY, days=1, scale=0.05, drop_dir=settings.drop_dir, faults=False
            )
            until(lambda: receiver.named("ingest.tows", "COMPLETE"), "a delivery of tows was ingested")
            until(lambda: receiver.named("land_tows.ingest", "COMPLETE"), "its task has ended")
            yield settings


def until(done: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + 400
    while not done():
        assert time.monotonic() < deadline, f"in vain: {what}"
        time.sleep(0.5)


def test_dag_run_task_and_delivery_hang_together(lived: Settings, receiver: Receiver) -> None:
    events = list(receiver.events)
    for event in events:
        check(event)
    delivery = receiver.named("ingest.tows", "COMPLETE")[0]["run"]["facets"]["parent"]
    attempts = {event["run"]["runId"]: event for event in receiver.named("land_tows.ingest", "START")}
    assert delivery["run"]["runId"] in attempts
    dag_runs = {event["run"]["runId"] for event in receiver.named("land_tows", "START")}
    assert delivery["root"]["run"]["runId"] in dag_runs
    assert attempts[delivery["run"]["runId"]]["run"]["facets"]["parent"]["run"]["runId"] in dag_runs


def test_the_tasks_own_log_says_which_delivery_it_is_about(lived: Settings) -> None:
    identity = next(line["delivery_id"] for line in logs.read(lived) if line.get("silo") == "tows")
    of_task = lived.logs_dir / "airflow" / "dag_id=land_tows"
    lines = [
        json.loads(line)
        for path in of_task.rglob("*.log")
        for line in path.read_text().splitlines()
        if line.startswith("{")
    ]
    about = [line for line in lines if line.get("delivery_id") == identity]
    assert {line["stage"] for line in about} == {"land", "ingest"}
    assert {line["silo"] for line in about} == {"tows"}


def test_each_service_of_airflow_sends_what_it_counts(lived: Settings, receiver: Receiver) -> None:
    until(lambda: "airflow_scheduler_heartbeat" in receiver.metrics.get("airflow-scheduler", ()), "the heart beats")
    until(lambda: "airflow-triggerer" in receiver.metrics, "the triggerer counts")
    until(lambda: "airflow_dagrun_duration_success" in receiver.metrics["airflow-scheduler"], "a run was timed")


def test_the_exporter_sees_every_part_of_airflow(lived: Settings) -> None:
    request = urllib.request.Request(
        f"http://127.0.0.1:{load(lived)['metrics']}/metrics",
        headers={"Authorization": f"Bearer {secrets.read(lived, TOKEN)}"},
    )

    def up() -> set[str]:
        with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310 - our own
            lines = answer.read().decode().splitlines()
        return {line.split('"')[1] for line in lines if line.startswith("calanque_up") and line.endswith(" 1.0")}

    parts = {f"airflow-{part}" for part in ("metadatabase", "scheduler", "dag-processor", "triggerer")}
    until(lambda: up() >= parts | {"postgres", "catalog", "store", "airflow", "disk", "drop"}, "all is up")
