"""Airflow as a service of the lake: it works, it survives, and it goes when told to."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request

import psutil
import pytest

from infra import endpoints, secrets
from infra.services import airflow, processes
from infra.services import lake as services
from infra.settings import Settings

pytestmark = [pytest.mark.live, pytest.mark.airflow, pytest.mark.slow]


def call(settings: Settings, path: str, *, body: dict[str, str] | None = None, token: str = "") -> dict[str, object]:
    request = urllib.request.Request(  # noqa: S310 - our own address
        f"{endpoints.load(settings).airflow_url}{path}",
        data=json.dumps(body).encode() if body is not None else None,
        headers={"Content-Type": "application/json", **({"Authorization": f"Bearer {token}"} if token else {})},
    )
    with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
        return dict(json.load(answer))


def log_in(settings: Settings, password: str) -> str:
    return str(call(settings, "/auth/token", body={"username": airflow.USER, "password": password})["access_token"])


def of_service(settings: Settings, name: str) -> set[int]:
    return {process.pid for service, process in processes.of_lake(settings) if service == name}


def test_the_generated_login_opens_the_api_and_no_other_does(airflow_lake: Settings) -> None:
    token = log_in(airflow_lake, secrets.read(airflow_lake, airflow.PASSWORD))
    assert call(airflow_lake, "/api/v2/importErrors", token=token)["total_entries"] == 0
    for wrong in ("admin", ""):
        with pytest.raises(urllib.error.HTTPError) as refused:
            log_in(airflow_lake, wrong)
        assert refused.value.code in {400, 401, 422}


def test_dags_appear_unpaused(airflow_lake: Settings) -> None:
    token = log_in(airflow_lake, secrets.read(airflow_lake, airflow.PASSWORD))
    deadline = time.monotonic() + 120
    while not (found := call(airflow_lake, "/api/v2/dags", token=token)["dags"]):
        assert time.monotonic() < deadline, "the DAG processor found no DAG"
        time.sleep(1)
    assert isinstance(found, list)
    assert not any(dag["is_paused"] for dag in found)


def test_a_killed_scheduler_comes_back_without_its_old_workers(airflow_lake: Settings) -> None:
    before = of_service(airflow_lake, "airflow-scheduler")
    main = next(one for one in services.status(airflow_lake) if one.name == "airflow-scheduler").pid
    assert main is not None
    psutil.Process(main).kill()
    deadline = time.monotonic() + 120
    while True:
        now = next(one for one in services.status(airflow_lake) if one.name == "airflow-scheduler")
        workers = of_service(airflow_lake, now.name) - {now.pid}
        if now.state == "up" and workers and before.isdisjoint({*workers, now.pid}):
            break
        assert time.monotonic() < deadline, now
        time.sleep(0.5)


def test_a_killed_supervisor_is_replaced_with_everything_it_kept(airflow_lake: Settings) -> None:
    before = {process.pid for _, process in processes.of_lake(airflow_lake)}
    supervisor = next(process for name, process in processes.of_lake(airflow_lake) if name == "supervisor")
    supervisor.kill()
    supervisor.wait(10)
    services.up(airflow_lake)
    deadline = time.monotonic() + 120  # a busy machine may miss a heartbeat
    while {one.state for one in services.status(airflow_lake)} != {"up"}:
        assert time.monotonic() < deadline, services.status(airflow_lake)
        time.sleep(0.5)
    assert before.isdisjoint(process.pid for _, process in processes.of_lake(airflow_lake))
