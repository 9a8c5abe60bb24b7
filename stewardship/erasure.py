"""Erasing a vehicle: every conformed row of one plate, for the months whose keys still live, with a receipt.

The plate comes in, is normalised as deliveries are, and is turned into one pseudonym per living key. These are kept
beside the keys as long as those live, and nowhere else: an erasure is a rule, by which conforming takes no row of the
vehicle wherever it comes from, and by which retention looks at the tables again every day. A month whose key was
destroyed cannot be searched: nobody can tell any more which of its rows are this vehicle's, and its rows go when their
own time is over. Releases are statistics from which nobody can be taken out: they are not made again.
"""

from __future__ import annotations

import uuid
from contextlib import closing
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any

import polars as pl
import psycopg

from infra import database, object_store, registry
from infra.calendar import trusted_clock
from infra.calendar.clock import add_months
from infra.catalog import open_catalog
from infra.keys.known_keys import KnownKeys
from infra.keys.store import DEFAULT_MONTHS, Keys, open_keys
from infra.machines.backup.key_mirror import mirror_erasures
from infra.machines.stores.compaction import compact
from infra.settings import Settings
from ingestion.conformed.vehicles import VEHICLE, datasets_with_vehicles, files_by_day, table_of
from ingestion.contracts import retention_limits
from ingestion.formats import parsing
from ingestion.register import Dataset, Silo, silos
from ingestion.rows.pseudonyms import Pseudonymiser
from stewardship.retention.conformed import ConformedHolding
from stewardship.retention.erased import take_out

ROLE = "pipeline"
RECEIPTS_ROLE = "retention"
RECEIPTS = "receipts"
_UNREAD = ("landed", "parked")
PREFIX = "erasures/"


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

    When one that is not ``digested`` yet is, none of its rows of the vehicle is taken.
    """

    silo: str
    delivery_id: str
    landed_on: date
    gone_on: date
    digested: bool


@dataclass(frozen=True)
class Erasure:
    """What an erasure did. It holds no plate and no pseudonym, and neither does its receipt.

    ``holds`` are the months, by silo, of which no row of the vehicle is taken from now on. ``mirrored``: the mirror of
    the keys that the last backup wrote knows of it too; None: there is none.
    """

    id: str
    at: datetime
    run: str
    tables: dict[str, Searched]
    holds: dict[str, list[str]]
    landing: tuple[Undigested, ...]
    mirrored: bool | None

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
            "holds": self.holds,
            "mirrored": self.mirrored,
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

    It waits for running ingestions, so that none commits what it conformed before. Killed anywhere, it is simply called
    again. A vehicle that is nowhere is an erasure too: what comes of it later is not taken.

    Raises:
        NotAPlateError: it has no letter and no digit, or is a word for "no plate".
        infra.keys.store.KeyDamagedError: a key is not the one that rows were conformed with: its rows would not be
            found.
        infra.calendar.trusted_clock.ClockDoubtedError: the clock is not believed.
    """
    normal = pl.select(plate=parsing.plate(pl.lit(plate.strip(), pl.String)))["plate"]
    if normal.has_nulls():
        raise NotAPlateError("this is not a registration plate: letters and digits, with or without separators")
    now = trusted_clock.now(settings, ROLE)
    erasure_id = uuid.uuid4().hex
    keys = KnownKeys(settings, open_keys(settings))
    catalog = open_catalog(settings, ROLE)
    found: dict[str, Searched] = {}
    holds: dict[str, list[str]] = {}
    with closing(database.connect(settings, ROLE, "lake")) as connection:
        for silo, dataset in datasets_with_vehicles():
            with registry.locked(connection, f"silo {silo.name}"):
                pseudonyms = _remember(keys, silo, normal, now.date())
                holds[silo.name] = list(pseudonyms)
                if (table := table_of(catalog, dataset)) is None:
                    continue
                with registry.locked(connection, f"table {dataset.name}"):
                    table.refresh()
                    removed = take_out(
                        settings, connection, table, {month: [each] for month, each in pseudonyms.items()}, erasure_id
                    )
                    months = {f"{day:%Y-%m}" for day in files_by_day(table)}
                found[dataset.name] = Searched(removed, sorted(months - pseudonyms.keys()))
        landing = tuple(_landing(connection, now))
    for silo, dataset in datasets_with_vehicles():
        if dataset.name in found:
            _forget(settings, silo, dataset, now)
    if any(searched.removed for searched in found.values()):
        compact(settings)
    erasure = Erasure(erasure_id, now, run, found, holds, landing, mirror_erasures(settings))
    store = object_store.client(settings, RECEIPTS_ROLE)
    object_store.put_json(store, RECEIPTS, erasure.receipt_key, erasure.as_json())
    return erasure


def _remember(keys: Keys, silo: Silo, plate: pl.Series, today: date) -> dict[str, bytes]:
    """The pseudonyms of a plate under the keys of a silo, by month, once they are beside the keys as erased.

    Under every key that lives, and under those of the months whose rows may come still, which are made if need be.
    """
    states = [state for state in keys.states() if state.silo == silo.name]
    months = {state.month for state in states if state.alive}
    coming = {f"{add_months(today, -back):%Y-%m}" for back in range(DEFAULT_MONTHS)}
    months |= coming - {state.month for state in states if state.tombstone}
    pseudonymiser = Pseudonymiser(silo.name, keys)
    found = {}
    for month in sorted(months):
        hashed = pseudonymiser.pseudonyms(VEHICLE, plate, pl.Series([date.fromisoformat(f"{month}-01")]))[0]
        if hashed is not None:  # its key was not destroyed this very moment
            keys.erase(silo.name, month, hashed)
            found[month] = hashed
    return found


def _forget(settings: Settings, silo: Silo, dataset: Dataset, now: datetime) -> None:
    """Old snapshots and replaced files of the table, down to the objects; rows are kept as long as ever."""
    ConformedHolding(settings, silo.name, dataset, retention_limits.conformed(silo.name), now).clean()


def _landing(connection: psycopg.Connection, now: datetime) -> list[Undigested]:
    found = []
    for silo in silos():
        limit = retention_limits.landing(silo)
        since = limit.first_day_kept(now.date()) - timedelta(days=1)
        for delivery_id, landed_on, status in registry.landed_objects(connection, silo, since):
            found.append(Undigested(silo, delivery_id, landed_on, limit.last_day(landed_on), status not in _UNREAD))
    return found
