"""The least that the work of the lake could cost, done by hand on the same bytes in the same store.

Ingestion has two floors. *Copy* is the same bytes, read and written by Polars: what landing and ingesting do, without
understanding a word. *Parquet* is stricter: it reads the bytes and writes far fewer, and never stores the delivery.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import duckdb
import polars as pl

from benchmarks.stopwatch import Elapsed, Stopwatch
from infra import compute, database, object_store, registry
from infra.build_spec import FOOTFALL_HIDDEN
from infra.calendar.days import DayRange
from infra.city.profile import City, load_city
from infra.keys.store import open_keys
from infra.settings import Settings
from ingestion.delivery.landing import BUCKET
from ingestion.formats.format import Dialect
from ingestion.register import silos
from privacy import plan as privacy_plan
from publication.builds import candidates
from publication.builds.dbt_plugin import clock_hours, register_noise
from publication.builds.project import PROJECT

ROLE = object_store.ADMIN  # no role of the lake both reads deliveries and writes elsewhere
MARTS = Path(__file__).parent / "marts"
_TARGET = "s3://lake/bench"
_INSTANTS = {"verbalisations": "occurred_at", "tows": "removed_at"}


class DifferentBytesError(RuntimeError):
    """What Polars wrote is not what was delivered: it is no copy, and no figure may be shown."""


class Queried(NamedTuple):
    """What it took until the marts were there, and until they were also stored as Parquet."""

    made: Elapsed
    stored: Elapsed


class DifferentMartsError(RuntimeError):
    """The floor's marts are not those that dbt made: one of the two is wrong, and no figure may be shown."""


class _Landed(NamedTuple):
    """A delivery in the store, and how its first format, or the one that was named, is written."""

    address: str
    dialect: Dialect
    options: dict[str, str]

    def scan(self) -> pl.LazyFrame:
        """All columns, as text."""
        return pl.scan_csv(
            self.address,
            separator=self.dialect.delimiter,
            quote_char=self.dialect.quote,
            infer_schema=False,
            storage_options=self.options,
        )


def copy_delivery(settings: Settings, silo: str, delivery_id: str) -> Elapsed:
    """Read a landed delivery and write the same bytes back to the store, streaming: Polars.

    Raises:
        DifferentBytesError: Polars wrote others.
    """
    landed = _landed(settings, silo, delivery_id)
    key = f"bench/{delivery_id}.csv"
    watch = Stopwatch()
    landed.scan().sink_csv(
        f"s3://lake/{key}", separator=landed.dialect.delimiter, quote_style="never", storage_options=landed.options
    )
    elapsed = watch.read()
    written = _digest(settings, key)
    _remove(settings, key)
    if written != delivery_id:
        raise DifferentBytesError(f"silo {silo}: the copy of delivery {delivery_id} has other bytes")
    return elapsed


def rewrite_delivery(settings: Settings, silo: str, delivery_id: str) -> tuple[Elapsed, int]:
    """Read a landed delivery, write it back to the store as Parquet (zstd), streaming: Polars; and count its rows."""
    landed = _landed(settings, silo, delivery_id)
    key = f"bench/{delivery_id}.parquet"
    watch = Stopwatch()
    landed.scan().sink_parquet(f"s3://lake/{key}", compression="zstd", storage_options=landed.options)
    elapsed = watch.read()
    rows = pl.scan_parquet(f"s3://lake/{key}", storage_options=landed.options).select(pl.len()).collect().item()
    _remove(settings, key)
    return elapsed, rows


def query_plain(settings: Settings, silo: str) -> Elapsed:
    """The same query without what makes its marts anonymous: no vehicle is left out, no noise, no common totals."""
    city = load_city(settings)
    watch = Stopwatch()
    with compute.connect(settings, ROLE) as connection:
        _give_events(connection, silo, bounded=False)
        give(connection, settings, city)
        connection.execute((MARTS / "plain.sql").read_text())
        connection.execute((MARTS / f"{silo}.sql").read_text())
        return watch.read()


