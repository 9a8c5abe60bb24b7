"""After a key has leaked: its month gets new pseudonyms, under a key that is thrown away at once.

Whoever has the key of a month can try every plate against the conformed rows of that month. The plates are not there
any more to be hashed again, but the pseudonyms themselves can be: HMAC(new key, old pseudonym) is as distinct as
before, so everything that counts vehicles of that month still works, and the leaked key leads nowhere. It does nothing
about a copy of the old rows that has left the lake. The month is closed by it: its late data are quarantined.
"""

from __future__ import annotations

import hmac
import secrets as entropy
from contextlib import closing
from dataclasses import dataclass

import polars as pl
from pyiceberg.table import Table
from pyiceberg.types import BinaryType

from infra import database, object_store, registry
from infra.calendar import trusted_clock
from infra.catalog import open_catalog
from infra.keys.store import KEY_BYTES
from infra.machines.stores.compaction import compact
from infra.settings import Settings
from ingestion.conformed.vehicles import files_by_day, read, replace_day, table_of
from ingestion.contracts import retention_limits
from ingestion.register import silos
from ingestion.rows.pseudonyms import PSEUDONYM_BYTES
from privacy import key_duty
from stewardship.retention.conformed import ConformedHolding

ROLE = "pipeline"
KEY_PROPERTY = "calanque.rekeyed"
"""The snapshot property that says which month was given new pseudonyms."""


@dataclass(frozen=True)
class Rekeyed:
    """A month that has new pseudonyms: rows by table, and the receipt of the key that is gone."""

    silo: str
    month: str
    rows: dict[str, int]
    receipt_key: str


def rekey(settings: Settings, silo: str, month: str, *, run: str) -> Rekeyed:
    """Destroy the key of ``silo`` for ``month`` and give the month's rows new pseudonyms. Again is harmless.

    It waits for a running ingestion of the silo, and ingestion for it.

    Raises:
        KeyError: no such silo.
        ValueError: ``month`` is not ``YYYY-MM``.
    """
    declared = silos()[silo]
    catalog = open_catalog(settings, ROLE)
    rows: dict[str, int] = {}
    with (
        closing(database.connect(settings, ROLE, "lake")) as connection,
        registry.locked(connection, f"silo {silo}"),
    ):
        # First of all: no new row is to come under the leaked key while the old ones are given others.
        destroyed = key_duty.destroy(settings, silo, month, run=run, reason="leaked")
        for dataset in declared.datasets:
            table = table_of(catalog, dataset)
            if table is None or dataset.reference:
                continue
            with registry.locked(connection, f"table {dataset.name}"):
                table.refresh()
                rows[dataset.name] = _rekey(table, month, object_store.polars_options(settings, ROLE))
            now = trusted_clock.now(settings, ROLE)
            ConformedHolding(settings, silo, dataset, retention_limits.conformed(silo), now).clean()
    if any(rows.values()):
        compact(settings)
    return Rekeyed(silo, month, rows, destroyed.key)


def _rekey(table: Table, month: str, options: dict[str, str]) -> int:
    """One commit that replaces each day of the month by itself under other pseudonyms; the number of rows."""
    pseudonymised = [field.name for field in table.schema().fields if isinstance(field.field_type, BinaryType)]
    days = files_by_day(table, month) if pseudonymised else {}
    if not days:
        return 0
    key, rows = entropy.token_bytes(KEY_BYTES), 0
    with table.transaction() as transaction:
        for day, paths in days.items():
            lines = read(table, paths, options)
            again = lines.with_columns(_again(lines[column], key) for column in pseudonymised)
            replace_day(transaction, table, day, again, {KEY_PROPERTY: month})
            rows += lines.height
    return rows


def _again(old: pl.Series, key: bytes) -> pl.Series:
    """The pseudonym of each pseudonym, as long as before; null stays null."""
    distinct = old.drop_nulls().unique()
    digests = [hmac.digest(key, value, "sha256")[:PSEUDONYM_BYTES] for value in distinct]
    return old.replace_strict(distinct, pl.Series(digests, dtype=pl.Binary), default=None, return_dtype=pl.Binary)
