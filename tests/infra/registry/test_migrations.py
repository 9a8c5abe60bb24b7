"""A registry that an older release made becomes that of today, with everything in it."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from infra import database, registry
from infra.registry import migrations
from infra.settings import Settings

pytestmark = pytest.mark.live

OLDEST = Path(__file__).with_name("registry_0.sql").read_text()
COLUMNS = """
    select table_name, column_name, data_type, is_nullable, column_default
    from information_schema.columns where table_schema = 'registry' order by 1, 2
"""
CONSTRAINTS = """
    select conrelid::regclass::text, conname, pg_get_constraintdef(oid)
    from pg_constraint where connamespace = 'registry'::regnamespace and contype <> 'n' order by 1, 2
"""


@contextmanager
def scratch(lake: Settings) -> Iterator[psycopg.Connection]:
    """A database of its own on the lake's server."""
    name = f"essai_{uuid.uuid4().hex[:12]}"
    with database.connect(lake, "admin", "postgres", autocommit=True) as server:
        server.execute(f"create database {name} template template0")
        try:
            with database.connect(lake, "admin", name, autocommit=True) as connection:
                yield connection
        finally:
            server.execute(f"drop database {name} with (force)")


def shape(connection: psycopg.Connection) -> list[list[tuple[object, ...]]]:
    return [connection.execute(query).fetchall() for query in (COLUMNS, CONSTRAINTS)]


def test_an_old_registry_becomes_that_of_today(lake: Settings) -> None:
    with scratch(lake) as old, scratch(lake) as new:
        old.execute(OLDEST)
        old.execute(
            "insert into registry.delivery (silo, delivery_id, object_key, file_name, bytes, status) "
            "values ('tows', 'd', 'tows/dt=2026-11-01/d.csv', 'a.csv', 1, 'landed')"
        )
        for connection in (old, new):
            connection.execute(registry.SCHEMA)
            assert migrations.migrate(connection) == [each.title for each in migrations.MIGRATIONS]
            assert migrations.migrate(connection) == []
        assert shape(old) == shape(new)
        [kept] = registry.landed_deliveries(old, "tows")
        assert (kept.delivery_id, kept.attempts) == ("d", 0)
        old.execute("update registry.delivery set status = 'parked'")
        assert [parked.delivery_id for parked in registry.parked_deliveries(old)] == ["d"]


def test_a_lake_of_a_later_release_is_left_alone(lake: Settings) -> None:
    with scratch(lake) as connection:
        connection.execute(registry.SCHEMA)
        later = migrations.Migration(99, "something of tomorrow", "alter table registry.delivery add column moon text")
        migrations.migrate(connection, (*migrations.MIGRATIONS, later))
        before = shape(connection)
        with pytest.raises(migrations.NewerLakeError, match="by a later release of Calanque"):
            migrations.migrate(connection)
        assert shape(connection) == before


def test_numbers_are_given_once_and_in_order() -> None:
    assert [each.number for each in migrations.MIGRATIONS] == list(range(1, len(migrations.MIGRATIONS) + 1))
