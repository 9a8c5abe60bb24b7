"""Who may decide: beside a running Airflow its stewards do, and a command asks them."""

from __future__ import annotations

import getpass
import uuid
from typing import Literal

from infra import airflow_api, clock
from infra.endpoints import NotRunning, load
from infra.settings import Settings
from publication.approvals import Approval


class StewardNeededError(RuntimeError):
    """Something that a steward has to approve in Airflow; the message says where."""


def has_airflow(settings: Settings) -> bool:
    """Whether this lake runs with Airflow."""
    try:
        return load(settings).airflow_url is not None
    except NotRunning:
        return False


def ask(settings: Settings, dag_id: str, conf: dict[str, str]) -> str:
    """Put a question to the stewards: start ``dag_id`` with ``conf``; where it is answered.

    Raises:
        infra.cli.airflow_api.AirflowError: Airflow refused it.
    """
    with airflow_api.connect(settings) as api:
        run_id = api.trigger(dag_id, conf)
    return f"{load(settings).airflow_url}/dags/{dag_id}/runs/{run_id}/required_actions"


def refuse_beside_airflow(settings: Settings, dag_id: str) -> None:
    """Stop when a steward can be asked.

    Raises:
        StewardNeededError: the lake runs with Airflow.
    """
    if has_airflow(settings):
        raise StewardNeededError(
            f"this lake runs with Airflow, where a steward has to approve it: trigger DAG {dag_id} at "
            f"{load(settings).airflow_url}/dags/{dag_id}"
        )


def decided_here(settings: Settings, kind: Literal["correction", "contract"], subject: str, reason: str) -> Approval:
    """The approval of whoever typed the command, where no Airflow runs to ask a steward."""
    now, who = clock.now(settings), f"{getpass.getuser()} (command line)"
    return Approval(
        reference=f"command/{uuid.uuid4()}",
        kind=kind,
        subject=subject,
        reason=reason,
        asked_by=who,
        asked_at=now,
        approved=True,
        decided_by=who,
        decided_at=now,
    )
