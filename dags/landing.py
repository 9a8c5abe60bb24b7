"""One DAG per registered silo: land what was delivered, then check, conform and commit it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from airflow.sdk import DAG, task
from airflow.sdk.exceptions import AirflowSkipException

from ingestion.register import Silo, silos

from assets import conformed

DOC = """
### {title}

{purpose}

*Steward:* {steward}. *Legal basis:* {legal_basis}.

1. **land** moves every file of the silo's drop folder into the bucket `landing`, untouched and content-addressed.
2. **ingest** opens each landed delivery, checks it against its contract, conforms it (pseudonyms, zone, time), checks
   it again and commits it to the Iceberg tables, exactly once. Rows that break a rule go to `quarantine`; a delivery
   that cannot be read is refused with a sentence. See the receipts for every figure.

Running it again is always safe: delivered bytes that were seen before change nothing.
"""


def landing_dag(silo: Silo) -> DAG:
    with DAG(
        dag_id=f"land_{silo.name}",
        description=f"{silo.title}: from the drop folder to the conformed tables",
        doc_md=DOC.format(title=silo.title, purpose=silo.purpose, steward=silo.steward, legal_basis=silo.legal_basis),
        schedule="*/15 * * * *",
        start_date=datetime(2026, 1, 1, tzinfo=UTC),
        catchup=False,
        max_active_runs=1,
        tags=["landing", silo.name],
        default_args={
            "owner": silo.steward.replace(",", " -"),  # Airflow would see two owners
            "retries": 3,
            "retry_delay": timedelta(seconds=10),
            "retry_exponential_backoff": True,
            "execution_timeout": timedelta(hours=2),
        },
    ) as dag:

        @task(doc_md="Deliveries from the drop folder to the bucket `landing`; the newest commit before this run.")
        def land() -> int:
            from infra.settings import Settings
            from ingestion import landing, pipeline

            settings = Settings()
            before = pipeline.newest_commit(settings, silo.name)
            landing.sweep(settings, silo.name)
            return before

        @task(doc_md="Landed deliveries to the conformed tables.", outlets=[conformed(silo.name)])
        def ingest(before: int) -> int:
            from infra.settings import Settings
            from ingestion import pipeline

            settings = Settings()
            pipeline.ingest(settings, silo.name)
            # Not the receipts of this attempt: an earlier one may have committed before it failed.
            newest = pipeline.newest_commit(settings, silo.name)
            if newest == before:
                raise AirflowSkipException("no delivery changed the conformed tables")
            return newest

        ingest(land())
    return dag


for _silo in silos().values():
    globals()[f"land_{_silo.name}"] = landing_dag(_silo)