def query_marts(settings: Settings, silo: str, marts: Collection[str]) -> Queried:
    """Make a silo's marts with its hand-written query from the same files, and store them as Parquet (zstd)."""
    script = (MARTS / f"{silo}.sql").read_text()
    city = load_city(settings)
    watch = Stopwatch()
    with compute.connect(settings, ROLE) as connection:
        _give_events(connection, silo, bounded=True)
        give(connection, settings, city)
        connection.execute(script)
        made = watch.read()
        for mart in marts:
            whole = "cast(period_end - period_start + 1 as integer)"  # every day of every period was declared
            figures = f"(select *, {whole} as days_covered, {whole} as days_in_period from {mart})"
            connection.execute(f"copy {figures} to '{_TARGET}/{mart}.parquet' (format parquet, compression zstd)")
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


def _give_events(connection: duckdb.DuckDBPyConnection, silo: str, *, bounded: bool) -> None:
    files = f"s3://lake/conformed/{silo}/data/*/*.parquet"
    connection.execute(f"create view events as from read_parquet('{files}', hive_partitioning=false)")
    give_counted(connection, silo, bounded=bounded)


def give_counted(connection: duckdb.DuckDBPyConnection, silo: str, *, bounded: bool) -> None:
    """View ``first_events``: of each vehicle's events of a month the first; all of them when not ``bounded``."""
    first = (
        f"""
        qualify row_number() over (
            partition by coalesce(vehicle, record_key), date_trunc('month', event_date)
            order by event_date, {_INSTANTS[silo]}, record_key
        ) = 1
        """
        if bounded and silo in _INSTANTS
        else ""
    )
    connection.execute(f"create view first_events as from events {first}")


def give(connection: duckdb.DuckDBPyConnection, settings: Settings, city: City) -> None:
    """What a family's query reads beside its events: zones, places, vocabularies, hours of the clock, the plan's noise,
    and how noisy leaves are fitted to a total.
    """
    published = city.zones.select("area_id", "area_name", published_zone_id="zone_id")
    zones = city.zones.drop("area_id", "area_name").join(published, on="published_zone_id")
    unknown = {"place_id": "unknown", "place_name": "Unknown place"}
    places = pl.concat([city.places, pl.DataFrame([unknown])], how="diagonal")
    plan = pl.DataFrame(
        [
            {
                "name": name,
                "distribution": f"{mart.spends} {mart.bound} {name}",
                "least": mart.threshold,
                "precision": round(2e9 * float(mart.spends) / mart.bound),
            }
            for name, mart in privacy_plan.plan().marts.items()
        ]
    )
    first, last = connection.execute("select min(event_date), max(event_date) from events").fetchall()[0]
    clock = clock_hours(DayRange(first_day=first, last_day=last), city.time_zone)
    known = pl.DataFrame({"footfall_hidden": [FOOTFALL_HIDDEN]})
    for name, frame in (("zones", zones), ("places", places), ("plan", plan), ("clock", clock), ("settings", known)):
        connection.register("given", frame.to_arrow())
        connection.execute(f"create table {name} as from given")
    for seed in sorted((PROJECT / "seeds").glob("*.csv")):
        connection.execute(f"create table {seed.stem} as from read_csv('{seed}')")
    register_noise(connection, open_keys(settings))
    connection.execute((MARTS / "macros.sql").read_text())


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


def _landed(settings: Settings, silo: str, delivery_id: str) -> _Landed:
    declared = silos()[silo]
    with closing(database.connect(settings, "pipeline", "lake")) as connection:
        delivery = registry.delivery(connection, silo, delivery_id)
    if delivery is None:
        raise KeyError(f"silo {silo} has no delivery {delivery_id}")
    dialect = (declared.format(delivery.format) if delivery.format else declared.formats[0]).dialect
    return _Landed(f"s3://{BUCKET}/{delivery.object_key}", dialect, object_store.polars_options(settings, ROLE))


def _digest(settings: Settings, key: str) -> str:
    digest = hashlib.sha256()
    response = object_store.client(settings, ROLE).get_object("lake", key)
    with closing(response):
        for chunk in response.stream(2**20):
            digest.update(chunk)
    response.release_conn()
    return digest.hexdigest()


def _remove(settings: Settings, key: str) -> None:
    object_store.client(settings, ROLE).remove_object("lake", key)
