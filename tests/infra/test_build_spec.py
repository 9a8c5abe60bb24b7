from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from infra.build_spec import BuildSpec, CityReference, DayRange, Zone, last_day_of_quarter, quarter_of
from infra.city import load_city
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


def spec(*quarters: date) -> BuildSpec:
    return BuildSpec(build_id="b", tables={}, quarters=quarters, coverage={}, city=CITY)


@given(st.dates(date(1990, 1, 1), date(2090, 1, 1)))
def test_a_day_lies_in_its_quarter(day: date) -> None:
    first, last = quarter_of(day), last_day_of_quarter(quarter_of(day))
    assert first <= day <= last
    assert quarter_of(last) == first
    assert quarter_of(last + timedelta(days=1)) == last + timedelta(days=1)


def test_adjacent_quarters_are_read_together() -> None:
    ranges = spec(date(2026, 7, 1), date(2025, 10, 1), date(2026, 1, 1), date(2026, 7, 1)).ranges()
    assert ranges == (
        DayRange(first_day=date(2025, 10, 1), last_day=date(2026, 3, 31)),
        DayRange(first_day=date(2026, 7, 1), last_day=date(2026, 9, 30)),
    )


@pytest.mark.parametrize("quarters", [(), (date(2026, 2, 1),), (date(2026, 1, 2),)])
def test_only_first_days_of_quarters_are_accepted(quarters: tuple[date, ...]) -> None:
    with pytest.raises(ValidationError):
        spec(*quarters)


def test_a_city_without_the_unknown_zone_is_refused() -> None:
    with pytest.raises(ValidationError, match="unknown"):
        CityReference(name="none", time_zone="Europe/Paris", footfall_measure="presence", zones=())


def test_days_out_of_order_are_refused() -> None:
    with pytest.raises(ValidationError, match="comes before"):
        DayRange(first_day=date(2026, 1, 2), last_day=date(2026, 1, 1))


@pytest.mark.parametrize("name", ["marseille", "elsewhere"])
def test_a_spec_survives_its_file(tmp_path: Path, name: str) -> None:
    city = CityReference.of(load_city(Settings(city=name)))
    written = spec(date(2026, 1, 1)).model_copy(update={"city": city})
    written.save(tmp_path / "spec.json")
    assert BuildSpec.load(tmp_path / "spec.json") == written
