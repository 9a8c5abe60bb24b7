"""What is unusual and what is not, on simulated histories: few false warnings, and real trouble found."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.calendar import clock
from infra.calendar.holidays import Calendar
from ingestion import expectations
from ingestion.register import Expectations

PARIS = Calendar("Europe/Paris", "FR", "B")
NO_HOLIDAYS = Calendar("Europe/Paris")
USUAL = Expectations()
TWO_DAYS = timedelta(days=2)
FIRST, LAST = date(2024, 9, 1), date(2026, 8, 31)
MIDDAY = timedelta(hours=12)


def year_of_a_city(seed: int, base: float, *, noise: float = 0.15) -> dict[date, int]:
    """Two years of rows by day: weeks, seasons, holidays, a slow trend, and a spread beyond Poisson's."""
    random = np.random.default_rng(seed)
    week = (1.0, 1.05, 1.05, 1.0, 1.15, 0.7, 0.45)
    rows = {}
    for number, day in enumerate(clock.days(FIRST, LAST)):
        mean = base * week[day.weekday()] * (1 + 0.25 * np.sin(2 * np.pi * number / 365)) * (1 + number / 3000)
        if PARIS.public_holiday(day):
            mean *= 0.4
        elif PARIS.school_holiday(day):
            mean *= 0.75
        rows[day] = int(random.poisson(mean * random.lognormal(-(noise**2) / 2, noise)))
    return rows


def warnings(rows: dict[date, int], days: list[date], calendar: Calendar = PARIS) -> list[date]:
    """The days that are warned of when each is looked at on its own, with what came before it."""
    return [
        day
        for day in days
        if (expected := expectations.usual(rows, day, USUAL, calendar)) is not None
        and not expected.least <= rows[day] <= expected.most
    ]


SECOND_YEAR = list(clock.days(date(2025, 9, 1), LAST))


@pytest.mark.parametrize("base", [15, 60, 400, 5_000, 1_000_000])
def test_an_ordinary_year_gives_hardly_a_warning(base: float) -> None:
    found = [len(warnings(year_of_a_city(seed, base), SECOND_YEAR)) for seed in range(6)]
    allowed = 1 if base > 50 else 2  # of a handful of rows a day, chance makes more
    assert sum(found) <= allowed * len(found), f"false warnings by year: {found}"


def test_without_a_calendar_there_would_be_false_warnings() -> None:
    years = [year_of_a_city(seed, 5_000) for seed in range(6)]
    blind, seeing = (sum(len(warnings(rows, SECOND_YEAR, known)) for rows in years) for known in (NO_HOLIDAYS, PARIS))
    assert blind > seeing + 6


@pytest.mark.parametrize(("share", "found_of_ten"), [(0.0, 10), (0.2, 8), (0.1, 9), (4.0, 8), (6.0, 9)])
def test_a_broken_day_is_found(share: float, found_of_ten: int) -> None:
    ordinary = [day for day in SECOND_YEAR if not PARIS.public_holiday(day)][::9]
    for base in (400, 5_000):
        rows = year_of_a_city(3, base)
        found = sum(bool(warnings({**rows, day: int(rows[day] * share)}, [day])) for day in ordinary)
        assert found >= len(ordinary) * found_of_ten / 10, (base, share, found, len(ordinary))


def test_one_broken_day_does_not_spoil_what_is_usual_after_it() -> None:
    rows = year_of_a_city(4, 2_000)
    broken = {**rows, date(2026, 3, 3): 0, date(2026, 3, 10): 40_000}
    after = list(clock.days(date(2026, 3, 11), date(2026, 5, 31)))
    assert warnings(broken, after) == warnings(rows, after) == []


@given(st.lists(st.integers(0, 10**7), min_size=1, max_size=120), st.integers(0, 2**31))
def test_what_is_usual_holds_the_median_and_is_never_absurd(counts: list[int], offset: int) -> None:
    first = date(2024, 1, 1) + timedelta(days=offset % 700)
    rows = {first + timedelta(days=number): count for number, count in enumerate(counts)}
    day = first + timedelta(days=len(counts))
    found = expectations.usual(rows, day, USUAL, PARIS)
    if found is not None:
        assert found.days >= USUAL.least_days
        assert 0 <= found.least <= found.median + 1 <= found.most + 1


@given(st.integers(40, 10**6), st.integers(60, 100))
def test_a_constant_silo_is_never_warned_of_even_when_the_clock_changes(count: int, length: int) -> None:
    """Rows by the hour: 23 hours' worth on the day that the clock goes forward, 25 when it goes back."""
    for change in (date(2026, 3, 29), date(2025, 10, 26)):
        days = list(clock.days(change - timedelta(days=length), change + timedelta(days=10)))
        rows = {day: round(count * PARIS.hours(day) / 24) for day in days}
        assert warnings(rows, days) == []
        usual = expectations.usual(rows, change, USUAL, NO_HOLIDAYS)
        assert usual is not None
        assert round(usual.median) == pytest.approx(rows[change], abs=2)


def test_too_little_history_says_nothing() -> None:
    days = list(clock.days(date(2026, 3, 1), date(2026, 3, 28)))
    rows = dict.fromkeys(days, 1000) | {date(2026, 3, 28): 0}
    assert warnings(rows, days) == []


