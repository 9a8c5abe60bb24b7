"""What becomes of a task that fails, and who is told."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from calanque.orchestration import failures
from infra import database
from infra.settings import Settings
from ingestion.pipeline import IngestionError
from ingestion.register import silos
from privacy.spending import RefusedError
from stewardship.alerts import Alert


@pytest.mark.parametrize(
    ("raised", "seen"),
    [
        (ConnectionRefusedError(111, "refused"), ConnectionRefusedError),
        (TimeoutError(), TimeoutError),
        (PermissionError(13, "not allowed"), AirflowFailException),
        (ValueError("wrong"), AirflowFailException),
        (AirflowSkipException("nothing to do"), AirflowSkipException),
    ],
)
def test_only_what_may_pass_is_tried_again(raised: Exception, seen: type[Exception]) -> None:
    @failures.guarded
    def work() -> None:
        raise raised

    with pytest.raises(seen) as caught:
        work()
    assert type(caught.value) is seen
    assert str(raised) in str(caught.value)


def test_the_guard_keeps_the_signature_by_which_airflow_gives_arguments() -> None:
    @failures.guarded
    def work(before: int, *, params: dict[str, Any]) -> int:
        return before + len(params)

    assert work(1, params={"a": 1}) == 2
    assert work.__name__ == "work"


def context(dag_id: str, task_id: str, error: Exception | None = None) -> dict[str, Any]:
    ti = SimpleNamespace(dag_id=dag_id, task_id=task_id, try_number=4)
    owner = failures.in_airflow(silos()["tows"].steward)
    return {"ti": ti, "task": SimpleNamespace(owner=owner), "run_id": "manual", "exception": error}


@pytest.mark.parametrize(
    ("raised", "told"),
    [
        (IngestionError(["tows: a.csv: no space is left"], [], []), "tows: a.csv: no space is left"),
        (RefusedError("no unit of tows_delay was ever published"), "no unit of tows_delay was ever published"),
        (AirflowFailException("landing: 3 objects are past their limit"), "landing: 3 objects are past their limit"),
        (ValueError("AB-123-CD is no date"), "its log says why"),
    ],
)
def test_a_warning_has_the_reason_when_it_is_one_for_people(
    raised: Exception, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Any other error may quote a delivery."""
    alerts: list[Alert] = []
    monkeypatch.setattr("stewardship.alerts.raise_alert", lambda _, alert: alerts.append(alert))

    @failures.guarded
    def work() -> None:
        raise raised

    with pytest.raises(AirflowFailException) as caught:
        work()
    failures.tell(context("land_tows", "ingest", caught.value))
    assert alerts[0].sentence == f"task ingest of DAG land_tows failed and is not tried again: {told}"


@pytest.mark.live
def test_a_failure_is_told_once_until_it_is_over(lake: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in lake.environment().items():
        monkeypatch.setenv(name, value)
    failed = context("land_tows", "ingest")

    def standing() -> list[tuple[Any, ...]]:
        with database.connect(lake, "pipeline", "lake") as connection:
            return connection.execute(
                "select subject, silo_or_mart, owner, count from registry.alert"
                " where kind = 'dag-failed' and resolved_at is null order by alert_id"
            ).fetchall()

    failures.tell(failed)
    failures.tell(failed)
    assert standing() == [("land_tows failed", "tows", silos()["tows"].steward, 2)]
    failures.settle(context("land_tows", "land"))  # another task: the failure stands
    assert len(standing()) == 1
    failures.settle(failed)
    assert standing() == []

    run = {"dag_run": {"dag_id": "city_day", "dag_run_id": "scheduled"}}
    asyncio.run(failures.late("data-platform", 60, run))
    assert standing() == [("city_day is late", None, "data-platform", 1)]
