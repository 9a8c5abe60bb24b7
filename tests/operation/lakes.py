"""Lakes for drills: on a clock that the drill moves, fed a day at a time, followed until they are at rest."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any

import polars as pl

from calanque.demo.generate import generate
from calanque.demo.truth import Truth
from infra import database, object_store, registry
from infra.calendar.clock import quarter_start
from infra.catalog import open_catalog
from infra.city.profile import load_city
from infra.machines.airflow.api import AirflowApi, DagRun
from infra.machines.services import lake as services
from infra.settings import Settings
from ingestion.conformed import tables
from ingestion.delivery.arrivals import waiting
from ingestion.register import silos
from tests.lakes import declare

MARTS = ("build_marts", "release_marts")
PATIENCE = 900.0  # seconds for what takes a minute: the machine may be busy
RELEASED = "releases/"


@dataclass(frozen=True)
class Deliveries:
    """Generated files, not delivered yet, by city-day in order of delivery."""

    truth: Truth
    by_day: dict[date, list[tuple[str, Path]]]  # silo and file

    @property
    def days(self) -> list[date]:
        return sorted(self.by_day)


def stage(settings: Settings, folder: Path, *, start: date, days: int, scale: float, seed: int) -> Deliveries:
    """Deliveries of the demo city with faults, in ``folder``."""
    truth = generate(load_city(settings), seed=seed, start=start, days=days, scale=scale, drop_dir=folder, faults=True)
    by_day: dict[date, list[tuple[str, Path]]] = defaultdict(list)
    for silo in silos():
        for path in sorted((folder / silo).iterdir()):
            by_day[date.fromisoformat(path.name[:10])].append((silo, path))
    return Deliveries(truth, dict(by_day))


@contextmanager
def lake(home: Path, start: date, *, airflow: bool, keys: Path | None = None) -> Iterator[Settings]:
    """A running lake in ``home``, whose clock is the file that :func:`set_clock` writes; complete, with nothing, for
    the days of the quarter before ``start``.
    """
    home.mkdir(mode=0o755, parents=True)
    home.chmod(0o755)
    clock = home / "clock"
    clock.write_text("2026-01-01T00:00:00+00:00")
    if keys is not None:
        shutil.copytree(keys, home / "keys")
    settings = Settings(home=home, quiet=True, drill=True, now_file=clock, clock_leap_days=1000)  # its days are long
    try:
        services.up(settings, airflow=airflow)
        if start > quarter_start(start):
            declare(settings, quarter_start(start), start - timedelta(days=1))
        yield settings
    finally:
        services.down(settings)


def set_clock(settings: Settings, instant: datetime) -> None:
    assert settings.now_file
    draft = settings.now_file.with_suffix(".next")
    draft.write_text(instant.isoformat())
    draft.rename(settings.now_file)


def morning_after(day: date) -> datetime:
    """When the files of a day are delivered."""
    return datetime(day.year, day.month, day.day, 5, tzinfo=UTC) + timedelta(days=1)


def drop(settings: Settings, files: Sequence[tuple[str, Path]]) -> None:
    """Deliver files, each whole, in their order."""
    for silo, path in files:
        folder = settings.drop_dir / silo
        folder.mkdir(parents=True, exist_ok=True)
        draft = folder / f".{path.name}.part"
        shutil.copyfile(path, draft)
        draft.rename(folder / path.name)


def until_at_rest(settings: Settings, api: AirflowApi, wanted: Collection[str], since: datetime) -> list[DagRun]:
    """Wait until these DAGs, and all that they cause, ran since then and are over, and no delivery waits."""
    deadline = time.monotonic() + PATIENCE
    while True:
        # In this order: an event that is gone has become a run, and what a run that is over left is in the registry.
        events = any(api.has_queued_events(dag_id) for dag_id in (*MARTS, *wanted))
        runs = [run for run in api.runs(since) if run.dag_id in {*MARTS, *wanted}]
        over = all(run.finished for run in runs) and {run.dag_id for run in runs} >= set(wanted)
        if over and not events and not _waiting(settings):
            return runs
        assert time.monotonic() < deadline, f"not at rest: {[run for run in runs if not run.finished]}"
        time.sleep(0.5)


def _waiting(settings: Settings) -> bool:
    if any(waiting(settings.drop_dir / silo) for silo in silos()):
        return True
    with database.connect(settings, "pipeline", "lake") as connection:
        return any(registry.landed_deliveries(connection, silo) for silo in silos())


def calanque(settings: Settings, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        (sys.executable, "-m", "calanque.cli", *arguments),
        env={**os.environ, **settings.environment()},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def latencies(settings: Settings, dropped: dict[str, datetime]) -> dict[str, float]:
    """Seconds from the moment a file was dropped, by name, until its rows were in the conformed tables."""
    with database.connect(settings, "pipeline", "lake") as connection:
        rows = connection.execute(
            "select file_name, settled_at from registry.delivery where settled_at is not null"
        ).fetchall()
    return {name: (settled - dropped[name]).total_seconds() for name, settled in rows if name in dropped}


def statuses(settings: Settings) -> dict[str, dict[str, int]]:
    """By day of delivery, how many deliveries came to which end; one that is not committed must say why."""
    with database.connect(settings, "pipeline", "lake") as connection:
        rows = connection.execute("select file_name, status, reason from registry.delivery").fetchall()
    found: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for name, status, reason in rows:
        state = status if status == "committed" or reason else f"{status} without a reason"
        found[name[:10]][state] += 1
    return {day: dict(states) for day, states in sorted(found.items())}


def conformed(settings: Settings) -> dict[str, tuple[int, str]]:
    """Rows of each conformed table, and a digest of all their values, in an order of their own."""
    catalog, options = open_catalog(settings, "pipeline"), object_store.polars_options(settings, "pipeline")
    found = {}
    for silo in silos().values():
        for dataset in silo.datasets:
            files = [task.file.file_path for task in tables.ensure(catalog, dataset).scan().plan_files()]
            if not files:
                continue
            rows = pl.read_parquet(files, storage_options=options)
            rows = rows.select(sorted(rows.columns)).sort(sorted(rows.columns)).rechunk()
            content = io.BytesIO()
            # Strings one after the other: the buffers of string views tell in which order files were read.
            rows.write_ipc(content, compression="uncompressed", compat_level=pl.CompatLevel.oldest())
            found[dataset.name] = (rows.height, hashlib.sha256(content.getvalue()).hexdigest())
    return found


def published(settings: Settings) -> dict[tuple[str, str], str]:
    """By mart and first day of the unit, the digest of the file that is published."""
    store = object_store.client(settings, "admin")
    found = {}
    for key in object_store.list_keys(store, "lake", RELEASED):
        if key.endswith(".parquet"):
            _, mart, unit, name = key.split("/")
            found[mart, unit.removeprefix("unit=")] = name.removesuffix(".parquet")
    return found


def late_units(settings: Settings) -> set[tuple[str, str]]:
    """Units for which rows came after they were published."""
    with database.connect(settings, "publisher", "lake") as connection:
        return {(unit.mart, str(unit.first_day)) for unit in registry.units(connection) if unit.late_rows}


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median, ninth decile and maximum."""
    ordered = sorted(values)
    if not ordered:
        return {}
    return {
        "median": round(median(ordered), 1),
        "p90": round(ordered[min(len(ordered) - 1, int(0.9 * len(ordered)))], 1),
        "max": round(ordered[-1], 1),
    }


def machine() -> dict[str, Any]:
    return {"cores": os.cpu_count(), "load": [round(load, 1) for load in os.getloadavg()]}


def write(path: Path, report: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(report, indent=1, default=str) + "\n")


def wait(seconds: float) -> None:
    time.sleep(seconds)
