"""Erasing a vehicle: every conformed row of one plate, for the months whose keys still live, with a receipt.

The plate comes in, is normalised as deliveries are, and is turned into one pseudonym per living key; nothing of it goes
out, neither the plate nor a pseudonym. A month whose key was destroyed cannot be searched: nobody can tell any more
which of its rows are this vehicle's, and its rows go when their own time is over. Releases are statistics from which
nobody can be taken out: they are not made again.
"""

from __future__ import annotations

import uuid
from contextlib import closing
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any

import polars as pl
import psycopg
from pyiceberg.table import Table

from infra import clock, database, object_store, registry
from infra.catalog import open_catalog
from infra.keys import Keys, open_keys
from infra.services.compaction import compact
from infra.settings import Settings
from ingestion import parsing
from ingestion.pseudonyms import Pseudonymiser
from ingestion.register import Dataset, Silo, silos
from ingestion.retention import limits
from ingestion.retention.conformed import ConformedZone
from ingestion.vehicles import VEHICLE, datasets_with_vehicles, files_by_day, read, replace_day, table_of

ROLE = "pipeline"
RECEIPTS_ROLE = "retention"
RECEIPTS = "receipts"
_UNREAD = ("landed", "parked")
PREFIX = "erasures/"
ERASURE_PROPERTY = "calanque.erasure"
"""The snapshot property that says which erasure made a commit, by the id of its receipt."""


class NotAPlateError(ValueError):
    """What was given is no registration plate; the message does not repeat it."""


@dataclass
class Searched:
    """One table: rows removed by month, and the months that could not be searched because their key is gone."""

    removed: dict[str, int] = field(default_factory=dict)
    not_searched: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Undigested:
    """A delivery whose raw bytes are still in landing, whoever they are about, and the day they are gone.

    One that is not ``digested`` yet may bring rows of the vehicle when it is: erase once more after that.
    """

    silo: str
    delivery_id: str
    landed_on: date
    gone_on: date
    digested: bool


@dataclass(frozen=True)
class Erasure:
    """What an erasure did. It holds no plate and no pseudonym, and neither does its receipt."""

    id: str
    at: datetime
    run: str
    tables: dict[str, Searched]
    landing: tuple[Undigested, ...]

    @property
    def removed(self) -> int:
        return sum(sum(searched.removed.values()) for searched in self.tables.values())

    @property
    def receipt_key(self) -> str:
        return f"{PREFIX}{self.at.date()}-{self.id}.json"

    def as_json(self) -> dict[str, Any]:
        """The erasure as its receipt has it: dates in ISO 8601."""
        return {
            "id": self.id,
            "at": self.at.isoformat(),
            "run": self.run,
            "tables": {
                name: {"removed": searched.removed, "not_searched": searched.not_searched}
                for name, searched in self.tables.items()
            },
            "landing": [
                {
                    "silo": each.silo,
                    "delivery_id": each.delivery_id,
                    "landed_on": each.landed_on.isoformat(),
                    "gone_on": each.gone_on.isoformat(),
                    "digested": each.digested,
                }
                for each in self.landing
            ],
        }


def erase(settings: Settings, plate: str, *, run: str) -> Erasure:
    """Remove every conformed row of the vehicle with this plate, as far as living keys reach, files included.

    Killed anywhere, it is simply called again. A vehicle that is nowhere is an erasure of nothing, with a receipt.

    Raises:
        NotAPlateError: it has no letter and no digit, or is a word for "no plate".
    """
    normal = pl.select(plate=parsing.plate(pl.lit(plate.strip(), pl.String)))["plate"]
    if normal.has_nulls():
        raise NotAPlateError("this is not a registration plate: letters and digits, with or without separators")
    now = clock.now(settings)
    erasure_id = uuid.uuid4().hex
    keys = open_keys(settings)
    catalog = open_catalog(settings, ROLE)
    found: dict[str, Searched] = {}
    with closing(database.connect(settings, ROLE, "lake")) as connection:
        for silo, dataset in datasets_with_vehicles():
            if (table := table_of(catalog, dataset)) is not None:
                with registry.locked(connection, f"table {dataset.name}"):
                    table.refresh()
                    found[dataset.name] = _search(
                        settings, connection, table, silo=silo, keys=keys, plate=normal, erasure_id=erasure_id
                    )
        landing = tuple(_landing(connection, now))
    for silo, dataset in datasets_with_vehicles():
        if dataset.name in found:
            _forget(settings, silo, dataset, now)
    if any(searched.removed for searched in found.values()):
        compact(settings)
    erasure = Erasure(erasure_id, now, run, found, landing)
    store = object_store.client(settings, RECEIPTS_ROLE)
    object_store.put_json(store, RECEIPTS, erasure.receipt_key, erasure.as_json())
    return erasure


def _search(
    settings: Settings,
    connection: psycopg.Connection,
    table: Table,
    *,
    silo: Silo,
    keys: Keys,
    plate: pl.Series,
    erasure_id: str,
) -> Searched:
    searched = Searched()
    options = object_store.polars_options(settings, ROLE)
    pseudonymiser = Pseudonymiser(silo.name, keys)
    alive = {state.month for state in keys.states() if state.silo == silo.name and state.alive}
    pseudonyms: dict[str, bytes | None] = {}
    found: dict[date, list[str]] = {}
    for day, paths in files_by_day(table).items():
        month = f"{day:%Y-%m}"
        if month not in pseudonyms:
            hashed = pseudonymiser.pseudonyms(VEHICLE, plate, pl.Series([day])) if month in alive else [None]
            pseudonyms[month] = hashed[0]  # none also when its key was destroyed this very moment
            if hashed[0] is None:
                searched.not_searched.append(month)
        if (pseudonym := pseudonyms[month]) is None:
            continue
        lines = pl.scan_parquet(paths, storage_options=options, missing_columns="insert", extra_columns="ignore")
        count = lines.filter(pl.col(VEHICLE) == pl.lit(pseudonym, pl.Binary)).select(pl.len()).collect().item()
        if count:
            searched.removed[month] = searched.removed.get(month, 0) + count
            found[day] = paths
    connection.execute("select 1")  # the lock is gone with its session: then stop here
    connection.commit()
    if found:
        with table.transaction() as transaction:
            for day, paths in found.items():
                rows = read(table, paths, options)
                kept = rows.filter(pl.col(VEHICLE).ne_missing(pl.lit(pseudonyms[f"{day:%Y-%m}"], pl.Binary)))
                replace_day(transaction, table, day, kept, {ERASURE_PROPERTY: erasure_id})
    return searched


def _forget(settings: Settings, silo: Silo, dataset: Dataset, now: datetime) -> None:
    """Old snapshots and replaced files of the table, down to the objects; rows are kept as long as ever."""
    ConformedZone(settings, silo.name, dataset, limits.conformed(silo.name), now).clean()


def _landing(connection: psycopg.Connection, now: datetime) -> list[Undigested]:
    found = []
    for silo in silos():
        limit = limits.landing(silo)
        since = limit.first_day_kept(now.date()) - timedelta(days=1)
        for delivery_id, landed_on, status in registry.landed_objects(connection, silo, since):
            found.append(Undigested(silo, delivery_id, landed_on, limit.last_day(landed_on), status not in _UNREAD))
    return found
