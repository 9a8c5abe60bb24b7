"""What is read from the database that dbt made: candidates, fingerprints, utility reports."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import duckdb
import polars as pl
from minio import Minio

from infra import object_store
from infra.build_spec import BuildSpec
from infra.keys.store import Keys
from infra.settings import Settings
from privacy.plan import plan
from publication import contracts
from publication.builds import candidates, fingerprints, utility
from publication.builds.candidates import BuiltMart, BuiltUnit, Mart, Problem
from publication.builds.project import Project
from publication.due import Due
from publication.releases import late_arriving, parquet

BATCH_ROWS = 64 * 1024
_MEMORY = "1500MB"
"""What DuckDB may take while candidates are read, as in dbt's profile: a build stays under 3 GB, Python included."""


@contextmanager
def _database(work: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """The database that dbt made, to be read."""
    file, spill = str(work / "build.duckdb"), str(work / "spill")
    with duckdb.connect(file, read_only=True, config={"temp_directory": spill}) as connection:
        connection.execute(f"set memory_limit = '{_MEMORY}'")
        yield connection


def not_measured(work: Path, mart: Mart) -> tuple[Problem, ...]:
    """What is wrong with a mart that would be published without a fingerprint."""
    with _database(work) as connection:
        try:
            fingerprints.cells(connection, mart.name)
        except fingerprints.NotMeasuredError as reason:
            return (Problem(node=fingerprints.table(mart.name), status="is missing", message=str(reason)),)
    return ()


def with_places(work: Path, marts: Sequence[Mart]) -> list[Mart]:
    """The marts, those of places with the places of the build as part of their version.

    A register that delivers a place more makes a row more of every period, those published before included: that they
    come out otherwise is then no breach.
    """
    with _database(work) as connection:
        rows = connection.execute("select to_json(places)::varchar from reference.places as places order by place_id")
        places = "\n".join(row for (row,) in rows.fetchall())
    return [
        mart.model_copy(update={"version": hashlib.sha256(f"{mart.version}\n{places}".encode()).hexdigest()})
        if "place_id" in mart.grain
        else mart
        for mart in marts
    ]


def rows_by_day(settings: Settings, due: Due, declared: Project, spec: BuildSpec) -> Mapping[str, pl.DataFrame]:
    """By silo, how many conformed rows each covered day has, from the first day that is due to the last."""
    return {
        silo: late_arriving.rows_by_day(
            settings,
            [at for dataset in due.datasets[silo] if (at := spec.tables[dataset])],
            late_arriving.hull(
                (unit.first_day, unit.last_day) for unit in due.units if declared.marts[unit.mart].silo == silo
            ),
            covered,
        )
        for silo, covered in due.covered.items()
    }


def measured(
    due: Due,
    declared: Project,
    spec: BuildSpec,
    keys: Keys,
    rows: Mapping[str, pl.DataFrame],
    *,
    work: Path,
    good: Collection[str],
) -> tuple[BuiltUnit, ...]:
    """Every unit whose cells were measured, with its fingerprint, and what more to know of those that are due."""
    found = []
    with _database(work) as connection:
        for name in sorted({unit.mart for unit in spec.units}):
            mart = declared.marts[name]
            units = spec.units_of(name)
            try:
                prints = fingerprints.of(connection, keys, name, units)
            except fingerprints.NotMeasuredError:  # its model did not pass
                continue
            counted = {
                unit.first_day: late_arriving.rows_between(rows[mart.silo], unit.first_day, unit.last_day)
                for unit in units
                if unit in due.units
            }
            contract = contracts.CONTRACTS.get(name) if name in good else None  # others are not released
            reports = utility.reports(connection, plan(), mart, contract, counted) if contract else {}
            found += [
                BuiltUnit(
                    unit=unit,
                    silo=mart.silo,
                    fingerprint=prints[unit],
                    due=unit in due.units,
                    rows=counted.get(unit.first_day, 0),
                    utility=reports.get(unit.first_day),
                    fitted_to=due.fitted_to.get(unit, ()),
                )
                for unit in units
            ]
    return tuple(found)


def export(store: Minio, marts: Sequence[Mart], build_id: str, work: Path) -> tuple[list[BuiltMart], dict[str, str]]:
    """Store marts exactly as dbt made them, all columns, by quarter and grain; with them, the names of places by id."""
    with _database(work) as connection:
        places = dict(connection.execute("select place_id, place_name from reference.places order by 1").fetchall())
        return [_export_mart(connection, store, mart, build_id, work) for mart in marts], places


def _export_mart(
    connection: duckdb.DuckDBPyConnection, store: Minio, mart: Mart, build_id: str, work: Path
) -> BuiltMart:
    started = time.monotonic()
    order = ", ".join(f'"{column}"' for column in ("quarter_start", *mart.grain))
    reader = connection.execute(f"from {mart.relation} order by {order}").to_arrow_reader(BATCH_ROWS)
    path = work / f"{mart.name}.parquet"
    rows = parquet.write(path, reader.schema, reader)
    sha256 = object_store.put_file(store, candidates.BUCKET, candidates.key(build_id, mart.name), path)
    path.unlink()
    return BuiltMart(mart=mart, rows=rows, sha256=sha256, seconds=round(time.monotonic() - started, 3))
