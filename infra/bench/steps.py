"""The measured steps, each run in a process of its own: ``python -m infra.bench.steps NAME '{"silo": ...}'``.

A step imports everything before its clock starts. It prints one line of JSON: ``seconds`` and what else it found out.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

from infra.bench import floors
from infra.build_spec import CityReference
from infra.city import load_city
from infra.settings import Settings
from ingestion import landing, pipeline
from ingestion.register import silos
from publication import building, project, release

Found = dict[str, Any]


class StepError(RuntimeError):
    """The lake did not do what was to be measured."""


def prepare(settings: Settings) -> Found:
    """Parse the dbt project, as a lake does once per version of it; no part of any figure."""
    started = time.perf_counter()
    project.load(settings, project.code_version(CityReference.of(load_city(settings))))
    return {"seconds": time.perf_counter() - started}


def land(settings: Settings, silo: str) -> Found:
    """Land the one file that waits in a silo's drop folder."""
    started = time.perf_counter()
    swept = landing.sweep(settings, silo)
    seconds = time.perf_counter() - started
    if len(swept.landed) != 1 or swept.turned_away:
        raise StepError(f"{silo}: one file was to be landed, not {len(swept.landed)}")
    return {"seconds": seconds, "delivery_id": swept.landed[0].delivery_id, "bytes": swept.landed[0].bytes}


def ingest(settings: Settings, silo: str) -> Found:
    """Check, conform and commit a silo's one landed delivery."""
    started = time.perf_counter()
    receipts = pipeline.ingest(settings, silo)
    seconds = time.perf_counter() - started
    if [receipt.status for receipt in receipts] != ["committed"]:
        raise StepError(f"{silo}: the delivery was not committed: {[receipt.reason for receipt in receipts]}")
    tally = receipts[0].tally
    return {
        "seconds": seconds,
        "rows_in": tally.rows_in,
        "accepted": tally.accepted,
        "stages": receipts[0].seconds,
        "files": len(receipts[0].outputs),
    }


def copy(settings: Settings, silo: str, delivery_id: str) -> Found:
    """Floor of ingestion, see :func:`infra.bench.floors.copy_delivery`."""
    return dict(floors.copy_delivery(settings, silo, delivery_id)._asdict())


def build(settings: Settings) -> Found:
    """Build every mart that is due."""
    started = time.perf_counter()
    built = building.build(settings)
    seconds = time.perf_counter() - started
    if built is None or built.failed:
        raise StepError(f"the marts were not built: {built.report()['failed'] if built else 'nothing was due'}")
    return {
        "seconds": seconds,
        "sql_seconds": built.sql_seconds,
        "build_id": built.build_id,
        "marts": [each.mart.name for each in built.good],
    }


def query(settings: Settings, silo: str, marts: list[str]) -> Found:
    """Floor of the marts, see :func:`infra.bench.floors.query_marts`."""
    return dict(floors.query_marts(settings, silo, marts)._asdict())


def compare(settings: Settings, marts: list[str], build_id: str) -> Found:
    """Whether both made the same marts, see :func:`infra.bench.floors.compare_marts`; no part of any figure."""
    started = time.perf_counter()
    rows = floors.compare_marts(settings, marts, build_id)
    return {"seconds": time.perf_counter() - started, "rows": rows}


def run(settings: Settings) -> Found:
    """What ``calanque run`` does: land, ingest, build, release, for all silos."""
    stages: dict[str, float] = {}
    rows = 0
    last = started = time.perf_counter()

    def stage(name: str) -> None:
        nonlocal last
        now = time.perf_counter()
        stages[name] = stages.get(name, 0.0) + now - last
        last = now

    for silo in silos():
        landing.sweep(settings, silo)
        stage("land")
        rows += sum(receipt.tally.rows_in for receipt in pipeline.ingest(settings, silo))
        stage("ingest")
    built = building.build(settings)
    stage("build")
    released = release.release_latest(settings)
    stage("release")
    if built is not None and built.failed:
        raise StepError(f"marts were not built: {built.report()['failed']}")
    return {"seconds": last - started, "stages": stages, "rows_in": rows, "released": len(released)}


STEPS: Mapping[str, Callable[..., Found]] = {
    step.__name__: step for step in (prepare, land, ingest, copy, build, query, compare, run)
}


def main() -> None:
    name, parameters = sys.argv[1:]
    print(json.dumps(STEPS[name](Settings(), **json.loads(parameters))))


if __name__ == "__main__":
    main()
