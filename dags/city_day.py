"""A city-day, end to end: the unit that is closed every night, and of which any number can be done again."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG, CronPartitionTimetable, Param, task
from airflow.sdk.exceptions import AirflowSkipException

from calanque.orchestration.assets import MARTS, city_days
from calanque.orchestration.failures import deadline, defaults, guarded, in_airflow
from calanque.orchestration.when import NOT_BEFORE, TIME_ZONE
from ingestion.register import Silo, silos

OWNER = "data-platform"


def bring_up_to_date(silo: Silo) -> Any:
    """The task that brings one silo's part of the day up to date."""

    @task(
        task_id=silo.name,
        doc_md=f"{silo.title}: what waits is landed and ingested; deliveries whose rows are missing, again.",
        outlets=[city_days(silo.name)],
        owner=in_airflow(silo.steward),
    )
    @guarded
    def of_silo(params: dict[str, Any], partition_key: str | None = None) -> str:
        from infra.settings import Settings
        from ingestion import backfill

        if params["silo"] not in {"all", silo.name}:
            raise AirflowSkipException(f"only {params['silo']} is asked for")
        day = backfill.city_day(partition_key)
        return backfill.days(Settings(), silo.name, day, day).sentence

    return of_silo()  # type: ignore[call-arg]


with DAG(
    dag_id="city_day",
    description="One city-day of every silo, from what was delivered to what is published; any day again by a backfill",
    doc_md="""
### City-day

One run is one day of the city, `2026-03-05`: its partition. Every night the day before yesterday is closed. For each
silo by itself, files and deliveries that wait are ingested, and deliveries of which rows are missing on that day are
ingested again from landing; then what is due is built and released. A day that is complete costs a few seconds and
changes nothing, so any day, or any range, may be done again: **Trigger > Backfill** here, with `silo` for a single one,
or `calanque backfill --from DATE --to DATE`. Published periods are immutable: `verify_marts` compares them.
""",
    # Midnight has a meaning as a bound in the form for backfills: both days that are given are included.
    schedule=CronPartitionTimetable(
        "0 0 * * *", timezone=TIME_ZONE, run_offset=-2, run_immediately=NOT_BEFORE, key_format="%Y-%m-%d"
    ),
    catchup=False,
    max_active_runs=2,
    deadline=deadline(OWNER, timedelta(hours=3)),
    tags=["city-day", "backfill"],
    params={"silo": Param("all", enum=["all", *silos()], description="One silo, or all of them.")},
    default_args=defaults(OWNER, within=timedelta(hours=2), pool="ingest"),
) as city_day:

    @task(
        doc_md="What is due is built and released, of the silos that went well.",
        outlets=[MARTS],
        trigger_rule="all_done",
        pool="marts",
    )
    @guarded
    def publish() -> list[str]:
        from calanque.orchestration import work
        from infra.settings import Settings

        released = work.publish(Settings())
        if not released:
            raise AirflowSkipException("nothing was due")
        return released

    done = [bring_up_to_date(silo) for silo in silos().values()]
    every_silo = EmptyOperator(
        task_id="every_silo",
        doc_md="Fails the run when a silo failed: its part of the day is missing, that of the others is not.",
        trigger_rule="none_failed",
        on_failure_callback=None,
        on_success_callback=None,
        on_skipped_callback=None,
    )
    done >> publish()
    done >> every_silo
