from __future__ import annotations

from datetime import date, timedelta
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from infra.build_spec import BuildSpec, CityReference, Unit, Zone
from infra.calendar.clock import add_months, days
from infra.calendar.days import DayRange
from infra.city.profile import load_city
from infra.settings import Settings

UNKNOWN_ZONE = Zone(
    zone_id="unknown",
    zone_name="Unknown",
    area_id="unknown",
    area_name="Unknown",
    published_zone_id="unknown",
    published_zone_name="Unknown",
)
CITY = CityReference(name="none", time_zone="Europe/Paris", footfall_measure="presence", zones=(UNKNOWN_ZONE,))


def spec(*units: Unit) -> BuildSpec:
    return BuildSpec(build_id="b", tables={}, units=units, coverage={}, city=CITY)


def month(year: int, number: int, mart: str = "fines_by_day") -> Unit:
    first_day = date(year, number, 1)
    return Unit(mart=mart, first_day=first_day, last_day=add_months(first_day, 1) - timedelta(days=1))


QUARTER = Unit(mart="fines_profile", first_day=date(2025, 10, 1), last_day=date(2025, 12, 31))


def test_adjacent_and_overlapping_units_are_read_together() -> None:
    ranges = spec(month(2026, 7), QUARTER, month(2026, 1), month(2025, 12)).ranges()
    assert ranges == (
        DayRange(first_day=date(2025, 10, 1), last_day=date(2026, 1, 31)),
        DayRange(first_day=date(2026, 7, 1), last_day=date(2026, 7, 31)),
    )


@given(st.sets(st.tuples(st.integers(2025, 2026), st.integers(1, 12)), min_size=1))
def test_the_days_to_read_are_those_of_the_units_and_each_is_read_once(months: set[tuple[int, int]]) -> None:
    units = [month(year, number) for year, number in months]
    ranges = spec(*units, QUARTER).ranges()
    read = [day for each in ranges for day in days(each.first_day, each.last_day)]
    assert sorted({day for unit in (*units, QUARTER) for day in days(unit.first_day, unit.last_day)}) == read
    assert all(before.last_day + timedelta(days=1) < after.first_day for before, after in pairwise(ranges))


def test_units_are_told_by_mart_earliest_first() -> None:
    found = spec(month(2026, 7), QUARTER, month(2026, 1))
    assert found.units_of("fines_by_day") == (month(2026, 1), month(2026, 7))
    assert found.units_of("fines_profile") == (QUARTER,)
    assert found.units_of("tows_delay") == ()


@pytest.mark.parametrize(
    "units", [(), (month(2026, 1), month(2026, 1)), (month(2026, 1), month(2026, 1).model_copy(update={"edition": 2}))]
)
def test_no_unit_and_a_unit_twice_are_refused(units: tuple[Unit, ...]) -> None:
    with pytest.raises(ValidationError):
        spec(*units)


def test_a_third_edition_is_refused() -> None:
    with pytest.raises(ValidationError):
        Unit(mart="fines_by_day", first_day=date(2026, 1, 1), last_day=date(2026, 1, 31), edition=3)


def test_a_city_without_the_unknown_zone_is_refused() -> None:
    with pytest.raises(ValidationError, match="unknown"):
        CityReference(name="none", time_zone="Europe/Paris", footfall_measure="presence", zones=())


def test_days_out_of_order_are_refused() -> None:
    with pytest.raises(ValidationError, match="comes before"):
        DayRange(first_day=date(2026, 1, 2), last_day=date(2026, 1, 1))


@pytest.mark.parametrize("name", ["marseille", "elsewhere"])
def test_a_spec_survives_its_file(tmp_path: Path, name: str) -> None:
    city = CityReference.of(load_city(Settings(city=name)))
    written = spec(month(2026, 1)).model_copy(update={"city": city})
    written.save(tmp_path / "spec.json")
    assert BuildSpec.load(tmp_path / "spec.json") == written
