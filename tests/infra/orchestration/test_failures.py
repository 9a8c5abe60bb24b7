"""What becomes of a task that fails, and who is told."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from infra import database
from infra.orchestration import failures
from infra.settings import Settings


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


def context(dag_id: str, task_id: str) -> dict[str, Any]:
    ti = SimpleNamespace(dag_id=dag_id, task_id=task_id, try_number=4)
    return {"ti": ti, "task": SimpleNamespace(owner="Fourrière"), "run_id": "manual"}


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
    assert standing() == [("land_tows failed", "tows", "Fourrière", 2)]
    failures.settle(context("land_tows", "land"))  # another task: the failure stands
    assert len(standing()) == 1
    failures.settle(failed)
    assert standing() == []

    run = {"dag_run": {"dag_id": "city_day", "dag_run_id": "scheduled"}}
    asyncio.run(failures.late("data-platform", 60, run))
    assert standing() == [("city_day is late", None, "data-platform", 1)]
