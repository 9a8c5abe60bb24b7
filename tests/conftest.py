"""Fixtures shared by every test: a running lake, without or with Airflow."""

from __future__ import annotations

from collections.abc import Iterator

import hypothesis
import pytest
from lakes import running

from infra.settings import Settings

hypothesis.settings.register_profile("calanque", deadline=None)  # a busy machine is no failure
hypothesis.settings.load_profile("calanque")


@pytest.fixture(scope="session")
def lake() -> Iterator[Settings]:
    """A provisioned lake: object store and PostgreSQL. ``CALANQUE_OBJECT_STORE`` chooses the store, as everywhere."""
    with running(airflow=False) as settings:
        yield settings


@pytest.fixture(scope="session")
def airflow_lake() -> Iterator[Settings]:
    """A lake of its own with all of Airflow, whose scheduler runs the real DAGs."""
    with running(airflow=True, prefix="calanque-airflow-") as settings:
        yield settings
