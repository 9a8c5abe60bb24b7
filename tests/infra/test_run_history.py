"""What Airflow ran, from a real Airflow: noted once, kept when Airflow forgets it, and shown on the steward site."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from infra import airflow_api, database, run_history
from infra.cli import following
from infra.orchestration import work
from infra.services import airflow_upkeep
from infra.services.model import ServiceError
from infra.settings import Settings
from infra.site import declared, living
from ingestion.retention.limits import LOGS

pytestmark = [pytest.mark.live, pytest.mark.airflow, pytest.mark.slow]

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
