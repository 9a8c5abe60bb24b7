"""The steward site, made again when something was published and every morning."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import DAG, AssetOrTimeSchedule, task
from airflow.sdk.exceptions import AirflowSkipException

from calanque.orchestration.assets import MARTS
from calanque.orchestration.failures import deadline, defaults, guarded
from calanque.orchestration.when import at

OWNER = "data-platform"

with DAG(
    dag_id="publish_site",
    description="The steward site: every silo and every published table explained, from what the lake really does",
    doc_md="""
### Publish the steward site

Gathers the register, the contracts, the privacy plan, the lineage and what the registry knows, builds the site in
English and French, and puts it into bucket `docs`: edition `site` for everybody, edition `stewards` with exact figures
of deliveries. Readers see the old site until all of the new one is there. Running it again is always safe.
""",
    schedule=AssetOrTimeSchedule(timetable=at("45 6 * * *"), assets=[MARTS]),
    catchup=False,
    max_active_runs=1,
    deadline=deadline(OWNER, timedelta(hours=1)),
    tags=["site"],
    default_args=defaults(OWNER, within=timedelta(minutes=30), pool="default_pool"),
) as publish_site:

    @task(doc_md="Both editions built, then published at once. A release that the site tells of already is no news.")
    @guarded
    def publish(dag_run: Any = None) -> dict[str, str]:
        from infra.settings import Settings
        from stewardship.site import making
        from stewardship.site.publish import is_current

        if dag_run.run_type == "asset_triggered" and is_current(Settings()):
            raise AirflowSkipException("the site tells of every release already")
        return {published.edition: published.version for published in making.make_and_publish(Settings(), report=print)}

    publish()
