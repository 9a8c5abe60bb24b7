"""Airflow is waited for as long as anything moves in it, and no longer."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import chain, repeat
from typing import cast

import pytest

from calanque.cli import following
from infra.machines.airflow.api import AirflowApi, AirflowError, AirflowSilentError, DagRun

SINCE = datetime(2026, 3, 1, tzinfo=UTC)
SECONDS = 0.1


class Played:
    """An Airflow in which a task of one run has these states, a look each; None is no answer."""

    def __init__(self, states: Iterator[str | None], *, well: bool = True) -> None:
        self._states = states
        self._well = well
        self.looks = 0

    def has_queued_events(self, _dag_id: str) -> bool:
        return False

    def schedules(self) -> bool:
        return self._well

    def runs(self, _since: datetime) -> list[DagRun]:
        self.looks += 1
        state = next(self._states)
        if state is None:
            raise AirflowSilentError("Airflow does not answer")
        self._now = state
        run = "success" if state == "success" else "running"
        return [DagRun("land_tows", "run", run, None, None)]

    def task_states(self, _run: DagRun) -> dict[str, str]:
        return {"land": self._now}


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "_POLL_SECONDS", SECONDS / 10)


def follow(airflow: Played) -> tuple[list[DagRun], list[str]]:
    said: list[str] = []
    runs = following.until_over(
        cast("AirflowApi", airflow), ["land_tows"], (), since=SINCE, seconds=SECONDS, far=said.append
    )
    return runs, said


def test_a_task_that_runs_is_waited_for_however_long_and_named() -> None:
    airflow = Played(chain(repeat("running", 40), repeat("success")))
    runs, said = follow(airflow)
    assert [run.state for run in runs] == ["success"]
    assert airflow.looks > 40
    assert "runs: 1 running; at work: land_tows.land" in said


def test_an_airflow_too_busy_to_answer_is_asked_again() -> None:
    runs, _ = follow(Played(chain(["running", None, None, "running"], repeat("success"))))
    assert [run.state for run in runs] == ["success"]


@pytest.mark.parametrize(
    ("states", "well"), [(repeat("queued"), True), (repeat("running"), False), (repeat(None), True)]
)
def test_what_does_not_move_is_given_up(states: Iterator[str | None], well: bool) -> None:
    with pytest.raises(AirflowError, match=r"nothing has moved|does not answer"):
        follow(Played(states, well=well))


def test_a_question_that_nobody_answers_is_asked_again_and_then_given_up() -> None:
    answers = iter([None, None, "here"])

    def ask() -> str:
        answer = next(answers)
        if answer is None:
            raise AirflowSilentError("Airflow does not answer")
        return answer

    assert following.answered(ask, 10) == "here"
    with pytest.raises(AirflowSilentError):
        following.answered(lambda: Played(repeat(None)).runs(SINCE), SECONDS)
