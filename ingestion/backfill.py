"""Bringing event days of a silo up to date with what was delivered, whatever became of them in between.

What is to be done is read from the state of the lake: files that wait in the drop folder and deliveries that wait in
landing are worked on as ever; then deliveries whose rows are missing from the days in question (a table that was set
back or restored from an older copy, files that were lost) are taken back and ingested again from their bytes, as long
as landing keeps those. Doing it again changes nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Collection
from contextlib import closing
from dataclasses import dataclass, field
from datetime import date

import polars as pl
import psycopg
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.table import Table

from infra import database, object_store, registry
from infra.catalog import kept_from, open_catalog
from infra.registry import CommitRow
from infra.settings import Settings
from ingestion import pipeline
from ingestion.conformed import tables
from ingestion.delivery import landing
from ingestion.register import Silo, silos

ROLE = "pipeline"

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Days:
    """What became of some days of a silo. Deliveries are told by their ids.

    ``ingested`` were settled by this call, ``again`` are those of them that had been committed before. ``gone`` are
    deliveries whose rows are missing and whose bytes are no longer kept.
    """

    silo: str
    first: date
    last: date
    ingested: tuple[str, ...] = ()
    again: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()

    @property
    def sentence(self) -> str:
        """What happened, for a log."""
        parts = [f"{len(self.ingested)} deliveries ingested, {len(self.again)} of them again"]
        if self.gone:
            parts.append(
                f"{len(self.gone)} have rows missing and are no longer kept in landing: have them delivered again "
                f"({', '.join(each[:12] for each in self.gone)})"
            )
        return f"{self.silo}, {self.first} to {self.last}: " + "; ".join(parts)


@dataclass
class _Found:
    again: list[str] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)


def city_day(key: str | None) -> date:
    """The day that a partition is, from its key.

    Raises:
        ValueError: the key is none, or no date such as 2026-03-05.
    """
    try:
        return date.fromisoformat(key or "")
    except ValueError:
        raise ValueError(f"{key!r} is no city-day: a run is for a partition such as 2026-03-05") from None


def days(settings: Settings, silo: str, first: date, last: date) -> Days:
    """Land and ingest what waits, then ingest again what is missing of the event days ``first`` to ``last``.

    Raises:
        KeyError: no such silo.
        ValueError: ``first`` is after ``last``.
        ingestion.pipeline.IngestionError: some deliveries failed; the others are done.
    """
    declared = silos()[silo]
    if first > last:
        raise ValueError(f"the first day {first} is after the last day {last}")
    landing.sweep(settings, silo)
    done = pipeline.ingest(settings, silo)
    with closing(database.connect(settings, ROLE, "lake")) as connection:
        found = _missing(settings, connection, declared, first, last)
        if found.again:
            _log.warning(
                "%s: rows of %d deliveries are missing from %s to %s: ingesting them again",
                silo,
                len(found.again),
                first,
                last,
            )
            registry.take_back(connection, silo, found.again)
            connection.commit()
    if found.again:
        done += pipeline.ingest(settings, silo)
    result = Days(
        silo=silo,
        first=first,
        last=last,
        ingested=tuple(receipt.delivery_id for receipt in done),
        again=tuple(found.again),
        gone=tuple(found.gone),
    )
    _log.info("%s", result.sentence)
    return result


def _missing(settings: Settings, connection: psycopg.Connection, silo: Silo, first: date, last: date) -> _Found:
    """The deliveries with rows missing from these days, by what can be done about them."""
    catalog = open_catalog(settings, ROLE)
    store = object_store.client(settings, ROLE)
    commits = registry.commits_to_days(connection, silo.name, first, last)
    connection.commit()
    found = _Found()
    for dataset in silo.datasets:
        if dataset.reference:
            continue
        table = _table(catalog, silo, dataset.name)
        own = [commit for commit in commits if commit.dataset == dataset.name]
        since = max(first, kept_from(table) or first)
        present = _present(settings, table, since, last) if own and since <= last else set()
        for number, commit in enumerate(own, start=1):
            lacking = _lacking(commit, own[number:], present, since, last)
            if not lacking:
                continue
            if registry.is_corrected(connection, silo.name, commit.delivery_id):
                continue  # its correction stands in its place
            delivery = registry.delivery(connection, silo.name, commit.delivery_id)
            if delivery is not None and delivery.corrects is not None:
                corrected = registry.commit(connection, dataset.name, delivery.corrects)
                if corrected and lacking <= set(corrected.days) and _is_there(settings, table, commit):
                    continue  # from these days it took rows away, and brought none
            if delivery is None or not object_store.exists(store, landing.BUCKET, delivery.object_key):
                found.gone.append(commit.delivery_id)
            else:
                found.again.append(commit.delivery_id)
    connection.commit()
    return found


def _table(catalog: SqlCatalog, silo: Silo, dataset: str) -> Table:
    return tables.ensure(catalog, silo.dataset(dataset))


def _present(settings: Settings, table: Table, first: date, last: date) -> set[tuple[date, str]]:
    """Which deliveries have rows on which of these days."""
    days_of_it = f"{tables.PARTITION} >= '{first}' and {tables.PARTITION} <= '{last}'"
    files = [task.file.file_path for task in table.scan(row_filter=days_of_it).plan_files()]
    if not files:
        return set()
    rows = pl.scan_parquet(files, storage_options=object_store.polars_options(settings, ROLE))
    return set(rows.select(tables.PARTITION, "delivery_id").unique().collect(engine="streaming").iter_rows())


def _lacking(
    commit: CommitRow, later: Collection[CommitRow], present: set[tuple[date, str]], first: date, last: date
) -> set[date]:
    """The days that a delivery changed, and on which it has no row and no later one that is there took its place."""
    return {
        day
        for day in commit.days
        if first <= day <= last
        and (day, commit.delivery_id) not in present
        and not any(day in other.days and (day, other.delivery_id) in present for other in later)
    }


def _is_there(settings: Settings, table: Table, commit: CommitRow) -> bool:
    """Whether a delivery has a row on any of the days that it changed."""
    found = _present(settings, table, min(commit.days), max(commit.days))
    return any(delivery_id == commit.delivery_id for _, delivery_id in found)
