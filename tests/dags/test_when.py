"""Schedules keep to the city's clock, on the days it is changed too."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from airflow.timetables.base import TimeRestriction
from airflow.timetables.trigger import CronPartitionTimetable, CronTriggerTimetable
from pendulum import DateTime, instance

from infra.calendar import clock
from ingestion.register import silos

PARIS = "Europe/Paris"
SPRING, AUTUMN = date(2026, 3, 29), date(2026, 10, 25)


def runs(cron: str, first: date, last: date) -> list[DateTime]:
    """When a schedule runs on these local days."""
    timetable = CronTriggerTimetable(cron, timezone=PARIS)
    until = instance(clock.midnight(last + timedelta(days=1), PARIS))
    restriction = TimeRestriction(earliest=instance(clock.midnight(first, PARIS)), latest=until, catchup=True)
    found: list[DateTime] = []
    following = timetable.next_dagrun_info(last_automated_data_interval=None, restriction=restriction)
    while following and following.run_after < until:
        found.append(following.run_after)
        following = timetable.next_dagrun_info(
            last_automated_data_interval=following.data_interval, restriction=restriction
        )
    return found


@pytest.mark.parametrize("silo", sorted(silos()))
@pytest.mark.parametrize("changed", [SPRING, AUTUMN])
def test_a_cadence_keeps_to_the_clock_and_never_misses_a_day(silo: str, changed: date) -> None:
    cron = silos()[silo].cadence
    found = runs(cron, changed - timedelta(days=1), changed + timedelta(days=1))
    assert found == sorted(set(found))
    by_day = Counter(run.astimezone(ZoneInfo(PARIS)).date() for run in found)
    usual = by_day[changed - timedelta(days=1)]
    assert by_day[changed + timedelta(days=1)] == usual > 0
    # An hour that is skipped has no runs; one that comes twice may have them twice.
    an_hour = -(-usual // 24)
    assert usual - an_hour <= by_day[changed] <= usual + an_hour
    local = {run.astimezone(ZoneInfo(PARIS)).minute for run in found}
    assert local <= {run.astimezone(ZoneInfo(PARIS)).minute for run in runs(cron, date(2026, 6, 1), date(2026, 6, 1))}


def test_six_in_the_morning_is_six_all_year() -> None:
    found = runs("0 6 * * *", date(2026, 1, 1), date(2026, 12, 31))
    assert len(found) == 365
    assert {run.astimezone(ZoneInfo(PARIS)).hour for run in found} == {6}
    assert {run.astimezone(UTC).hour for run in found} == {4, 5}


def test_every_city_day_of_a_year_is_one_partition() -> None:
    timetable = CronPartitionTimetable("0 0 * * *", timezone=PARIS, run_offset=-2, key_format="%Y-%m-%d")
    bounds = {"earliest": datetime(2026, 1, 1, tzinfo=UTC), "latest": datetime(2026, 12, 31, 23, 59, 59, tzinfo=UTC)}
    keys = [info.partition_key for info in timetable.iter_partition_dagrun_infos(**bounds)]
    assert keys == [str(day) for day in clock.days(date(2026, 1, 1), date(2026, 12, 31))]


def test_the_night_closes_the_day_before_yesterday() -> None:
    timetable = CronPartitionTimetable("0 0 * * *", timezone=PARIS, run_offset=-2, key_format="%Y-%m-%d")
    for night in (date(2026, 3, 30), date(2026, 3, 31), date(2026, 10, 26), date(2026, 10, 27), date(2026, 7, 1)):
        since = instance(clock.midnight(night, PARIS))
        restriction = TimeRestriction(earliest=since, latest=None, catchup=True)
        info = timetable.next_dagrun_info_v2(last_dagrun_info=None, restriction=restriction)
        assert info is not None
        assert info.run_after == since
        assert info.partition_key == str(night - timedelta(days=2))
