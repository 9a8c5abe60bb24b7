"""Airflow as a service of the lake: it works, it survives, and it goes when told to."""

from __future__ import annotations

import json
import re
import time
import urllib.error
import urllib.request
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote, unquote

import psutil
import pytest
from lakes import open_to_others

from calanque.cli import following
from calanque.orchestration import work
from infra import contract_versions, database, endpoints, object_store, secrets
from infra.calendar import clock
from infra.machines.airflow import access as airflow_access
from infra.machines.airflow import api as airflow_api
from infra.machines.airflow import servers as airflow
from infra.machines.airflow import upkeep as airflow_upkeep
from infra.machines.services import lake as services
from infra.machines.services import processes
from infra.machines.services.model import ServiceError
from infra.settings import Settings
from ingestion.contracts import silo_documents
from ingestion.contracts.retention_limits import LOGS
from stewardship import approvals, run_history
from stewardship.site import declared, living

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


def test_pages_show_the_citys_time(airflow_lake: Settings) -> None:
    page = urllib.request.Request(  # noqa: S310 - our own address
        f"{endpoints.load(airflow_lake).airflow_url}/", headers={"Accept": "text/html"}
    )
    with urllib.request.urlopen(page, timeout=180) as answer:  # noqa: S310
        shown = answer.read().decode()
    assert r'localStorage.setItem("timezone", "\"Europe/Paris\"")' in shown


