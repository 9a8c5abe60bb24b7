"""The bounds of the privacy plan: no way of spending a month changes the counts by more, and some way by as much.

Counts of one unit are non-negative, and what it may do is a sum over times of the clock. The sum of squares is convex,
so the worst is at an extreme: everything in as few cells as the limits allow. Both are tried here: the extremes of
every month of 28 years, in which each month begins on each day of the week, and many ways at random, which must not
beat them.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from small_lake import PROJECT

from infra.calendar import clock
from privacy.plan import plan

ZONE = ZoneInfo("Europe/Paris")
PASSAGES, AT_ONCE = 60, 4
Hour = tuple[date, int]
Cell = tuple[object, ...]


def bands() -> dict[int, str]:
    with (PROJECT / "seeds" / "hours.csv").open() as lines:
        return {int(row["hour"]): row["time_band"] for row in csv.DictReader(lines)}


@cache
def months() -> list[list[Hour]]:
    return [hours(clock.add_months(date(2015, 1, 1), number)) for number in range(28 * 12)]


def hours(month: date) -> list[Hour]:
    """Every hour of a month as the city's clock shows it; of the autumn night one twice, of the spring night none."""
    at = datetime(month.year, month.month, 1, tzinfo=ZONE).astimezone(UTC)
    found = []
    while (local := at.astimezone(ZONE)).month == month.month:
        found.append((local.date(), local.hour))
        at += timedelta(hours=1)
    return found


OCTOBER = hours(date(2026, 10, 1))


BAND = bands()
DEVICE: dict[str, Callable[[Hour], Cell]] = {
    "footfall_by_day": lambda hour: (hour[0],),
    "footfall_by_month": lambda hour: (BAND[hour[1]],),
    "footfall_profile": lambda hour: (hour[0].isoweekday(), hour[1]),
}
"""The cell of an hour that a device spends in one place and category."""
PASSER_BY: dict[str, Callable[[Hour], Cell]] = {
    "crowd_by_day": lambda hour: hour,
    "crowd_by_month": lambda _: (),
    "crowd_profile": lambda hour: (hour[0].isoweekday(), hour[1]),
}


def squares(cells: Counter[Cell]) -> int:
    return sum(count**2 for count in cells.values())


@pytest.mark.parametrize("mart", DEVICE)
def test_a_device_that_stays_in_one_place_for_a_month_is_the_worst(mart: str) -> None:
    worst = max(squares(Counter(map(DEVICE[mart], spent))) for spent in months())
    assert worst == plan().marts[mart].bound
    random = np.random.default_rng(1)
    for places in (1, 2, 5):
        where = random.integers(0, places, len(OCTOBER))
        cells = Counter((int(place), *DEVICE[mart](hour)) for place, hour in zip(where, OCTOBER, strict=True))
        assert squares(cells) <= worst


def fullest_first(mart: str, month: list[Hour]) -> int:
    """All passages in as few cells as the limits allow: the cells that most can be put into come first."""
    room = dict.fromkeys(month, AT_ONCE)  # an hour of the clock that comes twice is one
    cells: Counter[Cell] = Counter()
    for hour, least in room.items():
        cells[PASSER_BY[mart](hour)] += least
    left, total = PASSAGES, 0
    for most in sorted(cells.values(), reverse=True):
        put = min(most, left)
        total, left = total + put**2, left - put
    return total


@pytest.mark.parametrize("mart", PASSER_BY)
def test_a_passer_by_who_comes_to_one_place_again_and_again_is_the_worst(mart: str) -> None:
    worst = max(fullest_first(mart, month) for month in months())
    assert worst == plan().marts[mart].bound
    random = np.random.default_rng(2)
    spent = [hour for hour in dict.fromkeys(OCTOBER) for _ in range(AT_ONCE)]
    for places in (1, 2, 5):
        for _ in range(50):
            chosen = random.choice(len(spent), PASSAGES, replace=False)
            where = random.integers(0, places, PASSAGES)
            cells = Counter((int(place), *PASSER_BY[mart](spent[at])) for place, at in zip(where, chosen, strict=True))
            assert squares(cells) <= worst


def test_of_a_vehicle_one_event_of_a_month_counts() -> None:
    """What the macro bound_contributions leaves of it: tests/dbt_project/test_marts.py counts it again."""
    assert {mart.bound for mart in plan().marts.values() if mart.budget == "vehicles"} == {1}


def test_a_budget_says_the_limits_that_its_bounds_come_from() -> None:
    unit = plan().budgets["passers_by"].unit
    assert f"at most {PASSAGES} counted passages" in unit
    assert f"at most {AT_ONCE} in one place and hour" in unit
