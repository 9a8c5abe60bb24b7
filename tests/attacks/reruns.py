"""P5 and P13: the same rows built again and again, and neighbouring rows built once."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from infra.build_spec import Unit
from infra.calendar.days import DayRange
from publication.releases import parquet
from tests.attacks import local
from tests.attacks.findings import Control, Finding
from tests.attacks.local import Lake
from tests.attacks.published import Table

Rows = Mapping[str, pl.DataFrame]
Marts = Mapping[str, pl.DataFrame]


def digest(marts: Marts) -> str:
    """The SHA-256 of all marts as the lake writes Parquet files, mart by mart in order of their keys."""
    total = hashlib.sha256()
    with tempfile.TemporaryDirectory() as folder:
        for mart, frame in sorted(marts.items()):
            rows = frame.sort(Table(frame).key).to_arrow()
            path = Path(folder) / "mart.parquet"
            parquet.write(path, rows.schema, rows.to_batches())
            total.update(mart.encode() + hashlib.sha256(path.read_bytes()).digest())
    return total.hexdigest()


@dataclass(frozen=True)
class Rerun:
    """One way of building the same units again."""

    name: str
    lake: Lake
    threads: int = 1
    apart: bool = False
    memory: str = "2GB"


def ways(lake: Lake, shuffled: Lake, count: int) -> list[Rerun]:
    """``count`` re-runs: a plain retry, eight threads, rows in another order and in many files, units built one group
    after another as a backfill does, little memory; then the same again.
    """
    kinds = (
        Rerun("shuffled rows in seven files, 8 threads", shuffled, threads=8),
        Rerun("backfill, group by group of units", lake, apart=True),
        Rerun("retry", lake),
        Rerun("8 threads", lake, threads=8),
        Rerun("shuffled rows", shuffled),
        Rerun("full refresh, little memory", lake, memory="400MB"),
    )
    return [kinds[number % len(kinds)] for number in range(count)]


def run(each: Rerun, marts: Sequence[str], keys: Path, coverage: Sequence[DayRange]) -> str:
    """The digest of one re-run."""
    if not each.apart:
        return digest(local.build(each.lake, marts, threads=each.threads, keys=keys, memory=each.memory))
    units = local.units_of(marts, each.lake.coverage)
    groups = _groups(units, coverage)
    parts = [local.build(each.lake, marts, units=group, keys=keys) for group in groups]
    return digest({mart: pl.concat([part[mart] for part in parts]) for mart in marts})


def _groups(units: Sequence[Unit], coverage: Sequence[DayRange]) -> list[list[Unit]]:
    groups = [
        [unit for unit in units if days.first_day <= max(unit.first_day, coverage[0].first_day) <= days.last_day]
        for days in coverage
    ]
    return [group for group in groups if group]


def attack_reruns(
    rows: Rows, lake: Lake, reference: Marts, folder: Path, *, count: int, redrawn: Sequence[Marts]
) -> Finding:
    """P5. ``reference``: what the lake's own keys gave; ``redrawn``: what other keys give, as if noise were drawn again
    at each run.
    """
    marts = sorted(reference)
    mixed = {name: frame.sample(fraction=1, shuffle=True, seed=3) for name, frame in rows.items()}
    shuffled = local.make(folder / "shuffled", mixed, lake.city, lake.coverage, parts=7)
    days = pl.date_range(lake.coverage.first_day, lake.coverage.last_day, eager=True)
    half = days[len(days) // 2]
    parts = [
        DayRange(first_day=days[0], last_day=half),
        DayRange(first_day=days[len(days) // 2 + 1], last_day=days[-1]),
    ]
    first = digest(reference)
    shuffled.parsed.update(lake.parsed)
    with ThreadPoolExecutor(2) as pool:
        digests = list(pool.map(lambda each: run(each, marts, lake.keys, parts), ways(lake, shuffled, count - 1)))
    different = sum(each != first for each in digests)
    return Finding(
        "P5",
        f"of {count} builds of the same rows, those with another byte",
        limit=0,
        measured=different,
        control=Control("noise redrawn: different files", len({digest(marts) for marts in redrawn}), len(redrawn)),
        details={"marts": marts, "ways": sorted({each.name for each in ways(lake, shuffled, count - 1)})},
    )


def shape_differences(one: Marts, other: Marts) -> list[str]:
    """What differs between two builds, apart from numbers and whether they are shown."""
    found = []
    for mart, frame in one.items():
        neighbour = other[mart]
        if frame.schema != neighbour.schema:
            found.append(f"{mart}: columns or types")
            continue
        table = Table(frame)
        hidden = {table.measure, f"{table.measure}_label", *table.companions}
        fixed = [name for name in frame.columns if name not in hidden]
        if frame.height != neighbour.height:
            found.append(f"{mart}: number of rows")
        elif not frame.select(fixed).equals(neighbour.select(fixed)):
            found.append(f"{mart}: cells, partitions or names")
        else:
            found += [f"{mart}: {name} is null where the other is not" for name in _null_patterns(frame, neighbour)]
        found += [
            f"{mart}: a number is shown beside its label"
            for each in (frame, neighbour)
            if (each[table.measure].is_null() != each[f"{table.measure}_label"].is_not_null()).any()
        ]
    return found


def _null_patterns(one: pl.DataFrame, other: pl.DataFrame) -> list[str]:
    """Companions that are null in one build and not in the other although both show the cell."""
    table = Table(one)
    both = one[table.measure].is_not_null() & other[table.measure].is_not_null()
    return [
        name
        for name in table.companions
        if not (one[name].filter(both).is_null() == other[name].filter(both).is_null()).all()
    ]


def neighbours(rows: Rows) -> dict[str, dict[str, pl.DataFrame]]:
    """Inputs that differ from ``rows`` by one vehicle, by all that happened in one zone, by all that happened."""
    fines = rows["verbalisations"]
    often = fines["vehicle"].drop_nulls().mode().sort()[0]
    zone = fines["zone_id"].mode().sort()[0]
    first_only = {name: frame.filter(pl.col("event_date") == frame["event_date"].min()) for name, frame in rows.items()}
    return {
        "without the vehicle fined most": {**rows, "verbalisations": fines.filter(pl.col("vehicle").ne_missing(often))},
        "without one zone": {
            name: frame.filter(pl.col("zone_id") != zone) if "zone_id" in frame.columns else frame
            for name, frame in rows.items()
        },
        "one day of data only": first_only,
    }


def attack_shapes(rows: Rows, lake: Lake, reference: Marts, folder: Path, *, quick: bool = False) -> Finding:
    """P13: the same shape as ``reference`` whatever the rows; the broken build leaves empty cells out."""
    marts = sorted(reference)
    project = local.broken(folder / "no_empty_rows", local.EMPTY_DROPPED)
    others = {
        name: local.make(folder / f"neighbour-{number}", each, lake.city, lake.coverage)
        for number, (name, each) in enumerate(neighbours(rows).items())
        if not quick or number == 1
    }
    found: dict[str, list[str]] = {}
    for name, other in others.items():
        other.parsed.update(lake.parsed)
        found[name] = shape_differences(reference, local.build(other, marts, keys=lake.keys))
    zone = others["without one zone"]
    broken = shape_differences(
        local.build(lake, marts, project=project), local.build(zone, marts, project=project, keys=lake.keys)
    )
    return Finding(
        "P13",
        f"differences of rows, partitions, columns and nulls between {len(found)} neighbouring inputs",
        limit=0,
        measured=sum(map(len, found.values())),
        control=Control("empty rows dropped", len(broken), 1),
        details={name: differences for name, differences in found.items() if differences},
    )
