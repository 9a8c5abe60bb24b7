"""Fixtures shared by every test: a running lake."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.services import lake as services
from infra.settings import Settings


@pytest.fixture(scope="session")
def lake() -> Iterator[Settings]:
    """A provisioned lake (store and PostgreSQL, no Airflow) in a home of its own, stopped at the end.

    ``CALANQUE_TEST_HOME`` names a home to use instead, started if need be and left running: handy while developing.
    ``CALANQUE_OBJECT_STORE`` chooses the store, as everywhere.
    """
    kept = os.environ.get("CALANQUE_TEST_HOME")
    # Not pytest's own folders: their paths are long, and closed to the account that PostgreSQL runs as under root.
    home = Path(kept) if kept else Path(tempfile.mkdtemp(prefix="calanque-test-"))
    home.mkdir(mode=0o755, parents=True, exist_ok=True)
    home.chmod(0o755)
    settings = Settings(home=home, quiet=True)
    try:
        services.up(settings, airflow=False)
        yield settings
    finally:
        if not kept:
            services.down(settings)
            shutil.rmtree(home, ignore_errors=True)
