from __future__ import annotations

import contextlib
from collections.abc import Iterator

import psycopg
import pytest
from pyiceberg.exceptions import NoSuchTableError

from infra import catalog, database, object_store
from infra.settings import Settings
from publication.contracts import CONTRACTS


@pytest.fixture
def clean_lake(lake: Settings) -> Settings:
    """The running lake with nothing committed, built or released in it."""
    wipe(lake)
    return lake


def wipe(settings: Settings) -> None:
    """Take everything out of a lake but its roles."""
    with database.connect(settings, "admin", "lake", autocommit=True) as connection:
        connection.execute(
            "truncate registry.release, registry.mart, registry.commit, registry.delivery restart identity"
        )
    with database.connect(settings, "admin", "bi", autocommit=True) as connection:
        for mart in (*CONTRACTS, "release_info"):
            connection.execute(f"drop table if exists marts.{mart}")
    tables = catalog.open_catalog(settings, "publisher")
    for mart in CONTRACTS:
        with contextlib.suppress(NoSuchTableError):
            tables.drop_table(f"marts.{mart}")
    conformed = catalog.open_catalog(settings, "pipeline")
    for identifier in conformed.list_tables("conformed"):
        conformed.drop_table(identifier)
    store = object_store.client(settings, "admin")
    for bucket in ("lake", "receipts"):
        for key in list(object_store.list_keys(store, bucket)):
            store.remove_object(bucket, key)


@pytest.fixture
def analyst(lake: Settings) -> Iterator[psycopg.Connection]:
    with database.connect(lake, "analyst", "bi", autocommit=True) as connection:
        yield connection
