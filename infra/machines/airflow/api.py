"""The few calls of Airflow's REST API that the command line and the steward site need."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from urllib.parse import quote

import httpx

from infra import endpoints, secrets
from infra.errors import ExpectedError
from infra.machines.airflow import access as airflow_access
from infra.machines.airflow import health as airflow_health
from infra.machines.airflow import servers as airflow
from infra.settings import Settings

_FINISHED = frozenset({"success", "failed"})
_PAGE = 100  # the most that Airflow gives at once
_TIMEOUT_SECONDS = 120  # a machine busy with the very tasks we follow answers late


class AirflowError(ExpectedError, RuntimeError):
    """Airflow refused a call; the message says which and why."""


class AirflowConflictError(AirflowError):
    """What was asked for is there already."""


class AirflowSilentError(AirflowError):
    """Airflow does not answer: it is away, or its machine is too busy."""


@dataclass(frozen=True)
class DagRun:
    dag_id: str
    run_id: str
    state: str
    started: datetime | None
    ended: datetime | None

    @property
    def finished(self) -> bool:
        return self.state in _FINISHED


@dataclass(frozen=True)
class EndedRun:
    """A run that is over. ``kind`` is Airflow's word: scheduled, asset_triggered, backfill, manual..."""

    dag_id: str
    run_id: str
    kind: str
    succeeded: bool
    started_at: datetime
    ended_at: datetime


@dataclass(frozen=True)
class Backfill:
    """Runs of a partitioned DAG that were asked for at once."""

    number: int
    dag_id: str
    first: date
    last: date
    created: datetime


