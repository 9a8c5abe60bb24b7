"""Fixtures shared by every test: a running lake, without or with Airflow."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator

import hypothesis
import psycopg
import pytest
from lakes import running
from released import wipe

from infra import database
from infra.settings import Settings

os.environ.setdefault("CALANQUE_OBJECT_STORE", "seaweedfs")  # the same on every machine; what is for MinIO says so

hypothesis.settings.register_profile("calanque", deadline=None)  # a busy machine is no failure
hypothesis.settings.load_profile("calanque")


@pytest.fixture(scope="session")
def lake() -> Iterator[Settings]:
    """A provisioned lake: object store and PostgreSQL. ``CALANQUE_OBJECT_STORE`` chooses the store, as everywhere."""
    with running(airflow=False) as settings:
        yield settings


@pytest.fixture
def clean_lake(lake: Settings) -> Settings:
    """The running lake with nothing committed, built or released in it, and nothing waiting."""
    wipe(lake)
    return lake


@pytest.fixture
def analyst(lake: Settings) -> Iterator[psycopg.Connection]:
    with database.connect(lake, "analyst", "bi", autocommit=True) as connection:
        yield connection


@pytest.fixture(scope="module")
def airflow_lake() -> Iterator[Settings]:
    """A lake of its own with all of Airflow, whose scheduler runs the real DAGs.

    It ends with its module: at rest its processes take time from every test that would follow.
    """
    with running(airflow=True, prefix="calanque-airflow-") as settings:
        yield settings


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What this machine lacks is said once, with how many tests were skipped for want of it."""
    skipped = terminalreporter.stats.get("skipped", ())
    reasons = Counter(str(report.longrepr[2]).removeprefix("Skipped: ") for report in skipped)
    if reasons:
        terminalreporter.section("not tested on this machine")
    for reason, tests in sorted(reasons.items()):
        terminalreporter.write_line(f"{reason} ({tests} tests)")
