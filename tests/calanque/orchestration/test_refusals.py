"""What was refused is a note on the task; when Airflow does not answer, the work is done all the same."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest

from calanque.orchestration import refusals
from infra.machines.airflow import api as airflow_api
from infra.settings import Settings

TASK = SimpleNamespace(dag_id="land_tows", run_id="run", task_id="ingest")


@pytest.fixture
def noted(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = []

    @contextmanager
    def connect(_settings: Settings, account: str) -> Iterator[SimpleNamespace]:
        assert account == refusals.ACCOUNT
        yield SimpleNamespace(note=lambda *said: found.append(said))

    monkeypatch.setattr(airflow_api, "connect", connect)
    return found


def test_nothing_refused_is_no_note(noted: list[tuple[str, ...]]) -> None:
    refusals.note(Settings(), TASK, [])
    assert noted == []


def test_the_sentences_are_the_note_of_the_task(noted: list[tuple[str, ...]]) -> None:
    refusals.note(Settings(), TASK, ["a.csv is refused: no header", "b.csv is refused: empty"])
    text = "Refused: 2. `calanque deliveries` has them all.\na.csv is refused: no header\nb.csv is refused: empty"
    assert noted == [("land_tows", "run", "ingest", text)]


def test_a_long_note_is_cut(noted: list[tuple[str, ...]]) -> None:
    refusals.note(Settings(), TASK, ["x" * 150] * 20)
    assert len(noted[0][3]) == refusals.MOST_CHARACTERS
    assert noted[0][3].startswith("Refused: 20.")
    assert noted[0][3].endswith("x…")


def test_a_lake_without_airflow_fails_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    refusals.note(Settings(home=tmp_path), TASK, ["a.csv is refused: no header"])
    assert "not noted on the run" in caplog.text
