# ruff: noqa: DTZ001  (naive local times are the subject)
"""Local clocks: the hour that comes twice, the hour that never comes, and days that are not 24 hours long."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.calendar import clock
from infra.settings import Settings

PARIS = "Europe/Paris"


def utc_of(*naive: datetime | None, time_zone: str = PARIS) -> list[datetime | None]:
    frame = pl.DataFrame({"t": pl.Series(naive, dtype=pl.Datetime("us"))})
    return frame.select(clock.to_utc(pl.col("t"), time_zone)).to_series().to_list()


def test_an_ambiguous_time_is_the_earlier_one() -> None:
    assert utc_of(datetime(2025, 10, 26, 2, 30)) == [datetime(2025, 10, 26, 0, 30, tzinfo=UTC)]
    assert utc_of(datetime(2025, 10, 26, 3, 0)) == [datetime(2025, 10, 26, 2, 0, tzinfo=UTC)]


def test_a_time_that_never_was_is_null() -> None:
    assert utc_of(datetime(2025, 3, 30, 2, 30), None) == [None, None]
    assert utc_of(datetime(2025, 3, 30, 3, 0)) == [datetime(2025, 3, 30, 1, 0, tzinfo=UTC)]


@given(
    st.datetimes(datetime(2000, 1, 1), datetime(2035, 1, 1)),
    st.sampled_from([PARIS, "America/Los_Angeles", "Australia/Melbourne", "UTC"]),
)
def test_local_time_there_and_back(naive: datetime, time_zone: str) -> None:
    (instant,) = utc_of(naive, time_zone=time_zone)
    there = naive.replace(tzinfo=ZoneInfo(time_zone), fold=0)
    exists = there.astimezone(UTC).astimezone(ZoneInfo(time_zone)).replace(tzinfo=None) == naive
    assert (instant is not None) == exists
    if instant is not None:
        assert instant == there.astimezone(UTC)
        row = pl.DataFrame({"t": [instant]}).select(
            d=clock.local_date(pl.col("t"), time_zone), h=clock.local_hour(pl.col("t"), time_zone)
        )
        assert row.row(0) == (naive.date(), naive.hour)
        assert row.schema["h"] == pl.Int32


def test_days_of_a_clock_change() -> None:
    year = (date(2025, 1, 1), date(2025, 12, 31))
    assert clock.clock_changes(PARIS, *year) == {date(2025, 3, 30): 23, date(2025, 10, 26): 25}
    assert clock.clock_changes("America/Los_Angeles", *year) == {date(2025, 3, 9): 23, date(2025, 11, 2): 25}
    assert clock.clock_changes("UTC", *year) == {}


@given(st.dates(date(1970, 1, 1), date(2100, 1, 1)))
def test_quarters(day: date) -> None:
    start, end = clock.quarter_start(day), clock.quarter_end(day)
    assert start <= day <= end
    assert (start.day, start.month % 3, (end + timedelta(days=1))) == (1, 1, clock.next_quarter(day))
    assert list(clock.quarters(start, end)) == [start]
    assert list(clock.quarters(day, clock.next_quarter(day))) == [start, clock.next_quarter(day)]
    assert clock.month_start(day) == day.replace(day=1)


@pytest.mark.parametrize(("last", "expected"), [(date(2025, 1, 3), 3), (date(2025, 1, 1), 1), (date(2024, 12, 31), 0)])
def test_days(last: date, expected: int) -> None:
    assert len(list(clock.days(date(2025, 1, 1), last))) == expected


def test_a_drill_moves_the_clock_by_a_file(tmp_path: Path) -> None:
    file = tmp_path / "now"
    with pytest.raises(clock.ClockDoubtedError, match="was not made as a drill"):
        clock.now(Settings(home=tmp_path, now_file=file))
    with pytest.raises(clock.ClockDoubtedError, match="was not made as a drill"):
        clock.now(Settings(home=tmp_path, now=datetime(2026, 1, 1, tzinfo=UTC), drill=True))  # the wish is not enough
    (tmp_path / "drill").touch()
    settings = Settings(home=tmp_path, now_file=file)
    for said in ("2026-03-08T06:00:00+00:00", "2026-03-29T04:30:00+02:00"):
        file.write_text(said + "\n")
        assert clock.now(settings) == datetime.fromisoformat(said)
    frozen = datetime(2026, 1, 1, tzinfo=UTC)
    assert clock.now(Settings(home=tmp_path, now=frozen, now_file=file)) == frozen
