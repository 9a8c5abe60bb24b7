"""What Airflow remembers, kept to a limit: its runs, tasks and events would grow for as long as a lake lives."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import datetime
from pathlib import Path

from infra.machines.airflow import servers as airflow
from infra.machines.services.model import ServiceError
from infra.settings import Settings

_KEPT_FROM_TASKS = "airflow-db-not-allowed:"
"""What Airflow has for its database's address in a task's process, so that no task's code opens it by accident."""
_BATCH = 10_000


def trim(settings: Settings, before: datetime) -> None:
    """Delete runs, tasks, events and messages older than ``before`` from Airflow's database, by Airflow's own means.

    The newest run of every DAG stays, since the next one is reckoned from it. ``before`` is a time of Airflow's clock,
    the machine's.

    Raises:
        ServiceError: Airflow could not; the message ends with what it said.
    """
    environment = {name: value for name, value in os.environ.items() if not value.startswith(_KEPT_FROM_TASKS)}
    if (airflow.home(settings) / "airflow.cfg").exists():  # in a container, the image's environment says it all
        environment |= airflow.environment(settings)
    options = ("--clean-before-timestamp", before.isoformat(), "--batch-size", str(_BATCH))
    outcome = subprocess.run(
        (
            str(Path(sys.executable).parent / "airflow"),
            *("db", "clean", *options, "--skip-archive", "--error-on-cleanup-failure", "--yes"),
        ),
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if outcome.returncode:
        said = "\n".join(outcome.stdout.splitlines()[-15:])
        raise ServiceError(f"Airflow could not delete its old runs:\n{said}")
