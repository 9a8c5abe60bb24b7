"""From conformed tables to BI: build what is due, then release what passes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import reduce
from operator import or_

from airflow.sdk import DAG, AssetOrTimeSchedule, CronTriggerTimetable, task
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from ingestion.register import silos

from assets import CANDIDATES, MARTS, conformed

DEFAULTS = {
    "owner": "data-platform",
    "retries": 3,
    "retry_delay": timedelta(seconds=10),
    "retry_exponential_backoff": True,
    "execution_timeout": timedelta(hours=1),
}
START = datetime(2026, 1, 1, tzinfo=UTC)

with DAG(
    dag_id="build_marts",
    description="Candidate marts from the conformed tables, by dbt on DuckDB",
    doc_md="""
### Build candidate marts

Runs dbt in a database private to the run, for the periods that have settled and were never published, and stores the
marts whose models and tests all passed as candidates. What is due is read from the registry and the ledger, never from
the event that started the run: several events may be served by one run, and a run that finds nothing due is skipped.
""",
    # The clock as well as the assets: an event may be lost, what is due is not.
    schedule=AssetOrTimeSchedule(
        timetable=CronTriggerTimetable("7-59/15 * * * *", timezone="UTC"),
        assets=reduce(or_, (conformed(name) for name in silos())),
    ),
    start_date=START,
    catchup=False,
    max_active_runs=1,
    tags=["marts", "dbt"],
    default_args=DEFAULTS,
) as build_marts:

    @task(doc_md="dbt build into a private database, good marts to candidates.", outlets=[CANDIDATES])
    def build() -> str:
        from infra.settings import Settings
        from publication import building

        built = building.build(Settings())
        if built is None:
            raise AirflowSkipException("no mart is due")
        return built.build_id

    build()

with DAG(
    dag_id="release_marts",
    description="Candidate marts that pass their contract and the personal-data gate, to BI, Iceberg and Parquet",
    doc_md="""
### Release marts

Each candidate is checked against its contract and scanned for personal data; those that pass are released together:
one Iceberg commit and tag per mart, one PostgreSQL transaction for all, immutable Parquet with a manifest. A mart that
fails keeps its last release, does not stop the others, and fails the last task with the reason.
""",
    schedule=[CANDIDATES],
    start_date=START,
    catchup=False,
    max_active_runs=1,
    tags=["marts", "release"],
    default_args=DEFAULTS,
) as release_marts:

    @task(doc_md="Contract, personal-data gate, release.", outlets=[MARTS])
    def release() -> list[str]:
        from infra.settings import Settings
        from publication import release as releasing

        releases = releasing.release_latest(Settings())
        if not releases:
            raise AirflowSkipException("nothing changed: every mart keeps its last release")
        return [f"{released.mart} v{released.version}" for released in releases]

    @task(doc_md="Fails when a mart is behind its data, so that somebody looks.", trigger_rule="none_failed")
    def every_mart_is_current() -> None:
        from infra.settings import Settings
        from publication import report

        held = report.held_back(Settings())
        if held:
            raise AirflowFailException("; ".join(f"{mart}: {because}" for mart, because in held.items()))

    release() >> every_mart_is_current()
