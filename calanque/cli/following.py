"""Waiting for Airflow: until it knows our DAGs, and until their runs, and the runs these cause, are over.

Nothing is given up while anything moves: a task that runs under a scheduler that is well, or any change of state.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from infra.machines.airflow.api import AirflowApi, AirflowError, AirflowSilentError, DagRun
from infra.progress import Patience

T = TypeVar("T")

_POLL_SECONDS = 1.0
_NOT_YET = frozenset({"none", "scheduled", "queued"})


@dataclass(frozen=True)
class Step:
    """A task of a run that came to a state."""

    dag_id: str
    task: str
    state: str


def answered(ask: Callable[[], T], seconds: float, far: Callable[[str], None] = lambda _: None) -> T:
    """What Airflow answers; asked again, for ``seconds``, when it is too busy to. ``ask`` must bear to be asked twice.

    Raises:
        AirflowSilentError: it never answered.
    """
    patience = Patience(seconds)
    while True:
        try:
            return ask()
        except AirflowSilentError as silent:
            if patience.over:
                raise
            far(str(silent))
            time.sleep(_POLL_SECONDS)


def until_known(
    api: AirflowApi, dag_ids: Iterable[str], seconds: float = 600, far: Callable[[str], None] = lambda _: None
) -> None:
    """Wait until the DAG processor has parsed all these DAGs; ``far`` is told how many there are.

    Raises:
        AirflowError: a DAG file does not import, or there is no new DAG for ``seconds``.
    """
    wanted, patience = set(dag_ids), Patience(seconds)
    while missing := wanted - answered(api.dag_ids, seconds, far):
        if errors := answered(api.import_errors, seconds, far):
            raise AirflowError("a DAG file does not import:\n" + "\n".join(errors))
        far(f"{len(wanted) - len(missing)} of {len(wanted)} DAGs")
        patience.look(missing)
        if patience.over:
            raise AirflowError(f"the DAG processor does not show {', '.join(sorted(missing))}: see its log")
        time.sleep(_POLL_SECONDS)


def until_over(
    api: AirflowApi,
    dag_ids: Iterable[str],
    then: Iterable[str],
    *,
    since: datetime,
    seconds: float,
    tell: Callable[[Step], None] = lambda _: None,
    far: Callable[[str], None] = lambda _: None,
) -> list[DagRun]:
    """Follow the runs of these DAGs since ``since`` until each of ``dag_ids`` ran, none of them runs any more and none
    is about to begin. What other DAGs do (watch, make the site) is not waited for.

    Args:
        api: of the Airflow to follow.
        dag_ids: DAGs of which a run must be over.
        then: DAGs that assets start: none of them may have an event that waits for its run.
        since: runs queued before do not count.
        seconds: how long nothing may move: no task runs, no state changes.
        tell: called once with each step, as it is seen.
        far: told what runs, at every look.

    Returns:
        The runs of these DAGs, finished.

    Raises:
        AirflowError: nothing moved for ``seconds``; the message names the runs that are not over.
    """
    wanted, started_by_assets, told = set(dag_ids), tuple(then), set[Step]()
    followed = wanted.union(started_by_assets)
    patience = Patience(seconds)
    before: list[DagRun] | None = None  # the runs, once all of them were over
    waiting: list[str] = []
    runs: list[DagRun] = []
    while True:
        try:
            # Asked before looking at the runs: an event that is gone by then has become one of them.
            waiting = [dag_id for dag_id in started_by_assets if api.has_queued_events(dag_id)]
            runs = [run for run in api.runs(since) if run.dag_id in followed]
            steps = [Step(run.dag_id, *task) for run in runs for task in api.task_states(run).items()]
            running = sorted(f"{step.dag_id}.{step.task}" for step in steps if step.state == "running")
            if running and api.schedules():
                patience.moved()
            patience.look((runs, steps, waiting))
            far(_how_far(runs, running, waiting))
        except AirflowSilentError as silent:  # busy perhaps: asked again, and nothing is seen to move meanwhile
            if patience.over:
                raise
            far(str(silent))
            time.sleep(_POLL_SECONDS)
            continue
        for step in steps:
            if step.state not in _NOT_YET and step not in told:
                told.add(step)
                tell(step)
        over = all(run.finished for run in runs) and {run.dag_id for run in runs} >= wanted
        if over and not waiting and runs == before:
            return runs
        before = runs if over else None
        if patience.over:
            unfinished = ", ".join(f"{run.dag_id} ({run.state})" for run in runs if not run.finished)
            what = unfinished or f"nothing runs, and {', '.join(sorted(waiting or wanted))} did not begin"
            raise AirflowError(
                f"nothing has moved in Airflow for {seconds / 60:.0f} minutes: {what}; look at its UI or at "
                "`calanque status`"
            )
        time.sleep(_POLL_SECONDS)


def until_run_is_over(api: AirflowApi, dag_id: str, run_id: str, *, seconds: float) -> str:
    """Wait for one run; its final state.

    Raises:
        AirflowError: it takes longer than ``seconds``.
    """
    deadline = time.monotonic() + seconds
    while (state := answered(lambda: api.state(dag_id, run_id), seconds)) not in {"success", "failed"}:
        if time.monotonic() > deadline:
            raise AirflowError(f"run {run_id} of {dag_id} is not over in time: it is {state}")
        time.sleep(_POLL_SECONDS)
    return state


def _how_far(runs: list[DagRun], running: list[str], waiting: list[str]) -> str:
    states = Counter(run.state for run in runs)
    counts = ", ".join(f"{count} {state}" for state, count in sorted(states.items())) or "none yet"
    doing = f"; at work: {', '.join(running)}" if running else ""
    next_ones = f"; next: {', '.join(waiting)}" if waiting else ""
    return f"runs: {counts}{doing}{next_ones}"
