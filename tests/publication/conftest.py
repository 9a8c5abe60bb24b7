from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest
from released import wipe

from infra import database
from infra.settings import Settings


@pytest.fixture
def clean_lake(lake: Settings) -> Settings:
    """The running lake with nothing committed, built or released in it."""
    wipe(lake)
    return lake


@pytest.fixture
def analyst(lake: Settings) -> Iterator[psycopg.Connection]:
    with database.connect(lake, "analyst", "bi", autocommit=True) as connection:
        yield connection
