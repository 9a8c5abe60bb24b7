"""What becomes of a task that fails: tried again when that may help, told to a person when it does not."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from datetime import timedelta
from functools import wraps
from typing import Any, Final, ParamSpec, TypeVar

from airflow.sdk import AsyncCallback, DeadlineAlert, DeadlineReference  # type: ignore[attr-defined]
from airflow.sdk.exceptions import AirflowException, AirflowFailException

P = ParamSpec("P")
R = TypeVar("R")

KIND: Final = "dag-failed"

_log = logging.getLogger(__name__)


def guarded(work: Callable[P, R]) -> Callable[P, R]:
    """Have the task fail at once, without a retry, when trying again would not help (:mod:`infra.transient`)."""

    @wraps(work)
    def run(*arguments: P.args, **named: P.kwargs) -> R:
        from infra.transient import transient

        try:
            return work(*arguments, **named)
        except AirflowException:  # it says itself what is to become of the task
            raise
        except Exception as error:
            if transient(error):
                raise
            sentence = f"{type(error).__name__}: {error}"
            _log.error("%s", sentence)  # before the traceback: it is what a reader of the log looks for
            raise AirflowFailException(sentence) from error

    return run


def defaults(owner: str, *, within: timedelta, pool: str, retries: int = 3, priority: int = 1) -> dict[str, Any]:
    """The arguments of every task of a DAG.

    Args:
        owner: who has to act when it fails, as the register says it.
        within: how long one attempt may take.
        pool: how many run side by side, see :mod:`infra.machines.airflow.servers`.
        retries: after 10, 20, 40... seconds, of a fault that may pass.
        priority: a greater one gets a free place in the pool first.
    """
    return {
        "owner": in_airflow(owner),
        "pool": pool,
        "priority_weight": priority,
        "retries": retries,
        "retry_delay": timedelta(seconds=10),
        "retry_exponential_backoff": True,
        "max_retry_delay": timedelta(minutes=10),
        "execution_timeout": within,
        "on_failure_callback": tell,
        "on_success_callback": settle,
        "on_skipped_callback": settle,
    }


def in_airflow(owner: str) -> str:
    """An owner as Airflow may have it, which would take a comma for a second one."""
    return owner.replace(",", " -")


def deadline(owner: str, within: timedelta) -> DeadlineAlert:
    """Somebody is told when a run is not over ``within`` this time after it was queued. The run goes on."""
    return DeadlineAlert(
        reference=DeadlineReference.DAGRUN_QUEUED_AT,
        interval=within,
        callback=AsyncCallback(late, kwargs={"owner": owner, "minutes": round(within.total_seconds() / 60)}),
    )


def tell(context: Mapping[str, Any]) -> None:
    """A task failed for good: warn its owner, once until it succeeds again, with the reason if it is one for people."""
    from infra.settings import Settings
    from stewardship.alerts import Alert, raise_alert

    task, run = context["ti"], context.get("run_id")
    sentence = f"task {task.task_id} of DAG {task.dag_id} failed and is not tried again: {_reason(context)}"
    raise_alert(
        Settings(),
        Alert(
            kind=KIND,
            key=_key(context),
            subject=f"{task.dag_id} failed",
            silo_or_mart=task.dag_id.removeprefix("land_") if task.dag_id.startswith("land_") else None,
            owner=_owner(context),
            sentence=sentence,
            details={"dag": task.dag_id, "task": task.task_id, "run": run, "attempt": task.try_number},
        ),
    )


def settle(context: Mapping[str, Any]) -> None:
    """A task did its work: what was told of its failure is over."""
    from infra.settings import Settings
    from stewardship.alerts import resolve_alert

    resolve_alert(Settings(), KIND, _key(context), "it succeeded since")


async def late(owner: str, minutes: int, context: Mapping[str, Any]) -> None:
    """A run is not over in time. Called by the triggerer."""
    await asyncio.to_thread(_late, owner, minutes, context)


def _late(owner: str, minutes: int, context: Mapping[str, Any]) -> None:
    from infra.settings import Settings
    from stewardship.alerts import Alert, raise_alert

    dag_id, run_id = context["dag_run"]["dag_id"], context["dag_run"]["dag_run_id"]
    raise_alert(
        Settings(),
        Alert(
            kind=KIND,
            key=f"{dag_id} late {run_id}",
            subject=f"{dag_id} is late",
            silo_or_mart=None,
            owner=owner,
            sentence=f"a run of DAG {dag_id} is not over {minutes} minutes after it was queued",
            details={"dag": dag_id, "run": run_id},
        ),
    )


def _reason(context: Mapping[str, Any]) -> str:
    """What the error says when it was written for whoever has to act; of any other, which may quote data, nothing.

    What a DAG itself fails with has no cause.
    """
    from calanque.orchestration.work import MartsHeldError
    from ingestion.pipeline import IngestionError
    from privacy.spending import RefusedError

    error = context.get("exception")
    while isinstance(error, BaseException):
        of_dag = isinstance(error, AirflowFailException) and error.__cause__ is None
        if of_dag or isinstance(error, IngestionError | MartsHeldError | RefusedError):
            return str(error)
        error = error.__cause__
    return "its log says why"


def _owner(context: Mapping[str, Any]) -> str:
    """The owner of a task, as the register calls its stewards."""
    from ingestion.register import silos

    owner = str(getattr(context.get("task"), "owner", "data-platform"))
    return next((silo.steward for silo in silos().values() if in_airflow(silo.steward) == owner), owner)


def _key(context: Mapping[str, Any]) -> str:
    return f"{context['ti'].dag_id}.{context['ti'].task_id}"
