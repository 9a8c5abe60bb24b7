"""What Airflow ran, kept in the registry: Airflow forgets after a year, and is asked only for what is new."""

from __future__ import annotations

from dataclasses import astuple
from datetime import UTC, datetime, timedelta

import psycopg

from infra import catalog, database, endpoints
from infra.machines.airflow import api as airflow_api
from infra.settings import Settings

READER = "viewer"
"""Airflow's account that is asked."""
ROLE = "publisher"

_OVERLAP = timedelta(hours=1)
"""Asked for again each time: the end of a run is seen a moment after its date."""
_EVER = datetime.fromtimestamp(0, UTC)


def catch_up(settings: Settings) -> int:
    """Note every run that ended since the newest one that is known; how many were new or ended otherwise.

    A lake that runs without Airflow has none.

    Raises:
        infra.endpoints.NotRunning: the lake is not up.
        infra.machines.airflow.api.AirflowError: Airflow does not answer.
    """
    if endpoints.load(settings).airflow_url is None:
        return 0
    with (
        database.connect(settings, ROLE, catalog.DATABASE) as connection,
        airflow_api.connect(settings, READER) as api,
    ):
        runs = [astuple(run) for run in api.ended(_known_until(connection))]
        with connection.cursor() as cursor:
            cursor.executemany(
                """
                insert into registry.dag_run (dag_id, run_id, kind, succeeded, started_at, ended_at)
                values (%s, %s, %s, %s, %s, %s)
                on conflict (dag_id, run_id) do update set
                    succeeded = excluded.succeeded, started_at = excluded.started_at, ended_at = excluded.ended_at
                where (dag_run.succeeded, dag_run.ended_at) is distinct from (excluded.succeeded, excluded.ended_at)
                """,
                runs,
            )
            return max(cursor.rowcount, 0)


def forget(settings: Settings, before: datetime) -> int:
    """Delete the runs that ended before; how many there were."""
    with database.connect(settings, "retention", catalog.DATABASE) as connection:
        return connection.execute("delete from registry.dag_run where ended_at < %s", [before]).rowcount


def _known_until(connection: psycopg.Connection) -> datetime:
    row = connection.execute("select max(ended_at) from registry.dag_run").fetchone()
    assert row is not None  # noqa: S101 (an aggregate has a row)
    newest: datetime | None = row[0]
    return newest - _OVERLAP if newest else _EVER
