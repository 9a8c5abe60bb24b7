"""Once a day: nothing stays longer than it may."""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG, task
from airflow.sdk.exceptions import AirflowException, AirflowFailException

from calanque.orchestration.failures import deadline, defaults, guarded
from calanque.orchestration.when import at

OWNER = "data-protection"

with DAG(
    dag_id="retention",
    description="What is past its limit leaves every zone, and a receipt says so",
    doc_md="""
### Retention

Removes, in every zone, what is older than the register allows: delivered bytes and their old versions, quarantine, the
days of conformed tables with the snapshots and files that held them, candidates, scratch, logs, and the keys whose
month is over. It then lists every zone again and stores what it removed and found as `retention/<date>.json` in bucket
`receipts`. A zone that could not be cleaned does not stop the others, and is tried again; anything still past its limit
fails the task, with a sentence for each. After it, Airflow forgets its own runs, tasks and events that are older than
logs may be; the newest of each DAG stays.

Running it again is always safe; beside ingestion and builds too.
""",
    schedule=at("37 4 * * *"),
    catchup=False,
    max_active_runs=1,
    deadline=deadline(OWNER, timedelta(hours=6)),
    tags=["retention"],
    default_args=defaults(OWNER, within=timedelta(hours=4), pool="ingest"),
) as retention:

    @task(doc_md="Every zone cleaned, due keys destroyed, disk space given back, and everything listed again.")
    @guarded
    def keep_to_the_limits(run_id: str | None = None) -> None:
        from infra.settings import Settings
        from stewardship.retention import job

        outcome = job.run(Settings(), run_id=str(run_id))
        if outcome.failures:
            raise AirflowException("; ".join(outcome.failures))
        if outcome.overdue:
            raise AirflowFailException("; ".join(outcome.overdue))

    @task(doc_md="Airflow's own old runs, tasks and events deleted, once the steward site's history has them.")
    @guarded
    def forget_runs() -> None:
        from calanque.orchestration import work
        from infra.settings import Settings

        work.forget_runs(Settings())

    keep_to_the_limits() >> forget_runs()
