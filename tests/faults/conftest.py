"""A lake to break, and the failure matrix: what each test caused and saw, in the file CALANQUE_FAULT_MATRIX."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from infra.machines.services import lake as services
from infra.settings import Settings

sys.path.append(str(Path(__file__).parents[1] / "publication"))  # its helpers import each other by name

from tests.faults import city

Row = Callable[[str, str, str, str], None]
_ROWS = pytest.StashKey[dict[str, tuple[str, str, str]]]()


@pytest.fixture(scope="module")
def lake() -> Iterator[Settings]:
    """A lake that no other test uses."""
    with city.home() as settings:
        services.up(settings, airflow=False)
        yield settings


@pytest.fixture(scope="session")
def row(pytestconfig: pytest.Config) -> Row:
    """Note one row of the matrix: the fault, what was caused, what users were told, what there was after healing."""
    rows = pytestconfig.stash.setdefault(_ROWS, {})

    def note(fault: str, caused: str, told: str, healed: str) -> None:
        rows[fault] = (caused, told.replace("\n", " ").replace("|", "/"), healed)

    return note


def pytest_sessionfinish(session: pytest.Session) -> None:
    target = os.environ.get("CALANQUE_FAULT_MATRIX")
    rows = session.config.stash.get(_ROWS, {})
    if target and rows:
        lines = ["| fault | caused | what users were told | after healing |", "|---|---|---|---|"]
        lines += [f"| {fault} | {' | '.join(cells)} |" for fault, cells in rows.items()]
        Path(target).write_text("\n".join(lines) + "\n")