class AirflowApi:
    """A logged-in client of one Airflow API server, to be closed after use: a context manager."""

    def __init__(self, url: str, username: str, password: str) -> None:
        self._client = httpx.Client(base_url=url, timeout=_TIMEOUT_SECONDS, trust_env=False)
        token = self._call("POST", "/auth/token", json={"username": username, "password": password})["access_token"]
        self._client.headers["Authorization"] = f"Bearer {token}"

    def __enter__(self) -> AirflowApi:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def dag_ids(self) -> set[str]:
        """Every DAG the processor has parsed so far."""
        return {dag["dag_id"] for dag in self._call("GET", "/api/v2/dags", params={"limit": 100})["dags"]}

    def import_errors(self) -> list[str]:
        """File and message of each DAG file that does not import."""
        errors = self._call("GET", "/api/v2/importErrors")["import_errors"]
        return [f"{error['filename']}: {error['stack_trace']}" for error in errors]

    def schedules(self) -> bool:
        """Whether the scheduler is well."""
        return airflow_health.state(self._call("GET", "/api/v2/monitor/health"), "scheduler") == "healthy"

    def trigger(self, dag_id: str, conf: dict[str, Any] | None = None, *, run_id: str | None = None) -> str:
        """Ask the scheduler for a run now, with these parameters; its run id.

        With a ``run_id`` of one's own it may be asked again, when no answer came: there is one run of that name.
        """
        said = {"logical_date": None, "conf": conf or {}} | ({"dag_run_id": run_id} if run_id else {})
        try:
            return str(self._call("POST", f"/api/v2/dags/{dag_id}/dagRuns", json=said)["dag_run_id"])
        except AirflowConflictError:
            if run_id is None:
                raise
            return run_id

    def state(self, dag_id: str, run_id: str) -> str:
        """The state of one run."""
        return str(self._call("GET", f"/api/v2/dags/{dag_id}/dagRuns/{quote(run_id, safe='')}")["state"])

    def returned(self, dag_id: str, run_id: str, task: str) -> Any:
        """What a task of a run returned."""
        path = f"/api/v2/dags/{dag_id}/dagRuns/{quote(run_id, safe='')}/taskInstances/{task}/xcomEntries/return_value"
        return self._call("GET", path)["value"]

    def create_backfill(self, dag_id: str, first: date, last: date, *, conf: dict[str, Any], at_once: int) -> Backfill:
        """Ask for a run of a partitioned DAG for every day from ``first`` to ``last``, done before or not.

        Raises:
            AirflowError: another backfill of this DAG is going on, or the days are in the future.
        """
        said = {
            "dag_id": dag_id,
            "from_date": f"{first}T00:00:00Z",  # Airflow reads the time on the clock in the time zone of the DAG
            "to_date": f"{last}T23:59:59Z",
            "dag_run_conf": conf,
            "max_active_runs": at_once,
            "reprocess_behavior": "completed",
        }
        made = self._call("POST", "/api/v2/backfills", json=said)
        return Backfill(made["id"], dag_id, first, last, datetime.fromisoformat(made["created_at"]))

    def is_over(self, backfill: Backfill) -> bool:
        return self._call("GET", f"/api/v2/backfills/{backfill.number}")["completed_at"] is not None

    def days(self, backfill: Backfill) -> dict[str, str]:
        """By partition, the state of its run; a day that another run was working on has none."""
        found: dict[str, str] = {}
        seen, total = 0, 1
        while seen < total:
            params = {
                "run_type": "backfill",
                "partition_date_gte": str(backfill.first),
                "partition_date_lte": str(backfill.last),
                "limit": 100,
                "offset": seen,
                "order_by": "-id",
            }
            page = self._call("GET", f"/api/v2/dags/{backfill.dag_id}/dagRuns", params=params)
            mine = [run for run in page["dag_runs"] if datetime.fromisoformat(run["queued_at"]) >= backfill.created]
            found |= {run["partition_key"]: run["state"] for run in mine}
            if len(mine) < len(page["dag_runs"]) or not mine:
                break  # the others are of earlier backfills
            seen, total = seen + len(mine), page["total_entries"]
        return dict(sorted(found.items()))

    def runs(self, since: datetime) -> list[DagRun]:
        """Every run queued at or after ``since``, of every DAG."""
        params = {"run_after_gte": since.isoformat(), "limit": 100, "order_by": "run_after"}
        return [_run(run) for run in self._call("GET", "/api/v2/dags/~/dagRuns", params=params)["dag_runs"]]

    def ended(self, since: datetime) -> Iterator[EndedRun]:
        """Every run of every DAG that ended at or after ``since``, in that order."""
        seen, total = 0, 1
        while seen < total:
            params = {
                "end_date_gte": since.isoformat(),
                "state": sorted(_FINISHED),
                "order_by": "end_date",
                "limit": _PAGE,
                "offset": seen,
            }
            page = self._call("GET", "/api/v2/dags/~/dagRuns", params=params)
            for run in page["dag_runs"]:
                ended = datetime.fromisoformat(run["end_date"])
                # One that was given a state by hand, before it began, has no beginning.
                started = datetime.fromisoformat(run["start_date"]) if run["start_date"] else ended
                succeeded = run["state"] == "success"
                yield EndedRun(run["dag_id"], run["dag_run_id"], run["run_type"], succeeded, started, ended)
            if not page["dag_runs"]:
                break
            seen, total = seen + len(page["dag_runs"]), page["total_entries"]

    def active(self) -> list[DagRun]:
        """Every run that is not over."""
        params = {"state": ["queued", "running"], "limit": 100}
        return [_run(run) for run in self._call("GET", "/api/v2/dags/~/dagRuns", params=params)["dag_runs"]]

    def pause(self, dag_id: str, *, paused: bool) -> None:
        """Have a DAG begin no run by itself, or have it do so again."""
        self._call("PATCH", f"/api/v2/dags/{dag_id}", params={"update_mask": "is_paused"}, json={"is_paused": paused})

    def note(self, dag_id: str, run_id: str, task: str, text: str) -> None:
        """Put a note on a task of a run, for whoever looks at the grid; it replaces the one before."""
        path = f"/api/v2/dags/{dag_id}/dagRuns/{quote(run_id, safe='')}/taskInstances/{task}"
        self._call("PATCH", path, params={"update_mask": "note"}, json={"note": text})

    def task_states(self, run: DagRun) -> dict[str, str]:
        """State by task of one run; a task not scheduled yet has state ``none``."""
        found = self._call("GET", f"/api/v2/dags/{run.dag_id}/dagRuns/{run.run_id}/taskInstances")
        return {task["task_id"]: task["state"] or "none" for task in found["task_instances"]}

    def has_queued_events(self, dag_id: str) -> bool:
        """Whether an asset event waits to start a run of this DAG."""
        return bool(self._call("GET", f"/api/v2/dags/{dag_id}/assets/queuedEvents")["queued_events"])

    def _call(self, method: str, path: str, **arguments: Any) -> dict[str, Any]:
        try:
            response = self._client.request(method, path, **arguments)
        except httpx.HTTPError as error:
            raise AirflowSilentError(f"Airflow does not answer {method} {path}: {type(error).__name__}") from error
        if response.is_error:
            kind = AirflowConflictError if response.status_code == httpx.codes.CONFLICT else AirflowError
            raise kind(f"Airflow answered {response.status_code} to {method} {path}: {response.text[:300]}")
        answer: dict[str, Any] = response.json()
        return answer


def connect(settings: Settings, account: str = airflow.USER) -> AirflowApi:
    """The API of a running lake, logged in as one of its generated accounts, the administrator's unless named.

    Raises:
        NotRunning: the lake is down, or runs without Airflow.
        AirflowError: Airflow does not answer.
    """
    url = endpoints.load(settings).airflow_url
    if url is None:
        raise endpoints.NotRunning(f"the lake in {settings.home} runs without Airflow: `calanque up` starts it")
    return AirflowApi(url, account, secrets.read(settings, f"{airflow_access.SECRET}{account}"))


def _run(run: dict[str, Any]) -> DagRun:
    def moment(key: str) -> datetime | None:
        return datetime.fromisoformat(run[key]) if run[key] else None

    return DagRun(run["dag_id"], run["dag_run_id"], run["state"], moment("start_date"), moment("end_date"))
