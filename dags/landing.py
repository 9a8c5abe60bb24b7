"""One DAG per registered silo: land what was delivered, then check, conform and commit it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import DAG, AssetOrTimeSchedule, task
from airflow.sdk.exceptions import AirflowSkipException

from calanque.orchestration.assets import city_days, conformed, dropped
from calanque.orchestration.failures import deadline, defaults, guarded
from calanque.orchestration.when import at
from ingestion.register import Silo, silos

DOC = """
### {title}

{purpose}

*Steward:* {steward}. *Legal basis:* {legal_basis}. *Looked at anyway:* `{cadence}`.

1. **land** moves every file of the silo's drop folder into the bucket `landing`, untouched and content-addressed.
2. **ingest** opens each landed delivery, checks it against its contract, conforms it (pseudonyms, zone, time), checks
   it again and commits it to the Iceberg tables, exactly once. Rows that break a rule go to `quarantine`; a delivery
   that cannot be read is refused with a sentence. See the receipts for every figure.

A file that is complete in the drop folder starts a run within seconds; the cadence is the net below. Running it again
is always safe: delivered bytes that were seen before change nothing. What was refused is a note on the task that
refused it, with the sentence; the run goes on, since the other deliveries do. What fails for a reason that may pass (a
server away, a full disk) is tried again; anything else fails at once and is told to the steward.
"""


def landing_dag(silo: Silo) -> DAG:
    with DAG(
        dag_id=f"land_{silo.name}",
        description=f"{silo.title}: from the drop folder to the conformed tables",
        doc_md=DOC.format(
            title=silo.title,
            purpose=silo.purpose,
            steward=silo.steward,
            legal_basis=silo.legal_basis,
            cadence=silo.cadence,
        ),
        schedule=AssetOrTimeSchedule(timetable=at(silo.cadence), assets=[dropped(silo.name)]),
        catchup=False,
        max_active_runs=1,
        deadline=deadline(silo.steward, timedelta(hours=1)),
        tags=["landing", silo.name],
        # What arrives today goes before what a backfill does again.
        default_args=defaults(silo.steward, within=timedelta(hours=2), pool="ingest", priority=10),
    ) as dag:

        @task(doc_md="Deliveries from the drop folder to the bucket `landing`; the newest commit before this run.")
        @guarded
        def land(ti: Any = None) -> int:
            from calanque.orchestration import work
            from infra.settings import Settings
            from ingestion import pipeline

            settings = Settings()
            before = pipeline.newest_commit(settings, silo.name)
            work.land(settings, silo.name, ti)
            return before

        @task(
            doc_md="Landed deliveries to the conformed tables.",
            outlets=[conformed(silo.name), city_days(silo.name)],
        )
        @guarded
        def ingest(before: int, *, ti: Any = None, outlet_events: Any = None) -> int:
            from calanque.orchestration import work
            from infra.settings import Settings
            from ingestion import pipeline

            settings = Settings()
            work.ingest(settings, silo.name, ti)
            # Not the receipts of this attempt: an earlier one may have committed before it failed.
            newest = pipeline.newest_commit(settings, silo.name)
            if newest == before:
                raise AirflowSkipException("no delivery changed the conformed tables")
            changed = pipeline.changed_days(settings, silo.name, since=before)
            outlet_events[city_days(silo.name)].add_partitions([day.isoformat() for day in changed])
            return newest

        ingest(land())
    return dag


for _silo in silos().values():
    globals()[f"land_{_silo.name}"] = landing_dag(_silo)
