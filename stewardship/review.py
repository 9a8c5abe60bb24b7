"""What a steward sees of deliveries and of quarantine: rules, columns, row numbers. Never a value."""

from __future__ import annotations

from typing import Any

import polars as pl
import psycopg
from psycopg.rows import class_row

from infra import object_store
from infra.registry import DeliveryRow
from infra.settings import Settings
from ingestion.register import silos
from ingestion.rows import quarantine
from stewardship.watch.delivery_checks import meaning

ROLE = "steward"
RULES: dict[str, pl.DataType] = {
    "rule": pl.String(),
    "column": pl.String(),
    "severity": pl.String(),
    "meaning": pl.String(),
    "rows": pl.Int64(),
    "row_numbers": pl.List(pl.Int64),
}


def deliveries(
    connection: psycopg.Connection, silo: str | None = None, *, troubled: bool = True, most: int | None = None
) -> list[dict[str, Any]]:
    """The ``most`` newest deliveries, newest first; of one silo when given.

    ``troubled``: only those with quarantined rows, refused or parked.
    """
    with connection.cursor(row_factory=class_row(DeliveryRow)) as cursor:
        found = cursor.execute(
            """
            select * from registry.delivery
            where (not %(troubled)s or quarantined > 0 or status in ('refused', 'parked'))
              and (%(silo)s::text is null or silo = %(silo)s)
            order by seq desc
            limit %(most)s
            """,
            {"silo": silo, "troubled": troubled, "most": most},
        ).fetchall()
    return [described(delivery) for delivery in found]


def described(delivery: DeliveryRow) -> dict[str, Any]:
    """A delivery as it is shown."""
    return {
        "silo": delivery.silo,
        "delivery": delivery.delivery_id,
        "file": delivery.file_name,
        "landed_at": delivery.landed_at,
        "format": delivery.format,
        "corrects": delivery.corrects,
        "status": delivery.status,
        "reason": delivery.reason,
        "rows_in": delivery.rows_in,
        "accepted": delivery.accepted,
        "quarantined": delivery.quarantined,
        "by_rule": delivery.by_rule,
        "warnings": delivery.warnings,
        "replays": delivery.replays,
    }


def rules(
    settings: Settings, silo: str, delivery_id: str, rule: str | None, most: int, *, first_row: int
) -> pl.DataFrame:
    """The rules that rows of a delivery broke (:data:`RULES`), errors first, with the first ``most`` row numbers.

    ``first_row`` is the number of the first record (:attr:`ingestion.register.Format.first_row`). Empty when every row
    was accepted, or when retention has removed the quarantine.
    """
    store = object_store.client(settings, ROLE)
    if not object_store.exists(store, quarantine.BUCKET, f"{silo}/{delivery_id}.parquet"):
        return pl.DataFrame(schema=RULES)
    found = quarantine.read(settings, silo, delivery_id, ROLE)
    if rule is not None:
        found = found.filter(pl.col("rule") == rule)
    counted = (
        found.group_by("rule", "column", "severity")
        .agg(rows=pl.col("row").n_unique(), row_numbers=(pl.col("row").unique().sort().head(most) + first_row - 1))
        .sort("severity", "rows", "rule", descending=[False, True, False])
        .collect()
    )
    meanings = [meaning(silos()[silo], name) for name in counted["rule"]]
    return counted.with_columns(meaning=pl.Series(meanings, dtype=pl.String)).select(
        pl.col(name).cast(kind) for name, kind in RULES.items()
    )