# --- freshness -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("day", "freshness", "expected"),
    [
        (date(2026, 3, 5), TWO_DAYS, datetime(2026, 3, 7, 23, 0, tzinfo=UTC)),
        (date(2026, 3, 28), timedelta(days=1), datetime(2026, 3, 29, 22, 0, tzinfo=UTC)),  # through 23 hours
        (date(2025, 10, 25), timedelta(days=1), datetime(2025, 10, 26, 23, 0, tzinfo=UTC)),  # through 25 hours
        (date(2026, 3, 5), MIDDAY, datetime(2026, 3, 6, 11, 0, tzinfo=UTC)),
    ],
)
def test_rows_are_due_so_many_local_days_after_their_day(day: date, freshness: timedelta, expected: datetime) -> None:
    assert expectations.due(day, freshness, USUAL, PARIS) == expected


def test_nobody_is_waited_for_on_days_of_rest() -> None:
    office = Expectations(rest=(6, 7), rests_on_holidays=True)
    friday = date(2026, 4, 3)  # then a weekend, and Easter Monday
    assert expectations.due(friday, timedelta(days=1), office, PARIS) == datetime(2026, 4, 7, 22, 0, tzinfo=UTC)
    assert expectations.due(friday, timedelta(days=1), USUAL, PARIS) == datetime(2026, 4, 4, 22, 0, tzinfo=UTC)


@given(
    st.dates(date(2024, 1, 1), date(2027, 12, 31)),
    st.integers(1, 40).map(lambda halves: timedelta(hours=12 * halves)),
    st.sets(st.integers(1, 7), max_size=5),
    st.booleans(),
)
def test_a_later_day_is_never_due_earlier_and_never_at_once(
    day: date, freshness: timedelta, rest: set[int], holidays: bool
) -> None:
    office = Expectations(rest=tuple(rest), rests_on_holidays=holidays)
    when = expectations.due(day, freshness, office, PARIS)
    assert when <= expectations.due(day + timedelta(days=1), freshness, office, PARIS)
    assert when >= clock.midnight(day + timedelta(days=1), "Europe/Paris") + freshness - timedelta(hours=2)


def test_what_is_overdue_is_the_day_after_the_newest() -> None:
    newest = date(2026, 3, 5)
    in_time = datetime(2026, 3, 8, 22, 59, tzinfo=UTC)
    assert expectations.overdue_day(newest, TWO_DAYS, USUAL, PARIS, in_time) is None
    assert expectations.overdue_day(newest, TWO_DAYS, USUAL, PARIS, in_time + timedelta(minutes=1)) == date(2026, 3, 6)


def test_the_spill_of_a_file_into_the_next_day_is_no_delivery_of_it() -> None:
    rows = dict.fromkeys(clock.days(date(2026, 3, 1), date(2026, 3, 10)), 1000)
    spilt = {**rows, date(2026, 3, 11): 4, date(2031, 1, 1): 900}
    assert expectations.newest_day(spilt, date(2026, 3, 20)) == date(2026, 3, 10)
    assert expectations.newest_day({}, date(2026, 3, 20)) is None


def test_a_hole_is_a_matter_of_volume_and_an_end_of_freshness() -> None:
    days = list(clock.days(date(2026, 1, 1), date(2026, 3, 10)))
    rows = dict.fromkeys(days, 1000)
    del rows[date(2026, 3, 9)]
    now = datetime(2026, 3, 20, tzinfo=UTC)
    odd = expectations.odd_days(rows, date(2026, 3, 10), TWO_DAYS, USUAL, PARIS, now=now, window=14)
    assert [(day, count) for day, count, _ in odd] == [(date(2026, 3, 9), 0)]
    early = datetime(2026, 3, 11, tzinfo=UTC)  # still expected
    assert not expectations.odd_days(rows, date(2026, 3, 10), TWO_DAYS, USUAL, PARIS, now=early, window=14)


# --- quarantine and warnings -----------------------------------------------------------------------------------------


def test_ordinary_deliveries_hardly_ever_spike() -> None:
    random = np.random.default_rng(8)
    false = 0
    for rate in (0.001, 0.01, 0.05, 0.3):
        for size in (100, 3_000, 200_000):
            history: list[tuple[int, int]] = []
            for _ in range(365):
                part = int(random.binomial(size, min(1.0, rate * random.lognormal(0, 0.2))))
                false += expectations.unusual_share(part, size, history[-20:], USUAL) is not None and len(history) > 20
                history.append((part, size))
    assert false <= 12, f"{false} false warnings in {12 * 365} deliveries"


@pytest.mark.parametrize(
    ("rows", "of", "usual_share", "expected"),
    [
        (120, 1_000, 0.01, True),
        (19, 1_000, 0.0, False),  # too few to call anybody
        (150, 10_000, 0.001, False),  # under the absolute floor
        (400, 10_000, 0.001, True),
        (400, 10_000, 0.03, False),
        (10_000, 10_000, 0.3, True),
    ],
)
def test_a_spike_is_above_the_floor_and_above_what_was(rows: int, of: int, usual_share: float, expected: bool) -> None:
    history = [(round(10_000 * usual_share), 10_000)] * 10
    assert (expectations.unusual_share(rows, of, history, USUAL) is not None) is expected


def test_the_first_deliveries_spike_only_when_they_would_in_any_silo() -> None:
    assert expectations.unusual_share(300, 1_000, [], USUAL) == 0.0
    assert expectations.unusual_share(150, 1_000, [], USUAL) is None
    assert expectations.unusual_share(1_000, 1_000, [], USUAL, first_ones=False) is None


@given(st.integers(0, 10**6), st.integers(0, 10**6), st.lists(st.tuples(st.integers(0, 99), st.just(100)), max_size=30))
def test_more_quarantined_rows_never_look_better(rows: int, more: int, history: list[tuple[int, int]]) -> None:
    of = max(rows, rows + more, 1)
    if expectations.unusual_share(rows, of, history, USUAL) is not None:
        assert expectations.unusual_share(min(of, rows + more), of, history, USUAL) is not None
