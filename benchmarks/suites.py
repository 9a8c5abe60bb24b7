"""What is measured, in which order: a size of a silo, and a day beside a year."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from benchmarks import deliveries
from benchmarks.measuring import Measured, watch
from calanque.demo.generate import generate
from infra.city.profile import load_city
from infra.machines.services import lake
from infra.settings import Settings
from ingestion.delivery import notes
from ingestion.delivery.landing import drop_folder

Tell = Callable[[str], None]

YEAR_DAYS = 365
# In the middle of a quarter, the part of the lake that a new day makes the marts build again.
NEW_DAY = date(2025, 11, 15)
_DAYS_PER_DELIVERY = 30


@dataclass(frozen=True)
class SizeRun:
    """Everything measured once at one size of one silo, on a lake of its own: the way in, its floors, the marts."""

    land: Measured
    ingest: Measured
    copy: Measured
    rewrite: Measured
    marts: MartsRun | None


@dataclass(frozen=True)
class MartsRun:
    """The marts of a silo, their floor, and the floor's own: the same figures without anonymity."""

    build: Measured
    query: Measured
    plain: Measured
    rows: dict[str, int]


@dataclass(frozen=True)
class DayRun:
    """One day added to a lake with a year in it, and to an empty one; then nothing added to the former."""

    year: Measured
    empty: Measured
    nothing: Measured


@contextmanager
def fresh_lake(home: Path, city: str = "marseille", *, keep: bool = False) -> Iterator[Settings]:
    """A running lake without Airflow in ``home``, which is stopped at the end and removed unless kept."""
    home.mkdir(mode=0o755)
    settings = Settings(home=home, city=city, quiet=True)
    try:
        lake.up(settings, airflow=False)
        watch(settings, "prepare")
        yield settings
    finally:
        lake.down(settings)
        if not keep:
            shutil.rmtree(home)


@contextmanager
def workshop(folder: Path | None, *, keep: bool = False) -> Iterator[Path]:
    """A folder for lakes and deliveries, open to the account of the database server, removed unless kept."""
    made = Path(mkdtemp(prefix="calanque-bench-", dir=folder))
    made.chmod(0o755)
    try:
        yield made
    finally:
        if not keep:
            shutil.rmtree(made)


def needed_bytes(workshop: Path, silo: str, rows: int) -> int:
    """Disk that a size takes at most: the file as made, as landed, as fetched, and what it becomes on the way."""
    city = load_city(Settings(city=deliveries.city_name(silo, workshop)))
    return int(4 * rows * deliveries.bytes_per_row(silo, city)) + 2**30


def measure_size(
    workshop: Path, silo: str, rows: int, repeats: int, tell: Tell, *, marts: bool, keep: bool
) -> list[SizeRun]:
    """Measure a silo at one size ``repeats`` times, each on a fresh lake; floors first every other time."""
    city = deliveries.city_name(silo, workshop)
    source = workshop / f"{silo}-{rows}.csv"
    tell(f"{silo}, {rows:,} rows: writing the delivery")
    deliveries.write(Settings(city=city), silo, rows, source)
    runs = []
    for repeat in range(repeats):
        with fresh_lake(workshop / f"{silo}-{rows}-{repeat}", city, keep=keep) as settings:
            folder = drop_folder(settings, silo)
            folder.mkdir(parents=True, exist_ok=True)
            _begin(settings, silo, source, folder, tell)
            shutil.copyfile(notes.path_of(source), notes.path_of(folder / source.name))
            if repeat == repeats - 1:
                source.rename(folder / source.name)
            else:
                os.link(source, folder / source.name)
            runs.append(_measure_once(settings, silo, tell, marts=marts, floor_first=repeat % 2 == 0))
    return runs


def _begin(settings: Settings, silo: str, source: Path, folder: Path, tell: Tell) -> None:
    """Let the lake have had a delivery before: what is made once in a lake's life is no part of a delivery's cost."""
    with source.open("rb") as lines:
        (folder / "header.csv").write_bytes(lines.readline())
    begun = watch(settings, "begin", silo=silo)
    tell(f"  begin: {begun.seconds:.2f} s, cpu {begun.cpu_seconds:.2f} s")


def _measure_once(settings: Settings, silo: str, tell: Tell, *, marts: bool, floor_first: bool) -> SizeRun:
    def measured(step: str, **parameters: Any) -> Measured:
        result = watch(settings, step, **parameters)
        tell(f"  {step}: {result.seconds:.2f} s, cpu {result.cpu_seconds:.2f} s, {result.peak_bytes / 2**20:,.0f} MiB")
        return result

    landed = measured("land", silo=silo)
    delivery_id = landed.found["delivery_id"]

    def floors() -> tuple[Measured, Measured]:
        given = {"silo": silo, "delivery_id": delivery_id}
        return measured("copy", **given), measured("rewrite", **given)

    if floor_first:
        (copied, rewritten), ingested = floors(), measured("ingest", silo=silo)
    else:
        ingested, (copied, rewritten) = measured("ingest", silo=silo), floors()
    if rewritten.found["rows"] != ingested.found["rows_in"]:
        raise ValueError(f"{silo}: the floor wrote {rewritten.found['rows']} rows of {ingested.found['rows_in']}")
    return SizeRun(landed, ingested, copied, rewritten, _measure_marts(settings, silo, measured) if marts else None)


def _measure_marts(settings: Settings, silo: str, measured: Callable[..., Measured]) -> MartsRun:
    built = measured("build")
    marts, build_id = built.found["marts"], built.found["build_id"]
    queried = measured("query", silo=silo, marts=marts)
    plain = measured("plain", silo=silo)
    compared = watch(settings, "compare", marts=marts, build_id=build_id)
    return MartsRun(built, queried, plain, compared.found["rows"])


def measure_day(workshop: Path, days: int, repeats: int, tell: Tell, *, keep: bool) -> list[DayRun]:
    """Add a day of all silos to a lake that holds ``days`` days, and to an empty lake; ``repeats`` days in a row."""
    runs = []
    tell(f"a day in {days} days: filling a lake")
    with fresh_lake(workshop / "year", keep=keep) as full:
        _deliver(full, NEW_DAY - timedelta(days=days), days)
        filled = watch(full, "run")
        tell(f"  {filled.found['rows_in']:,} rows in {filled.seconds:.0f} s")
        for repeat in range(repeats):
            day = NEW_DAY + timedelta(days=repeat)
            with fresh_lake(workshop / f"empty-{repeat}", keep=keep) as empty:
                order = ["empty", "year"] if repeat % 2 == 0 else ["year", "empty"]
                measured: dict[str, Measured] = {}
                for name in order:
                    settings = {"empty": empty, "year": full}[name]
                    _deliver(settings, day, 1)
                    measured[name] = watch(settings, "run")
                    tell(f"  {day} into the {name} lake: {measured[name].seconds:.2f} s")
                if measured["year"].found["rows_in"] != measured["empty"].found["rows_in"]:
                    raise ValueError(f"{day} is not the same day in both lakes")
            nothing = watch(full, "run")
            tell(f"  nothing new: {nothing.seconds:.2f} s")
            runs.append(DayRun(year=measured["year"], empty=measured["empty"], nothing=nothing))
    return runs


def _deliver(settings: Settings, first: date, days: int) -> None:
    """Deliveries of the demo city without faults: each silo's days, a month per file."""
    generate(
        load_city(settings),
        seed=deliveries.SEED,
        start=first,
        days=days,
        drop_dir=settings.drop_dir,
        faults=False,
        days_per_delivery=_DAYS_PER_DELIVERY,
    )
