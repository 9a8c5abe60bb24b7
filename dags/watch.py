"""Looks at the lake and warns people: every quarter of an hour, and once a day at everything that is kept."""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG, task
from airflow.sdk.exceptions import AirflowException

from calanque.orchestration.failures import deadline, defaults, guarded
from calanque.orchestration.when import at

OWNER = "data-platform"
DOC = """
### {title}

Compares what came with what is expected (`Silo.expectations` of the register): silos that are too old, days with too
few or too many rows, deliveries refused or parked or with more rows quarantined or warned of than usual; marts held
back, the store, the disk. {more}

What stands is told once, by e-mail and webhook as the settings say, and told again when it is over. A message that
could not be sent is sent by the next run. `calanque watch` does the same by hand; every kind has its runbook.
"""


def watch_dag(dag_id: str, *, daily: bool, cron: str, within: timedelta) -> DAG:
    title = "Watch, everything" if daily else "Watch"
    more = (
        "Then what takes longer: that nothing is kept past its limit, and that the ledger and everything published "
        "are still what they were."
        if daily
        else ""
    )
    with DAG(
        dag_id=dag_id,
        description="What a person has to know of, told once" + (", the long checks included" if daily else ""),
        doc_md=DOC.format(title=title, more=more),
        schedule=at(cron),
        catchup=False,
        max_active_runs=1,
        deadline=deadline(OWNER, 2 * within),
        tags=["watch"],
        default_args=defaults(OWNER, within=within, pool="default_pool"),
    ) as dag:

        @task(doc_md="Every check made, what stands raised, what is over resolved, what waits sent.")
        @guarded
        def check() -> dict[str, int]:
            from infra.settings import Settings
            from stewardship.watch import watch

            found = watch(Settings(), daily=daily)
            if found.failures:
                raise AirflowException("; ".join(found.failures))
            return {"begun": len(found.begun), "over": len(found.over), "standing": len(found.standing)}

        check()
    return dag


watch = watch_dag("watch", daily=False, cron="*/15 * * * *", within=timedelta(minutes=10))
watch_daily = watch_dag("watch_daily", daily=True, cron="23 6 * * *", within=timedelta(hours=2))
