"""Deliver a file to a silo and see what becomes of it, through the parts that the pipeline uses."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pyarrow as pa

from infra.city.profile import City
from infra.keys.store import Keys
from infra.registry import Tally
from ingestion.conformed.schemas import arrow_schema, polars_schema
from ingestion.formats.format import Format, Sample
from ingestion.formats.opening import open_delivery
from ingestion.formats.reading import read_batches
from ingestion.formats.recognition import recognise, sample
from ingestion.refusal import Refused
from ingestion.register import Dataset, Silo, silos
from ingestion.rows.conforming import conform
from ingestion.rows.pseudonyms import Pseudonymiser
from ingestion.silos.telecom_footfall.contracts import WEIGHTS_UNBOUNDED

Record = Mapping[str, str]


@dataclass(frozen=True)
class Outcome:
    """What one delivery became."""

    accepted: Format
    tally: Tally
    rows: pl.DataFrame
    rejects: pl.DataFrame


Deliver = Callable[[str, Path, City], Outcome]


def shared_data() -> Path:
    """The folder of real public files, which may not be there."""
    beside = Path(__file__).parents[4] / "shared" / "data"
    return Path(os.environ.get("CALANQUE_SHARED_DATA", beside))


def _file_schema(dataset: Dataset) -> pa.Schema:
    views = {pa.string(): pa.string_view(), pa.binary(): pa.binary_view()}
    return pa.schema(field.with_type(views.get(field.type, field.type)) for field in arrow_schema(dataset))


def write(path: Path, accepted: Format, records: Iterable[Record]) -> Path:
    """A delivery file of ``records``: its header is the keys of the first one, unless the format has none."""
    records = list(records)
    columns = list(accepted.dialect.columns or records[0])
    dialect = {"delimiter": accepted.dialect.delimiter, "lineterminator": "\n"}
    quoting = csv.QUOTE_MINIMAL if accepted.dialect.quote else csv.QUOTE_NONE
    text = io.StringIO()
    lines = csv.writer(text, quoting=quoting, **dialect)
    if accepted.dialect.columns is None:
        lines.writerow(columns)
    lines.writerows([record.get(column, "") for column in columns] for record in records)
    path.write_text(text.getvalue(), encoding="utf-8")
    return path


def _recognised(silo: Silo, seen: Sample, name: str) -> Format:
    """The format of a delivery; of one that is refused until its weights have a cap, as if they had."""
    try:
        return recognise(silo, seen, name)
    except Refused as refused:
        if refused.rule != WEIGHTS_UNBOUNDED:
            raise
        return next(found for found in silo.formats if found.recognise(seen))


def run(silo_name: str, path: Path, city: City, keys: Keys, scratch: Path) -> Outcome:
    """Open, recognise, read, check and conform ``path``, in the empty folder ``scratch``."""
    silo = silos()[silo_name]
    for folder in ("opened", "conformed"):
        (scratch / folder).mkdir()
    opened = open_delivery(path, path.name, scratch / "opened")
    accepted = _recognised(silo, sample(opened.path), path.name)
    dataset = silo.dataset(accepted.dataset)
    conformed = conform(
        lambda: read_batches(opened.path, accepted, name=path.name),
        dataset=dataset,
        accepted=accepted,
        city=city,
        pseudonymiser=Pseudonymiser(silo_name, keys),
        schema=_file_schema(dataset),
        delivery_id="0" * 64,
        scratch=scratch / "conformed",
    )
    empty = pl.DataFrame(schema={**polars_schema(dataset), "format": pl.String, "delivery_id": pl.String})
    rows = pl.concat([empty, *(pl.read_parquet(file.path) for file in conformed.files)])
    return Outcome(accepted, conformed.tally, rows, conformed.rejects.collect())
