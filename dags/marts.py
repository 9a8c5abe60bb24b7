"""From conformed tables to BI: build what is due, then release what passes; once a week, compare all that is out."""

from __future__ import annotations

from datetime import date, timedelta
from functools import reduce
from operator import or_
from typing import Any

from airflow.sdk import DAG, AssetOrTimeSchedule, Param, task
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from calanque.orchestration.assets import CANDIDATES, MARTS, PUBLISHED, conformed, mart
from calanque.orchestration.failures import deadline, defaults, guarded
from calanque.orchestration.when import at
from ingestion.register import silos

OWNER = "data-platform"
DEFAULTS = defaults(OWNER, within=timedelta(hours=1), pool="marts")

with DAG(
    dag_id="build_marts",
    description="Candidate marts from the conformed tables, by dbt on DuckDB",
    doc_md="""
### Build candidate marts

Runs dbt in a database private to the run, for the periods that have settled and were never published, and stores the
marts whose models and tests all passed as candidates. What is due is read from the registry and the ledger, never from
the event that started the run: several events may be served by one run, and a run that finds nothing due is skipped.
""",
    # The clock as well as the assets: an event may be lost, and a period settles without one.
    schedule=AssetOrTimeSchedule(timetable=at("7 * * * *"), assets=reduce(or_, (conformed(name) for name in silos()))),
    catchup=False,
    max_active_runs=1,
    deadline=deadline(OWNER, timedelta(hours=1)),
    tags=["marts", "dbt"],
    default_args=DEFAULTS,
) as build_marts:

    @task(doc_md="dbt build into a private database, good marts to candidates.", outlets=[CANDIDATES])
    @guarded
    def build(*, outlet_events: Any = None) -> str:
        from infra.settings import Settings
        from publication.builds import building

        built = building.build(Settings())
        if built is None:
            raise AirflowSkipException("no mart is due")
        outlet_events[CANDIDATES].extra = {"seconds": {each.mart.name: round(each.seconds, 1) for each in built.good}}
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
    catchup=False,
    max_active_runs=1,
    deadline=deadline(OWNER, timedelta(minutes=30)),
    tags=["marts", "release"],
    default_args=DEFAULTS,
) as release_marts:

    @task(doc_md="Contract, personal-data gate, release.", outlets=[MARTS, PUBLISHED])
    @guarded
    def release(*, outlet_events: Any = None) -> list[str]:
        from infra.settings import Settings
        from publication.releases import release as releasing

        releases = releasing.release_latest(Settings())
        if not releases:
            raise AirflowSkipException("nothing changed: every mart keeps its last release")
        for released in releases:
            outlet_events[PUBLISHED].add(
                mart(released.mart), extra={"version": released.version, "rows": released.rows}
            )
        return [f"{released.mart} v{released.version}" for released in releases]

    @task(doc_md="Fails when a mart is behind its data, so that somebody looks.", trigger_rule="none_failed")
    @guarded
    def every_mart_is_current() -> None:
        from infra.settings import Settings
        from publication import report

        held = report.held_back(Settings())
        if held:
            raise AirflowFailException("; ".join(f"{mart}: {because}" for mart, because in held.items()))

    release() >> every_mart_is_current()

with DAG(
    dag_id="verify_marts",
    description="Every published period built again from what the lake holds now, and compared byte for byte",
    doc_md="""
### Verify marts

Builds published periods again, in the edition they were published in, and compares them with what the ledger says was
published. Nothing is published. It fails, and names each period, when one would come out otherwise: rows were lost,
changed or came late in a way that nobody accounted for. What another version of a mart's code makes otherwise is told,
and proves nothing. It also fails, and says why, when it proved nothing or left out more than it compared. Every week
for all that is out; `calanque backfill` runs it for the days it touched (`first` and `last`, as `2026-03-05`).
""",
    schedule=at("10 3 * * 0"),
    catchup=False,
    max_active_runs=1,
    deadline=deadline(OWNER, timedelta(hours=3)),
    tags=["marts", "verify"],
    params={
        "first": Param(None, type=["null", "string"], format="date", description="Only periods that reach this day."),
        "last": Param(None, type=["null", "string"], format="date", description="Only periods that begin by this day."),
    },
    default_args=defaults(OWNER, within=timedelta(hours=3), pool="marts"),
) as verify_marts:

    @task(doc_md="Published periods built again and compared; the number of those that are the same.")
    @guarded
    def compare(params: dict[str, Any]) -> int:
        from infra.settings import Settings
        from publication.builds.rebuilding import rebuild

        first, last = (date.fromisoformat(params[bound]) if params[bound] else None for bound in ("first", "last"))
        return rebuild(Settings(), first=first, last=last).same

    compare()  # type: ignore[call-arg]
