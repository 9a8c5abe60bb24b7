"""Whoever delivers a file is told which days it declares or, if none, on which its rows lie and what to type."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from calanque.demo.generate import senders
from infra.calendar.days import DayRange
from infra.city.profile import load_city
from infra.settings import Settings
from ingestion.delivery.preview import preview

DAYS = [datetime(2026, 3, day, tzinfo=UTC).date() for day in (3, 4)]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    found = Settings(home=tmp_path / "home", drill=True, now=datetime(2026, 3, 20, 9, tzinfo=UTC))
    found.drill_mark.parent.mkdir(parents=True)
    found.drill_mark.touch()
    return found


def tows(settings: Settings, path: Path) -> Path:
    sender = next(each for each in senders(load_city(settings), seed=1, since=DAYS[0]) if each.silo == "tows")
    header, *_ = (tables := [sender.day(day).text() for day in DAYS])[0].splitlines()
    rows = [line for table in tables for line in table.splitlines()[1:]]
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


def test_rows_that_nothing_declares_are_told_by_day_and_what_to_type(settings: Settings, tmp_path: Path) -> None:
    said = preview(settings, "tows", tows(settings, tmp_path / "export.csv")).sentence
    assert said
    assert "rows lie on 2026-03-03 to 2026-03-04, and nothing says that tows is complete" in said
    assert "`--covers 2026-03-03/2026-03-04`" in said
    assert "`calanque cover tows 2026-03-03 2026-03-04 --reason ...`" in said
    assert not list(settings.work_dir.iterdir())  # nothing of it is kept


def test_a_name_that_tells_the_days_is_enough(settings: Settings, tmp_path: Path) -> None:
    found = preview(settings, "tows", tows(settings, tmp_path / "fourriere_2026-02.csv"))
    assert found.tells == DayRange(first_day="2026-02-01", last_day="2026-02-28")
    assert found.sentence == "it declares tows complete for 2026-02-01 to 2026-02-28"


def test_a_month_that_is_not_over_is_not_declared(settings: Settings, tmp_path: Path) -> None:
    found = preview(settings, "tows", tows(settings, tmp_path / "fourriere_2026-03.csv"))
    assert found.tells is None
    assert "nothing says that tows is complete" in str(found.sentence)