def test_whoever_guesses_passwords_waits(airflow_lake: Settings) -> None:
    answered = []
    for _ in range(7):
        with pytest.raises(urllib.error.HTTPError) as refused:
            log_in(airflow_lake, "guessed", account="somebody")
        answered.append(refused.value.code)
    assert answered == [401] * 5 + [429] * 2
    assert log_in(airflow_lake, secrets.read(airflow_lake, airflow.PASSWORD))


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
    "put a note on a task": (
        "PATCH",
        f"{DAGS}/land_tows/dagRuns/none/taskInstances/ingest?update_mask=note",
        {"note": "looked at"},
        {"operator": 404, "steward": 403, "viewer": 403},
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


class Questions:
    """Runs of ``change_contract`` of one dataset: asked by the operator, answered by whoever tries."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._tokens = {
            account: log_in(settings, secrets.read(settings, f"{airflow_access.SECRET}{account}"), account)
            for account in ("operator", "steward", "admin")
        }

    def ask(self, reason: str, account: str = "operator") -> str:
        body = {"logical_date": None, "conf": {"dataset": "tows", "reason": reason}}
        token = self._tokens[account]
        run = call(self.settings, f"{DAGS}/change_contract/dagRuns", body=body, token=token)
        return quote(str(run["dag_run_id"]), safe="")

    def until(self, state: str, *runs: str) -> None:
        """Wait until the steward is waited for (``awaiting_input``), or until all of it is over (``success``)."""
        path = f"{DAGS}/change_contract/dagRuns/{{}}" + ("" if state == "success" else "/taskInstances/steward_decides")
        deadline = time.monotonic() + 300
        while True:
            found = [call(self.settings, path.format(run), token=self._tokens["admin"])["state"] for run in runs]
            if set(found) == {state}:
                return
            assert "failed" not in found, found
            assert time.monotonic() < deadline, found
            time.sleep(0.5)

    def until_asked(self, *runs: str) -> None:
        """Wait until the steward is waited for and the scheduler knows that the processes that asked have ended."""
        self.until("awaiting_input", *runs)
        path = f"{DAGS}/change_contract/dagRuns/{{}}/taskInstances/steward_decides"
        log = self.settings.logs_dir / "airflow-scheduler.log"
        ended = "Received executor event with state success .* task_id='steward_decides', run_id='{}', try_number={}"
        tries = [call(self.settings, path.format(run), token=self._tokens["admin"])["try_number"] for run in runs]
        wanted = [ended.format(re.escape(unquote(run)), number) for run, number in zip(runs, tries, strict=True)]
        deadline = time.monotonic() + 60
        while not all(re.search(each, log.read_text()) for each in wanted):
            assert time.monotonic() < deadline, "the scheduler was not told"
            time.sleep(0.2)

    def answer(self, account: str, run: str, option: str, remark: str | None = None) -> int:
        path = f"{DAGS}/change_contract/{ASKING.replace('none', run, 1)}"
        body = {"chosen_options": [option], "params_input": {"remark": remark}}
        return status(self.settings, "PATCH", path, body, self._tokens[account])

    def forge(self, account: str, run: str) -> int:
        """Try to have said that the steward said yes."""
        said = {**ANSWER, "responded_by_user": {"id": "3", "name": "steward"}, "responded_at": "2026-01-01T00:00:00Z"}
        path = f"{DAGS}/change_contract/dagRuns/{run}/taskInstances/steward_decides/xcomEntries"
        return status(self.settings, "POST", path, {"key": "return_value", "value": said}, self._tokens[account])

    def let_time_pass(self, run: str) -> None:
        """Have the month of patience be over."""
        with database.connect(self.settings, database.ADMIN, "airflow") as connection:
            passed = connection.execute(
                "update task_instance set trigger_timeout = now() where run_id = %s and state = 'awaiting_input'",
                [unquote(run)],
            )
            assert passed.rowcount == 1


@pytest.mark.long
def test_a_contract_changes_when_its_steward_says_so_and_whatever_is_said_is_recorded(airflow_lake: Settings) -> None:
    until_dags_are_there(airflow_lake, {"change_contract"})
    document = silo_documents.named("tows")
    with database.connect(airflow_lake, "publisher", "lake") as connection:
        earlier = document.model_copy(update={"version": "0.9.0"})
        contract_versions.put_in_force(connection, earlier, clock.now(airflow_lake), None)

    def in_force() -> str | None:
        with database.connect(airflow_lake, "steward", "lake") as connection:
            found = contract_versions.in_force(connection, "dataset", "tows")
        return found.version if found else None

    questions = Questions(airflow_lake)
    refused, forgotten, agreed = (questions.ask(f"reason number {number}") for number in range(3))
    own = questions.ask("reason number 3", "admin")
    questions.until_asked(refused, forgotten, agreed, own)
    assert [questions.answer("operator", agreed, "Approve"), questions.forge("operator", agreed)] == [403, 403]
    questions.let_time_pass(forgotten)
    assert questions.answer("steward", refused, "Refuse", "ask the pound first") == 200
    questions.until("success", refused, forgotten)
    assert questions.answer("steward", refused, "Approve") == 409
    assert in_force() == "0.9.0"
    assert [questions.answer("steward", agreed, "Approve"), questions.answer("admin", own, "Refuse")] == [200, 200]
    questions.until("success", agreed, own)
    assert in_force() == document.version

    with database.connect(airflow_lake, "steward", "lake") as connection:
        given = {answer.reference: answer for answer in approvals.approvals(connection)}
        told = dict(connection.execute("select key, resolved_because from registry.alert").fetchall())
    answers = [given[f"change_contract/{unquote(run)}"] for run in (refused, forgotten, agreed, own)]
    assert [(answer.asked_by, answer.approved, answer.decided_by, answer.remark) for answer in answers] == [
        ("operator", False, "steward", "ask the pound first"),
        ("operator", False, "nobody", "no answer within 30 days"),
        ("operator", True, "steward", None),
        ("admin", False, "admin", None),
    ]
    assert {answer.subject for answer in answers} == {f"tows {document.version}"}
    for answer in answers:
        assert told[answer.reference].startswith("approved by" if answer.approved else "refused")
        receipt = object_store.get_json(
            object_store.client(airflow_lake, "steward"), approvals.BUCKET, answer.receipt_key
        )
        assert (receipt["reason"], receipt["same_person"]) == (answer.reason, answer.asked_by == "admin")


def answer_too_soon(questions: Questions) -> str:
    """Answer while the worker that asked is held before it can say that it is done; a run whose question was lost."""
    settings = questions.settings
    scheduler = next(one for one in services.status(settings) if one.name == "airflow-scheduler").pid
    workers = [psutil.Process(pid) for pid in of_service(settings, "airflow-scheduler") - {scheduler}]
    state = "select state from task_instance where run_id = %s and task_id = 'steward_decides'"
    with database.connect(settings, database.ADMIN, "airflow", autocommit=True) as connection:

        def until(run: str, *states: str) -> str:
            deadline = time.monotonic() + 120
            while (found := connection.execute(state, [unquote(run)]).fetchone()) is None or found[0] not in states:
                assert time.monotonic() < deadline, found
                time.sleep(0.005)
            return str(found[0])

        for number in range(5):  # the worker may have been faster
            run = questions.ask(f"reason number {number}")
            until(run, "awaiting_input")
            for worker in workers:
                worker.suspend()
            try:
                assert questions.answer("steward", run, "Refuse") == 200
                until(run, "queued")
            finally:
                for worker in workers:
                    worker.resume()
            if until(run, "up_for_retry", "failed", "success") != "success":
                return run
    pytest.fail("no answer came too soon")


@pytest.mark.long
def test_an_answer_that_comes_while_airflow_is_still_asking_is_asked_for_again(airflow_lake: Settings) -> None:
    until_dags_are_there(airflow_lake, {"change_contract"})
    with database.connect(airflow_lake, "publisher", "lake") as connection:
        earlier = silo_documents.named("tows").model_copy(update={"version": "0.9.0"})
        contract_versions.put_in_force(connection, earlier, clock.now(airflow_lake), None)
    questions = Questions(airflow_lake)
    run = answer_too_soon(questions)
    questions.until_asked(run)
    assert questions.answer("steward", run, "Refuse", "asked twice") == 200
    questions.until("success", run)
    with database.connect(airflow_lake, "steward", "lake") as connection:
        answer = next(one for one in approvals.approvals(connection) if one.reference.endswith(unquote(run)))
    assert (answer.decided_by, answer.remark) == ("steward", "asked twice")


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


def test_a_slow_server_is_the_only_one_blamed_and_holds_nobody_up(airflow_lake: Settings) -> None:
    held = [psutil.Process(pid) for pid in of_service(airflow_lake, "airflow-api-server")]
    for process in held:
        process.suspend()
    began = time.monotonic()
    try:
        states = {one.name: one.state for one in services.status(airflow_lake)}
    finally:
        seconds = time.monotonic() - began
        for process in held:
            process.resume()
    assert {name for name, state in states.items() if state == "failing"} == {"airflow-api-server"}
    assert {name for name, state in states.items() if state == "unknown"} == set(airflow.NAMES[1:])
    assert seconds < 30  # each was given ten, all at once; before, each that asks the slow one waited its own fifteen


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


def test_nothing_that_the_services_write_is_readable_by_others(airflow_lake: Settings) -> None:
    written = ("data", "logs", "run", "secrets")  # the rest is written by commands: see test_modes
    found = open_to_others(airflow_lake.home)
    assert [each for each in found if each.partition(" ")[2].startswith(written)] == []


# --- what Airflow ran: noted once, kept when Airflow forgets it, shown on the steward site --------------------------

DAG = "verify_marts"
PATIENCE = 300


def known(settings: Settings) -> dict[str, tuple[bool, datetime]]:
    with database.connect(settings, "publisher", "lake") as connection:
        rows = connection.execute("select run_id, succeeded, ended_at from registry.dag_run where dag_id = %s", [DAG])
        return {run_id: (succeeded, ended) for run_id, succeeded, ended in rows}


def remembered(settings: Settings) -> set[str]:
    with database.connect(settings, "airflow", "airflow") as connection:
        return {run for (run,) in connection.execute("select run_id from dag_run where dag_id = %s", [DAG])}


def make_older(settings: Settings, run_id: str, by: timedelta) -> None:
    """As if the run had been so long ago, for Airflow and for the history."""
    with database.connect(settings, "airflow", "airflow") as connection:
        connection.execute(
            "update dag_run set start_date = start_date - %(by)s, end_date = end_date - %(by)s where run_id = %(run)s",
            {"by": by, "run": run_id},
        )
    with database.connect(settings, database.ADMIN, "lake") as connection:
        connection.execute("update registry.dag_run set ended_at = ended_at - %s where run_id = %s", [by, run_id])


@pytest.mark.long
def test_runs_are_noted_once_and_stay_when_airflow_forgets_them(
    airflow_lake: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    with airflow_api.connect(airflow_lake) as api:
        following.until_known(api, [DAG])
        runs = [api.trigger(DAG) for _ in range(3)]
        for run in runs:
            assert following.until_run_is_over(api, DAG, run, seconds=PATIENCE) == "success"
    assert run_history.catch_up(airflow_lake) >= len(runs)
    before = known(airflow_lake)
    assert set(runs) <= set(before)
    run_history.catch_up(airflow_lake)
    assert known(airflow_lake) == before

    ancient, old, recent = runs
    make_older(airflow_lake, ancient, LOGS + timedelta(days=2))
    make_older(airflow_lake, old, LOGS - timedelta(days=2))
    for section in ("DATABASE", "CORE"):  # as in a task's process
        monkeypatch.setenv(f"AIRFLOW__{section}__SQL_ALCHEMY_CONN", "airflow-db-not-allowed:///")
    work.forget_runs(airflow_lake)
    assert remembered(airflow_lake) >= {old, recent}
    assert ancient not in remembered(airflow_lake) | set(known(airflow_lake))
    assert set(known(airflow_lake)) >= {old, recent}

    # A shorter memory than the history's: the site goes on telling what Airflow forgot.
    airflow_upkeep.trim(airflow_lake, datetime.now(UTC) - timedelta(days=30))
    assert old not in remembered(airflow_lake)
    assert old in known(airflow_lake)
    site = living.add(declared.gather(airflow_lake), airflow_lake)
    assert site.living is not None
    shown = {each.dag_id: each for each in site.living.runs.work}[DAG]
    assert shown.runs >= 1
    assert shown.newest_succeeded
    assert sum(day.succeeded for day in site.living.runs.days) >= shown.runs


def test_airflow_that_cannot_forget_says_why(airflow_lake: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGOPTIONS", "-c no_such_setting=1")
    with pytest.raises(ServiceError, match="no_such_setting"):
        airflow_upkeep.trim(airflow_lake, datetime.now(UTC) - LOGS)
