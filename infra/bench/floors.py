"""The least that the work of the lake could cost, done by hand on the same bytes in the same store."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import duckdb
import polars as pl

from infra import compute, database, object_store, registry
from infra.bench.stopwatch import Elapsed, Stopwatch
from infra.city import City, load_city
from infra.settings import Settings
from ingestion.landing import BUCKET
from ingestion.register import silos
from publication import candidates
from publication.project import PROJECT

ROLE = object_store.ADMIN  # no role of the lake both reads deliveries and writes elsewhere
MARTS = Path(__file__).parent / "marts"
_TARGET = "s3://lake/bench"


class Copied(NamedTuple):
    """What copying took, and the rows found in the copy."""

    elapsed: Elapsed
    rows: int


class Queried(NamedTuple):
    """What it took until the marts were there, and until they were also stored as Parquet."""

    made: Elapsed
    stored: Elapsed


class DifferentMartsError(RuntimeError):
    """The floor's marts are not those that dbt made: one of the two is wrong, and no figure may be shown."""


def copy_delivery(settings: Settings, silo: str, delivery_id: str) -> Copied:
    """Read a landed delivery, all columns, and write it back to the store as Parquet (zstd), streaming: Polars."""
    declared = silos()[silo]
    with closing(database.connect(settings, "pipeline", "lake")) as connection:
        delivery = registry.delivery(connection, silo, delivery_id)
    if delivery is None:
        raise KeyError(f"silo {silo} has no delivery {delivery_id}")
    dialect = (declared.format(delivery.format) if delivery.format else declared.formats[0]).dialect
    options = object_store.polars_options(settings, ROLE)
    target = f"{_TARGET}/{delivery_id}.parquet"
    watch = Stopwatch()
    pl.scan_csv(
        f"s3://{BUCKET}/{delivery.object_key}",
        separator=dialect.delimiter,
        quote_char=dialect.quote,
        infer_schema=False,
        storage_options=options,
    ).sink_parquet(target, compression="zstd", storage_options=options)
    elapsed = watch.read()
    rows = pl.scan_parquet(target, storage_options=options).select(pl.len()).collect().item()
    _remove(settings, f"bench/{delivery_id}.parquet")
    return Copied(elapsed, rows)


def query_marts(settings: Settings, silo: str, marts: Collection[str]) -> Queried:
    """Make a silo's marts with its hand-written query from the same files, and store them as Parquet (zstd)."""
    script = (MARTS / f"{silo}.sql").read_text()
    city = load_city(settings)
    watch = Stopwatch()
    with compute.connect(settings, ROLE) as connection:
        _give(connection, silo, city)
        connection.execute(script)
        made = watch.read()
        for mart in marts:
            connection.execute(f"copy {mart} to '{_TARGET}/{mart}.parquet' (format parquet, compression zstd)")
        return Queried(made, watch.read())


def compare_marts(settings: Settings, marts: Collection[str], build_id: str) -> dict[str, int]:
    """The rows of each mart, once every row that :func:`query_marts` stored is known to be the build's; it then goes.

    Raises:
        DifferentMartsError: a mart is not the same.
    """
    with compute.connect(settings, ROLE) as connection:
        rows = {mart: _compared(connection, mart, build_id) for mart in marts}
    for mart in marts:
        _remove(settings, f"bench/{mart}.parquet")
    return rows


def _give(connection: duckdb.DuckDBPyConnection, silo: str, city: City) -> None:
    """The names that a family's query reads: its events, the city's zones and places, the vocabularies."""
    files = f"s3://lake/conformed/{silo}/data/*/*.parquet"
    connection.execute(f"create view events as from read_parquet('{files}', hive_partitioning=false)")
    published = city.zones.select("area_id", "area_name", published_zone_id="zone_id")
    zones = city.zones.drop("area_id", "area_name").join(published, on="published_zone_id")
    unknown = {"place_id": "unknown", "place_name": "Unknown place"}
    places = pl.concat([city.places, pl.DataFrame([unknown])], how="diagonal")
    for name, frame in (("zones", zones), ("places", places)):
        connection.register("given", frame.to_arrow())
        connection.execute(f"create table {name} as from given")
    for seed in sorted((PROJECT / "seeds").glob("*.csv")):
        connection.execute(f"create table {seed.stem} as from read_csv('{seed}')")


def _compared(connection: duckdb.DuckDBPyConnection, mart: str, build_id: str) -> int:
    built = f"'s3://{candidates.BUCKET}/{candidates.key(build_id, mart)}'"
    columns = ", ".join(f'"{name}"' for name, *_ in connection.execute(f"describe from {built}").fetchall())
    queried = f"(select {columns} from '{_TARGET}/{mart}.parquet')"
    missing, extra, rows = connection.execute(
        f"""
        select
            (select count(*) from (from {built} except all from {queried})),
            (select count(*) from (from {queried} except all from {built})),
            (select count(*) from {built})
        """
    ).fetchall()[0]
    if missing or extra:
        raise DifferentMartsError(
            f"mart {mart}: of the build's rows the hand-written query lacks {missing}, and it has {extra} others"
        )
    return int(rows)


def _remove(settings: Settings, key: str) -> None:
    object_store.client(settings, ROLE).remove_object("lake", key)
