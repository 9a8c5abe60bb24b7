"""Who may decide: beside a running Airflow its stewards do, and a command asks them."""

from __future__ import annotations

import getpass
import uuid
from typing import Any

import typer

from infra.calendar import clock
from infra.endpoints import NotRunning, load
from infra.machines.airflow import api as airflow_api
from infra.settings import Settings
from stewardship.approvals import Approval, Kind


def has_airflow(settings: Settings) -> bool:
    """Whether this lake runs with Airflow."""
    try:
        return load(settings).airflow_url is not None
    except NotRunning:
        return False


def ask(settings: Settings, dag_id: str, conf: dict[str, Any], login: str | None) -> str:
    """Put a question to the stewards: start ``dag_id`` with ``conf``; where it is answered.

    Asks as the Airflow ``login`` of a person, whose password is asked for; as the administrator, without one.

    Raises:
        infra.machines.airflow.api.AirflowError: Airflow refused it.
    """
    url = load(settings).airflow_url or ""
    if login is None:
        api = airflow_api.connect(settings)
    else:
        api = airflow_api.AirflowApi(url, login, typer.prompt(f"Airflow password of {login}", hide_input=True))
    with api:
        run_id = api.trigger(dag_id, conf)
    return f"{url}/dags/{dag_id}/runs/{run_id}/required_actions"


def decided_here(settings: Settings, kind: Kind, subject: str, reason: str) -> Approval:
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
