"""Data files of conformed tables that are lost for good: what was in them, and ingesting it again from landing.

Which deliveries had rows in a file is not written anywhere, but which deliveries changed rows of its day is: they are
ingested again, all of them, which replaces every row that is still there by itself.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import date
from typing import Protocol

import psycopg
from pyiceberg.table import Table

from infra import database, object_store, registry
from infra.catalog import open_catalog, overwrite
from infra.registry import DeliveryRow
from infra.settings import Settings
from ingestion import pipeline
from ingestion.conformed import tables
from ingestion.delivery import landing
from ingestion.register import REFERENCE_DAY, Dataset, Silo, silos

ROLE = "pipeline"
LOST_PROPERTY = "calanque.lost"
"""The snapshot property of a commit that gave up lost files: how many rows were in them."""


class LostFile(Protocol):
    """A file of ``table`` (with its namespace) at ``address``; ``first_day`` is its event day, if it has one."""

    @property
    def table(self) -> str: ...
    @property
    def address(self) -> str: ...
    @property
    def first_day(self) -> date | None: ...


@dataclass(frozen=True)
class Touched:
    """The deliveries that changed rows of the days of some lost files of one table.

    ``again`` can be ingested again from landing. ``gone`` cannot: their bytes are no longer kept.
    """

    silo: str
    dataset: str
    days: tuple[date, ...]
    again: tuple[DeliveryRow, ...]
    gone: tuple[DeliveryRow, ...]

    @property
    def sentence(self) -> str:
        """What can be done, in a sentence without a final full stop."""
        said = f"{self.dataset}, {', '.join(map(str, self.days)) or 'all of it'}"
        if self.again:
            said += f": landing still has {_names(self.again)}"
        if self.gone:
            said += (
                f"{'; but ' if self.again else ': '}{_names(self.gone)} cannot be ingested again: have their rows "
                "delivered in new files, each of which corrects one of them"
            )
        return said


def touched(settings: Settings, lost: Collection[LostFile]) -> list[Touched]:
    """Whose rows are lost with these files; those of other tables than the register's are left out."""
    with closing(database.connect(settings, ROLE, "lake")) as connection:
        return [
            _touched(settings, connection, silo, dataset, files) for silo, dataset, files in _by_dataset(lost) if files
        ]


def rebuild(settings: Settings, lost: Collection[LostFile]) -> list[Touched]:
    """Take lost files out of their tables, and ingest again every delivery of their days that landing still has.

    Killed half-way, what is taken back is ingested by the next run.

    Raises:
        ingestion.pipeline.IngestionError: some deliveries failed; the others are done.
    """
    done = []
    catalog = open_catalog(settings, ROLE)
    with closing(database.connect(settings, ROLE, "lake")) as connection:
        for silo, dataset, files in _by_dataset(lost):
            found = _touched(settings, connection, silo, dataset, files)
            with registry.locked(connection, f"table {dataset.name}"):
                _take_out(catalog.load_table(tables.identifier(dataset)), {file.address for file in files})
                registry.take_back(connection, silo.name, [each.delivery_id for each in found.again])
                connection.commit()
            done.append(found)
    for name in sorted({found.silo for found in done}):
        pipeline.ingest(settings, name)
    return done


def _by_dataset(lost: Collection[LostFile]) -> Iterator[tuple[Silo, Dataset, list[LostFile]]]:
    for silo in silos().values():
        for dataset in silo.datasets:
            files = [file for file in lost if file.table == tables.identifier(dataset)]
            if files:
                yield silo, dataset, files


def _touched(
    settings: Settings, connection: psycopg.Connection, silo: Silo, dataset: Dataset, files: Collection[LostFile]
) -> Touched:
    store = object_store.client(settings, ROLE)
    days = sorted({file.first_day for file in files if file.first_day})
    again: dict[str, DeliveryRow] = {}
    gone: dict[str, DeliveryRow] = {}
    for day in days or [REFERENCE_DAY]:
        for commit in registry.commits_to_days(connection, silo.name, day, day):
            if commit.dataset != dataset.name or registry.is_corrected(connection, silo.name, commit.delivery_id):
                continue
            delivery = registry.delivery(connection, silo.name, commit.delivery_id)
            if delivery is None:
                continue
            kept = object_store.exists(store, landing.BUCKET, delivery.object_key)
            (again if kept else gone)[delivery.delivery_id] = delivery
    connection.commit()
    return Touched(silo.name, dataset.name, tuple(days), tuple(again.values()), tuple(gone.values()))


def _take_out(table: Table, addresses: Collection[str]) -> None:
    lost = [task.file for task in table.scan().plan_files() if task.file.file_path in addresses]
    if not lost:
        return
    with (
        table.transaction() as transaction,
        overwrite(transaction, {LOST_PROPERTY: str(sum(file.record_count for file in lost))}) as update,
    ):
        for file in lost:
            update.delete_data_file(file)


def _names(deliveries: Collection[DeliveryRow]) -> str:
    return ", ".join(f"{each.file_name} ({each.delivery_id[:12]})" for each in deliveries)
