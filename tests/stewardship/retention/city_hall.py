"""A city that delivers fines and tows of known vehicles, and eyes that look for them in every byte of its lake."""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import polars as pl
from pyiceberg.exceptions import NoSuchTableError

from infra import object_store
from infra.catalog import open_catalog
from infra.keys.store import open_keys
from infra.settings import Settings
from ingestion import pipeline
from ingestion.delivery import landing
from ingestion.receipts import Receipt
from ingestion.register import silos
from ingestion.rows.pseudonyms import Pseudonymiser
from ingestion.silos.verbalisations.formats import PVE_PLATE
from tests.ingestion.silos.silo_delivery import write
from tests.ingestion.silos.silo_records import FOURRIERE, PVE

_GZIP = b"\x1f\x8b\x08"
_numbers = itertools.count(1)


def today() -> date:
    return datetime.now(UTC).date()


def at(settings: Settings, day: date) -> Settings:
    """The same lake when a clock shows the early morning of ``day``."""
    return settings.model_copy(update={"now": datetime(day.year, day.month, day.day, 3, tzinfo=UTC)})


def fine(day: date | str, plate: str, words: str = "STATIONNEMENT GÊNANT") -> dict[str, str]:
    record = {"DI_Id": f"9{next(_numbers):09d}", "MI_DateHeureInfraction": f"{day} 14:05:00", PVE_PLATE: plate}
    return {**PVE, **record, "NI_Qualification": words}


def tow(day: date, plate: str) -> dict[str, str]:
    record = {"numero_dossier": f"D-{next(_numbers):06d}", "immatriculation": plate}
    return {
        **FOURRIERE,
        **record,
        "date_heure_enlevement": f"{day} 14:05:00",
        "date_heure_mainlevee": f"{day} 18:00:00",
        "date_heure_restitution": f"{day} 19:00:00",
    }


def deliver(settings: Settings, silo: str, records: Iterable[dict[str, str]], folder: Path) -> list[Receipt]:
    """Land the records as one file, and ingest it."""
    drop(settings, silo, records, folder)
    return pipeline.ingest(settings, silo)


def drop(settings: Settings, silo: str, records: Iterable[dict[str, str]], folder: Path) -> None:
    """Land the records as one file."""
    drop_file(settings, silo, records, folder)
    landing.sweep(settings, silo)


def drop_file(settings: Settings, silo: str, records: Iterable[dict[str, str]], folder: Path) -> None:
    """Put the records into the drop folder, as one file."""
    accepted = silos()[silo].format({"verbalisations": "pve", "tows": "fourriere"}[silo])
    folder.mkdir(exist_ok=True)
    landing.drop(settings, silo, write(folder / f"{silo}-{next(_numbers)}.csv", accepted, records))


def rows(settings: Settings, dataset: str) -> pl.DataFrame:
    """Every row of a conformed table, as its readers see it."""
    try:
        table = open_catalog(settings, "pipeline").load_table(f"conformed.{dataset}")
    except NoSuchTableError:
        return pl.DataFrame(schema={"event_date": pl.Date, "vehicle": pl.Binary, "record_key": pl.Binary})
    options = object_store.polars_options(settings, "pipeline")
    paths = [task.file.file_path for task in table.scan().plan_files()]
    return pl.read_parquet(paths, storage_options=options) if paths else rows_like(table)


def rows_like(table: Any) -> pl.DataFrame:
    return pl.DataFrame(pl.from_arrow(table.schema().as_arrow().empty_table()))


def pseudonym(settings: Settings, silo: str, plate: str, day: date) -> bytes:
    """What the vehicle is called in conformed, for as long as the key lives."""
    hashed = Pseudonymiser(silo, open_keys(settings)).pseudonyms("vehicle", pl.Series([plate]), pl.Series([day]))[0]
    assert isinstance(hashed, bytes)
    return hashed


def objects(settings: Settings, bucket: str, prefix: str = "") -> list[tuple[str, str | None, bool]]:
    """Key and version of every version and delete marker."""
    store = object_store.client(settings, object_store.ADMIN)
    found = store.list_objects(bucket, prefix=prefix, recursive=True, include_version=True)
    return [(str(each.object_name), each.version_id, bool(each.is_delete_marker)) for each in found]


def anywhere(settings: Settings, *wanted: bytes) -> list[str]:
    """Where these bytes are: in any version of any object as the store gives it, or in any file of the lake's home.

    Parquet is also read for what it says, and what is gzipped unpacked. Keys and the trash that MinIO empties
    within minutes are not looked at.
    """
    return [*_in_objects(settings, wanted), *_in_files(settings, wanted)]


def _in_objects(settings: Settings, wanted: tuple[bytes, ...]) -> Iterator[str]:
    store = object_store.client(settings, object_store.ADMIN)
    for bucket in object_store.BUCKETS:
        for key, version, is_marker in objects(settings, bucket):
            if is_marker:
                continue
            response = store.get_object(bucket, key, version_id=None if version == "null" else version)
            content = response.read()
            response.close()
            response.release_conn()
            if key.endswith(".parquet"):
                content += b"".join(
                    bytes(value)
                    for column in pl.read_parquet(content).select(pl.col(pl.Binary, pl.String).cast(pl.Binary))
                    for value in column.drop_nulls()
                )
            if any(each in content for each in wanted):
                yield f"{bucket}/{key}"


def _in_files(settings: Settings, wanted: tuple[bytes, ...]) -> Iterator[str]:
    for path in settings.home.rglob("*"):
        told = str(path.relative_to(settings.home))
        if not path.is_file() or path.is_relative_to(settings.keys_dir) or ".minio.sys/tmp/.trash" in told:
            continue
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            continue
        if any(each in content + _unpacked(content) for each in wanted):
            yield told


def _unpacked(content: bytes) -> bytes:
    """Whatever is gzipped inside, such as the objects that SeaweedFS thinks worth it, one after the other."""
    found, start = [], content.find(_GZIP)
    while start >= 0:
        with suppress(zlib.error):
            found.append(zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(content[start:]))
        start = content.find(_GZIP, start + 1)
    return b"".join(found)
