"""When this lake was made from a backup, and what a person said of the time after that backup."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import psycopg
from psycopg.rows import class_row


@dataclass(frozen=True)
class Restoration:
    """Up to ``backup_at`` the lake was another one, which may have gone on until ``restored_at``."""

    seq: int
    backup_at: datetime
    restored_at: datetime


def add_restoration(connection: psycopg.Connection, backup_at: datetime, restored_at: datetime) -> None:
    """Record that this lake was restored."""
    connection.execute(
        "insert into registry.restoration (backup_at, restored_at) values (%s, %s)", [backup_at, restored_at]
    )


def open_restorations(connection: psycopg.Connection) -> list[Restoration]:
    """The restorations of which nobody said that the lake before published nothing after its backup."""
    with connection.cursor(row_factory=class_row(Restoration)) as cursor:
        return cursor.execute(
            "select seq, backup_at, restored_at from registry.restoration where settled_at is null order by seq"
        ).fetchall()


def settle_restorations(connection: psycopg.Connection, by: str, reason: str, at: datetime) -> None:
    """Record a person's word that the lakes before published nothing after their backups."""
    connection.execute(
        "update registry.restoration set settled_by = %s, reason = %s, settled_at = %s where settled_at is null",
        [by, reason, at],
    )
