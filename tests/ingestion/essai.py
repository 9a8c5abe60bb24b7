"""A silo made for tests, with two datasets: ``records``, known by a pseudonym, and ``counts``, by place and time.

Every lake can hold many of them side by side, so that each test has its own tables. Not a test module: the processes
that the crash tests start import it too.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any
from unittest import mock

import pandera.polars as pa
import polars as pl

from infra import catalog, object_store
from infra.city.profile import City
from infra.settings import Settings
from ingestion import pipeline, replay
from ingestion.conformed import lost_files, tables
from ingestion.contracts.contract import Contract
from ingestion.contracts.rules import present, rule
from ingestion.delivery import landing, naming
from ingestion.formats import recognition
from ingestion.formats.format import Dialect, Format
from ingestion.formats.recognition import header_has
from ingestion.register import Dataset, Retention, Silo
from ingestion.rows.pseudonyms import Pseudonymiser

COMMA = Dialect(delimiter=",")
RECORDS = ("record", "day", "value", "plate")
COUNTS = ("place", "hour", "people")


class DeliveredRecord(pa.DataFrameModel):
    row: pl.Int64
    record: str = pa.Field(nullable=True)
    day: pl.Date = pa.Field(nullable=True)
    value: pl.Int64 = pa.Field(nullable=True)
    plate: str = pa.Field(nullable=True)

    record_missing = rule("record_missing", "record", present)
    day_unreadable = rule("day_unreadable", "day", present)
    value_negative = rule("value_negative", "value", lambda value: value >= 0)


class ConformedRecord(pa.DataFrameModel):
    record_key: pl.Binary
    vehicle: pl.Binary = pa.Field(nullable=True)
    record: str
    value: pl.Int64 = pa.Field(nullable=True)
    event_date: pl.Date


class DeliveredCount(pa.DataFrameModel):
    row: pl.Int64
    place: str
    hour: Annotated[pl.Datetime, "us", "UTC"] = pa.Field(nullable=True)
    people: pl.Int64 = pa.Field(nullable=True)

    hour_unreadable = rule("hour_unreadable", "hour", present)
    people_absurd = rule("people_absurd", "people", lambda people: people < 1000)


class ConformedCount(pa.DataFrameModel):
    place_id: str
    direction: str
    starts_at: Annotated[pl.Datetime, "us", "UTC"]
    people: pl.Int64 = pa.Field(nullable=True)
    event_date: pl.Date


def _records(batch: pl.DataFrame) -> pl.DataFrame:
    return batch.select(
        pl.col("row").cast(pl.Int64),
        "record",
        pl.col("day").str.to_date("%Y-%m-%d", strict=False),
        pl.col("value").cast(pl.Int64, strict=False),
        "plate",
    )


def _conform_records(rows: pl.DataFrame, _: Format, __: City, pseudonymiser: Pseudonymiser) -> pl.DataFrame:
    return rows.select(
        "row",
        *pseudonymiser.records(rows["record"], rows["day"]),
        vehicle=pseudonymiser.pseudonyms("vehicle", rows["plate"], rows["day"]),
        record="record",
        value="value",
        event_date="day",
        reject=pl.when(pl.col("value") == 13).then(pl.lit("unlucky")),
        warn=pl.when(pl.col("value") == 7).then(pl.lit("lucky")),
    )


def _counts(batch: pl.DataFrame) -> pl.DataFrame:
    return batch.select(
        pl.col("row").cast(pl.Int64),
        "place",
        pl.col("hour").str.to_datetime("%Y-%m-%dT%H:%M", time_unit="us", time_zone="UTC", strict=False),
        pl.col("people").cast(pl.Int64, strict=False),
    )


def _conform_counts(rows: pl.DataFrame, _: Format, __: City, ___: Pseudonymiser) -> pl.DataFrame:
    """Two lines for each row, in and out; going out is refused for 99 people, and both ways for 100."""
    both = pl.concat([rows.with_columns(direction=pl.lit(direction)) for direction in ("in", "out")])
    return both.sort("row", maintain_order=True).select(
        "row",
        place_id="place",
        direction="direction",
        starts_at="hour",
        people="people",
        event_date=pl.col("hour").dt.date(),
        reject=pl.when((pl.col("people") == 100) | ((pl.col("people") == 99) & (pl.col("direction") == "out"))).then(
            pl.lit("full")
        ),
        warn=pl.lit(None, pl.String),
    )


RECORDS_CONTRACT = Contract(
    DeliveredRecord, ConformedRecord, _conform_records, rules={"unlucky": "Thirteen is refused. Deliver another."}
)
COUNTS_CONTRACT = Contract(DeliveredCount, ConformedCount, _conform_counts)


def changed(dataset: Dataset, **changes: Any) -> Dataset:
    """The same dataset, once parts of its contract are others."""
    contract = replace(dataset.contract(), **changes)
    return replace(dataset, contract=lambda: contract)


def unexpected() -> Any:
    raise AssertionError("no test asks for it")


def make(name: str) -> Silo:
    """A silo called ``name``, whose datasets are ``<name>_records`` and ``<name>_counts``."""
    records = Dataset(
        name=f"{name}_records",
        description="One row per record.",
        key=("record_key",),
        contract=lambda: RECORDS_CONTRACT,
    )
    counts = Dataset(
        name=f"{name}_counts",
        description="One row per place, direction and hour.",
        key=("place_id", "direction", "starts_at"),
        contract=lambda: COUNTS_CONTRACT,
    )
    return Silo(
        name=name,
        title="Essai",
        steward="Tests",
        purpose="To be tested.",
        legal_basis="None needed: invented.",
        recipients=(),
        retention=Retention(timedelta(days=7), timedelta(days=30), None),
        privacy_unit="none",
        freshness=timedelta(days=1),
        cadence="0 * * * *",
        datasets=(records, counts),
        demo=unexpected,
        accepts=lambda: (
            Format(
                name="records",
                title="Records",
                dataset=records.name,
                dialect=COMMA,
                required=RECORDS,
                recognise=header_has(COMMA, RECORDS),
                to_delivered=_records,
                covers=naming.period,
            ),
            Format(
                name="nameless",
                title="Records without a number: the n-th with the same value and day",
                dataset=records.name,
                dialect=COMMA,
                required=("nameless_day", "nameless_value"),
                recognise=header_has(COMMA, ("nameless_day", "nameless_value")),
                to_delivered=lambda batch: _records(
                    batch.with_columns(
                        record=pl.concat_str("nameless_day", "nameless_value", "occurrence", separator="|"),
                        day="nameless_day",
                        value="nameless_value",
                        plate=pl.lit(None, pl.String),
                    )
                ),
                occurrence_columns=("nameless_day", "nameless_value"),
            ),
            Format(
                name="counts",
                title="Counts",
                dataset=counts.name,
                dialect=COMMA,
                required=COUNTS,
                recognise=header_has(COMMA, COUNTS),
                to_delivered=_counts,
            ),
        ),
    )


@contextlib.contextmanager
def registered(*silos: Silo) -> Iterator[None]:
    """The register, for the time being, holds these silos only."""
    register: Mapping[str, Silo] = {silo.name: silo for silo in silos}
    with contextlib.ExitStack() as stack:
        for module in (landing, lost_files, pipeline, recognition, replay):
            stack.enter_context(mock.patch.object(module, "silos", return_value=register))
        yield


def csv(columns: Iterable[str], rows: Iterable[Iterable[Any]]) -> bytes:
    lines = [",".join(columns), *(",".join("" if value is None else str(value) for value in row) for row in rows)]
    return ("\n".join(lines) + "\n").encode()


def deliver(
    settings: Settings,
    silo: str,
    name: str,
    content: bytes,
    *,
    named: str | None = None,
    corrects: str | None = None,
    covers: Sequence[str] = (),
) -> Path:
    """Put a file in the drop folder, as `calanque drop` does."""
    source = settings.work_dir / "essai" / silo / name
    source.parent.mkdir(parents=True, exist_ok=True)
    source.write_bytes(content)
    return landing.drop(settings, silo, source, named, corrects, covers=covers)


def table(settings: Settings, dataset: Dataset) -> pl.DataFrame:
    """Every row of a conformed table, as its readers see it."""
    loaded = tables.ensure(catalog.open_catalog(settings, "pipeline"), dataset)
    return pl.scan_iceberg(loaded, storage_options=object_store.polars_options(settings, "pipeline")).collect()


def receipt(settings: Settings, silo: str, delivery_id: str) -> dict[str, Any]:
    content: dict[str, Any] = object_store.get_json(
        object_store.client(settings, "steward"), "receipts", f"deliveries/{silo}/{delivery_id}.json"
    )
    return content


def quarantine(settings: Settings, silo: str, delivery_id: str) -> pl.DataFrame:
    path = f"s3://quarantine/{silo}/{delivery_id}.parquet"
    return pl.read_parquet(path, storage_options=object_store.polars_options(settings, "steward"))


def day(number: int) -> date:
    return date(2025, 1, 28) + timedelta(days=number)


def instant(hours: int) -> datetime:
    return datetime(2025, 3, 1, tzinfo=UTC) + timedelta(hours=hours)
