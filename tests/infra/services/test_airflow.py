"""Airflow as a service of the lake: it works, it survives, and it goes when told to."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from typing import Any

import psutil
import pytest

from infra import endpoints, secrets
from infra.services import airflow, airflow_access, processes
from infra.services import lake as services
from infra.settings import Settings

pytestmark = [pytest.mark.live, pytest.mark.airflow, pytest.mark.slow]


def call(
    settings: Settings, path: str, *, body: dict[str, Any] | None = None, token: str = "", method: str | None = None
) -> dict[str, object]:
    request = urllib.request.Request(  # noqa: S310 - our own address
        f"{endpoints.load(settings).airflow_url}{path}",
        data=json.dumps(body).encode() if body is not None else None,
        headers={"Content-Type": "application/json", **({"Authorization": f"Bearer {token}"} if token else {})},
        method=method,
    )
    with urllib.request.urlopen(request, timeout=180) as answer:  # noqa: S310
        return dict(json.load(answer))


def log_in(settings: Settings, password: str, account: str = airflow.USER) -> str:
    return str(call(settings, "/auth/token", body={"username": account, "password": password})["access_token"])


def of_service(settings: Settings, name: str) -> set[int]:
    return {process.pid for service, process in processes.of_lake(settings) if service == name}


def test_the_generated_login_opens_the_api_and_no_other_does(airflow_lake: Settings) -> None:
    token = log_in(airflow_lake, secrets.read(airflow_lake, airflow.PASSWORD))
    assert call(airflow_lake, "/api/v2/importErrors", token=token)["total_entries"] == 0
    for wrong in ("admin", ""):
        with pytest.raises(urllib.error.HTTPError) as refused:
            log_in(airflow_lake, wrong)
        assert refused.value.code in {400, 401, 422}


def until_dags_are_there(settings: Settings, wanted: set[str]) -> list[dict[str, Any]]:
    token = log_in(settings, secrets.read(settings, airflow.PASSWORD))
    deadline = time.monotonic() + 300
    while True:
        found = call(settings, "/api/v2/dags", token=token)["dags"]
        assert isinstance(found, list)
        if wanted <= {dag["dag_id"] for dag in found}:
            return found
        assert time.monotonic() < deadline, "the DAG processor did not find every DAG"
        time.sleep(1)


def test_dags_appear_unpaused(airflow_lake: Settings) -> None:
    found = until_dags_are_there(airflow_lake, {"build_marts"})
    assert not any(dag["is_paused"] for dag in found)


DAGS = "/api/v2/dags"
BACKFILL = {"dag_id": "city_day", "from_date": "2026-03-05T00:00:00Z", "to_date": "2026-03-05T23:59:59Z"}
ANSWER = {"chosen_options": ["Approve"]}
ASKING = "dagRuns/none/taskInstances/steward_decides/-1/hitlDetails"

# What each account may do, as the status of the answer; 404 is that of a question that is not there to be answered.
ACCESS: dict[str, tuple[str, str, dict[str, Any] | None, dict[str, int]]] = {
    "look at DAGs": ("GET", DAGS, None, {"operator": 200, "steward": 200, "viewer": 200}),
    "look at runs": ("GET", f"{DAGS}/~/dagRuns", None, {"operator": 200, "steward": 200, "viewer": 200}),
    "look at assets": ("GET", "/api/v2/assets", None, {"operator": 200, "steward": 200, "viewer": 200}),
    "look at what waits": (
        "GET",
        f"{DAGS}/~/dagRuns/~/hitlDetails",
        None,
        {"operator": 200, "steward": 200, "viewer": 200},
    ),
    "start a run": (
        "POST",
        f"{DAGS}/release_marts/dagRuns",
        {"logical_date": None},
        {"operator": 200, "steward": 403, "viewer": 403},
    ),
    "backfill": ("POST", "/api/v2/backfills/dry_run", BACKFILL, {"operator": 200, "steward": 403, "viewer": 403}),
    "pause a DAG": (
        "PATCH",
        f"{DAGS}/land_tows?update_mask=is_paused",
        {"is_paused": False},
        {"operator": 200, "steward": 403, "viewer": 403},
    ),
    "answer a correction": (
        "PATCH",
        f"{DAGS}/correct_release/{ASKING}",
        ANSWER,
        {"operator": 403, "steward": 404, "viewer": 403},
    ),
    "answer a contract": (
        "PATCH",
        f"{DAGS}/change_contract/{ASKING}",
        ANSWER,
        {"operator": 403, "steward": 404, "viewer": 403},
    ),
    "delete a DAG": ("DELETE", f"{DAGS}/none", None, {"operator": 403, "steward": 403, "viewer": 403}),
    "see connections": ("GET", "/api/v2/connections", None, {"operator": 403, "steward": 403, "viewer": 403}),
    "see variables": ("GET", "/api/v2/variables", None, {"operator": 403, "steward": 403, "viewer": 403}),
    "change a pool": (
        "PATCH",
        "/api/v2/pools/marts?update_mask=slots",
        {"pool": "marts", "slots": 9},
        {"operator": 403, "steward": 403, "viewer": 403},
    ),
}


def status(settings: Settings, method: str, path: str, body: dict[str, Any] | None, token: str) -> int:
    try:
        call(settings, path, body=body, token=token, method=method)
    except urllib.error.HTTPError as refused:
        return refused.code
    return 200


def test_each_role_may_do_what_it_is_for_and_nothing_else(airflow_lake: Settings) -> None:
    until_dags_are_there(airflow_lake, {"release_marts", "land_tows", "city_day", "correct_release", "change_contract"})
    for account in ("operator", "steward", "viewer"):
        token = log_in(airflow_lake, secrets.read(airflow_lake, f"{airflow_access.SECRET}{account}"), account)
        found = {what: status(airflow_lake, *asked[:3], token) for what, asked in ACCESS.items()}
        assert found == {what: asked[3][account] for what, asked in ACCESS.items()}, account


def test_no_account_opens_with_the_password_of_another(airflow_lake: Settings) -> None:
    passwords = {name: secrets.read(airflow_lake, f"{airflow_access.SECRET}{name}") for name in airflow_access.ACCOUNTS}
    assert len(set(passwords.values())) == len(passwords)
    with pytest.raises(urllib.error.HTTPError):
        log_in(airflow_lake, passwords["viewer"], "admin")


def test_pools_are_in_place(airflow_lake: Settings) -> None:
    token = log_in(airflow_lake, secrets.read(airflow_lake, airflow.PASSWORD))
    found = call(airflow_lake, "/api/v2/pools", token=token)["pools"]
    assert isinstance(found, list)
    slots = {pool["name"]: pool["slots"] for pool in found}
    assert slots.items() >= {name: pool.slots for name, pool in airflow_access.POOLS.items()}.items()


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


@pytest.mark.long
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
