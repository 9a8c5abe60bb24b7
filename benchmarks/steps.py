"""The measured steps, each run in a process of its own: ``python -m benchmarks.steps NAME '{"silo": ...}'``.

A step imports everything before its clock starts. It prints one line of JSON: ``seconds``, ``cpu_seconds`` and what
else it found out.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from typing import Any

import sqlalchemy.dialects.postgresql.psycopg  # noqa: F401 - SQLAlchemy imports it at first use
from pandera.backends.polars.register import register_polars_backends

from benchmarks import floors
from benchmarks.stopwatch import Stopwatch
from infra.build_spec import CityReference
from infra.city.profile import load_city
from infra.settings import Settings
from ingestion import pipeline
from ingestion.delivery import landing
from ingestion.register import silos
from publication.builds import building, project
from publication.releases import release

Found = dict[str, Any]


class StepError(RuntimeError):
    """The lake did not do what was to be measured."""


def prepare(settings: Settings) -> Found:
    """Parse the dbt project, as a lake does once per version of it; no part of any figure."""
    watch = Stopwatch()
    project.load(settings, CityReference.of(load_city(settings)))
    return watch.read()._asdict()


def begin(settings: Settings, silo: str) -> Found:
    """A silo's first delivery, which has no rows: its tables are made, and the store makes room for its buckets."""
    watch = Stopwatch()
    landing.sweep(settings, silo)
    receipts = pipeline.ingest(settings, silo)
    elapsed = watch.read()
    if [(receipt.status, receipt.tally.rows_in) for receipt in receipts] != [("committed", 0)]:
        raise StepError(f"{silo}: a delivery without rows was to be committed: {[each.reason for each in receipts]}")
    return elapsed._asdict()


def land(settings: Settings, silo: str) -> Found:
    """Land the one file that waits in a silo's drop folder."""
    watch = Stopwatch()
    swept = landing.sweep(settings, silo)
    elapsed = watch.read()
    if len(swept.landed) != 1 or swept.turned_away:
        raise StepError(f"{silo}: one file was to be landed, not {len(swept.landed)}")
    return {**elapsed._asdict(), "delivery_id": swept.landed[0].delivery_id, "bytes": swept.landed[0].bytes}


def ingest(settings: Settings, silo: str) -> Found:
    """Check, conform and commit a silo's one landed delivery."""
    watch = Stopwatch()
    receipts = pipeline.ingest(settings, silo)
    elapsed = watch.read()
    if [receipt.status for receipt in receipts] != ["committed"]:
        raise StepError(f"{silo}: the delivery was not committed: {[receipt.reason for receipt in receipts]}")
    tally = receipts[0].tally
    return {
        **elapsed._asdict(),
        "rows_in": tally.rows_in,
        "accepted": tally.accepted,
        "stages": receipts[0].seconds,
        "files": len(receipts[0].outputs),
    }


def copy(settings: Settings, silo: str, delivery_id: str) -> Found:
    """Floor of landing and ingestion, see :func:`benchmarks.floors.copy_delivery`."""
    return floors.copy_delivery(settings, silo, delivery_id)._asdict()


def rewrite(settings: Settings, silo: str, delivery_id: str) -> Found:
    """Stricter floor of ingestion, see :func:`benchmarks.floors.rewrite_delivery`."""
    elapsed, rows = floors.rewrite_delivery(settings, silo, delivery_id)
    return {**elapsed._asdict(), "rows": rows}


def build(settings: Settings) -> Found:
    """Build every mart that is due."""
    watch = Stopwatch()
    built = building.build(settings)
    elapsed = watch.read()
    if built is None or built.failed:
        raise StepError(f"the marts were not built: {built.report()['failed'] if built else 'nothing was due'}")
    return {
        **elapsed._asdict(),
        "sql_seconds": built.sql_seconds,
        "build_id": built.build_id,
        "marts": [each.mart.name for each in built.good],
    }


def query(settings: Settings, silo: str, marts: list[str]) -> Found:
    """Floor of the marts, see :func:`benchmarks.floors.query_marts`."""
    queried = floors.query_marts(settings, silo, marts)
    return {**queried.made._asdict(), "stored": queried.stored._asdict()}


def plain(settings: Settings, silo: str) -> Found:
    """The same query without anonymity, see :func:`benchmarks.floors.query_plain`."""
    return floors.query_plain(settings, silo)._asdict()


def compare(settings: Settings, marts: list[str], build_id: str) -> Found:
    """Whether both made the same marts, see :func:`benchmarks.floors.compare_marts`; no part of any figure."""
    watch = Stopwatch()
    rows = floors.compare_marts(settings, marts, build_id)
    return {**watch.read()._asdict(), "rows": rows}


def run(settings: Settings) -> Found:
    """What ``calanque run`` does: land, ingest, build, release, for all silos."""
    stages: dict[str, float] = {}
    rows = 0
    watch = Stopwatch()

    def stage(name: str) -> None:
        stages[name] = stages.get(name, 0.0) + watch.read().seconds - sum(stages.values())

    for silo in silos():
        landing.sweep(settings, silo)
        stage("land")
        rows += sum(receipt.tally.rows_in for receipt in pipeline.ingest(settings, silo))
        stage("ingest")
    built = building.build(settings)
    stage("build")
    released = release.release_latest(settings)
    stage("release")
    elapsed = watch.read()
    if built is not None and built.failed:
        raise StepError(f"marts were not built: {built.report()['failed']}")
    return {**elapsed._asdict(), "stages": stages, "rows_in": rows, "released": len(released)}


STEPS: Mapping[str, Callable[..., Found]] = {
    step.__name__: step for step in (prepare, begin, land, ingest, copy, rewrite, build, query, plain, compare, run)
}


def main() -> None:
    name, parameters = sys.argv[1:]
    for silo in silos().values():  # contracts and formats are imported when they are asked for
        _ = silo.rules, silo.formats
    register_polars_backends()  # and this those that pandera imports at first use
    print(json.dumps(STEPS[name](Settings(), **json.loads(parameters))))


if __name__ == "__main__":
    main()
