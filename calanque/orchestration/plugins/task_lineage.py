"""Airflow's part of the lineage: each DAG run and each attempt of a task is a run of its own.

What a task starts (a delivery that is ingested, a mart that is built) finds in the environment who started it. The
events go the way of all others: to files first. The provider of Airflow's own would load half a second of client in
every task, and keep a pool of processes beside the scheduler (decision 16).
"""

from __future__ import annotations

import os
import uuid
from typing import Any

from airflow.listeners import hookimpl
from airflow.plugins_manager import AirflowPlugin

from infra.openlineage import facets, outbox, runs
from infra.openlineage.names import Name
from infra.openlineage.runs import PARENT, ROOT, Run
from infra.settings import Settings


def _dag_run(settings: Settings, dag_id: str, run_id: str) -> Run:
    """The same run for whichever process tells of it."""
    identity = f"{settings.openlineage_namespace}/{settings.home}/{dag_id}/{run_id}"
    return Run(
        settings,
        dag_id,
        facets.job_type("AIRFLOW", "DAG"),
        run_id=str(uuid.uuid5(uuid.NAMESPACE_URL, identity)),
        parent={},
    )


def _attempt(task: Any, run_id: str | None = None) -> Run:
    """An attempt of a task; under a new id, or the one that this process gave it."""
    settings = Settings()
    dag_run = _dag_run(settings, task.dag_id, task.run_id)
    job = f"{task.dag_id}.{task.task_id}"
    return Run(
        settings,
        job,
        facets.job_type("AIRFLOW", "TASK"),
        run_id=run_id or runs.new_id(),
        parent=facets.parent(
            Name(settings.openlineage_namespace, task.dag_id),
            dag_run.run_id,
            Name(settings.openlineage_namespace, task.dag_id),
            dag_run.run_id,
        ),
    )


def _about(task: Any, state: str) -> facets.Facets:
    return {
        "calanque_airflow": facets.own(
            dagId=task.dag_id,
            taskId=task.task_id,
            dagRunId=task.run_id,
            tryNumber=task.try_number,
            mapIndex=task.map_index,
            state=state,
        )
    }


class Listener:
    """Called by Airflow, in the task's own process for tasks, in the scheduler for DAG runs."""

    def __init__(self) -> None:
        self._running: dict[tuple[str, str, str, int, int], str] = {}

    @hookimpl
    def on_task_instance_running(self, task_instance: Any) -> None:
        with runs.never_failing():
            attempt = _attempt(task_instance)
            self._running[_identity(task_instance)] = attempt.run_id
            os.environ[PARENT] = attempt.id_in_environment
            dag_run = _dag_run(attempt.settings, task_instance.dag_id, task_instance.run_id)
            os.environ[ROOT] = dag_run.id_in_environment
            attempt.start()

    @hookimpl
    def on_task_instance_success(self, task_instance: Any) -> None:
        self._end(task_instance, "success")

    @hookimpl
    def on_task_instance_skipped(self, task_instance: Any) -> None:
        self._end(task_instance, "skipped")

    @hookimpl
    def on_task_instance_failed(self, task_instance: Any, error: str | BaseException | None) -> None:
        # Its type only: what an exception says may quote a value.
        self._end(task_instance, "failed", type(error).__name__ if isinstance(error, BaseException) else "failed")

    def _end(self, task_instance: Any, state: str, error: str | None = None) -> None:
        with runs.never_failing():
            run_id = self._running.pop(_identity(task_instance), None)
            if run_id is None:
                return  # set by hand in the UI: no process ran it
            attempt = _attempt(task_instance, run_id)
            if error is None:
                attempt.complete(run_facets=_about(task_instance, state))
            else:
                attempt.fail(error, run_facets=_about(task_instance, state))
            outbox.send(attempt.settings)

    @hookimpl
    def on_dag_run_running(self, dag_run: Any) -> None:
        with runs.never_failing():
            _dag_run(Settings(), dag_run.dag_id, dag_run.run_id).start()

    @hookimpl
    def on_dag_run_success(self, dag_run: Any) -> None:
        with runs.never_failing():
            _dag_run(Settings(), dag_run.dag_id, dag_run.run_id).complete()

    @hookimpl
    def on_dag_run_failed(self, dag_run: Any) -> None:
        with runs.never_failing():
            _dag_run(Settings(), dag_run.dag_id, dag_run.run_id).fail("a task of it failed")


def _identity(task: Any) -> tuple[str, str, str, int, int]:
    return task.dag_id, task.task_id, task.run_id, task.map_index, task.try_number


class CalanqueLineage(AirflowPlugin):
    name = "calanque_lineage"
    listeners = [Listener()]  # noqa: RUF012 - as Airflow reads it
