"""What a task does when it is more than one call: kept out of the DAG files, which only wire."""

from __future__ import annotations

from typing import Any

from calanque.orchestration import refusals
from infra.settings import Settings


def land(settings: Settings, silo: str, task: Any) -> None:
    """Land what was dropped for a silo; what can never be landed is noted on the ``task``.

    Raises:
        ingestion.delivery.landing.LandingError: the lake let files down, and none landed.
    """
    from ingestion.delivery import landing

    refusals.note(settings, task, [left.sentence for left in landing.sweep(settings, silo).turned_away])


def ingest(settings: Settings, silo: str, task: Any) -> None:
    """Ingest what has landed of a silo; what is refused is noted on the ``task``. Then watch, whatever came of it.

    Raises:
        ingestion.pipeline.IngestionError: some deliveries failed; the others are done.
    """
    from ingestion import pipeline
    from ingestion.receipts import Receipt
    from stewardship.watch import after_ingestion

    settled: list[Receipt] = []
    try:
        pipeline.ingest(settings, silo, report=settled.append)
    finally:
        refusals.note(settings, task, [receipt.refusal for receipt in settled if receipt.refusal])
        after_ingestion(settings)


def publish(settings: Settings) -> list[str]:
    """Build and release what is due; the versions that are new.

    Raises:
        MartsHeldError: some marts are behind their data; the others are released.
    """
    from publication import report
    from publication.builds import building
    from publication.releases import release

    building.build(settings)
    released = release.release_latest(settings)
    if held := report.held_back(settings):
        raise MartsHeldError("; ".join(f"{mart}: {because}" for mart, because in held.items()))
    return [f"{each.mart} v{each.version}" for each in released]


def forget_runs(settings: Settings) -> int:
    """Delete what Airflow and the history of its runs have from before the limit of logs; how many runs were new to it.

    Airflow's clock is the machine's, whatever the lake's says.
    """
    from datetime import UTC, datetime

    from infra.calendar import trusted_clock
    from infra.machines.airflow import upkeep as airflow_upkeep
    from ingestion.contracts.retention_limits import LOGS
    from stewardship import run_history

    trusted_clock.now(settings, "publisher")
    before = datetime.now(UTC) - LOGS
    noted = run_history.catch_up(settings)
    airflow_upkeep.trim(settings, before)
    run_history.forget(settings, before)
    return noted


class MartsHeldError(RuntimeError):
    """Marts whose newest build was not released, each with the reason."""
