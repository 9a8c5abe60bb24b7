"""Days that are not like others: public holidays of a country, school holidays of a zone, days of a clock change.

Public holidays are those that the library ``holidays`` computes, for any country; school holidays those that the French
ministry of education decrees by zone, as the library ``vacances-scolaires-france`` has them. Beyond the last decree
there are none.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from functools import cache

from infra.calendar import clock


@dataclass(frozen=True)
class Calendar:
    """The calendar of a city. Without a country it knows no public holiday, without a zone no school holiday."""

    time_zone: str
    country: str | None = None
    school_zone: str | None = None

    def public_holiday(self, day: date) -> bool:
        return self.country is not None and day in _public_holidays(self.country, day.year)

    def school_holiday(self, day: date) -> bool:
        return self.school_zone is not None and day in _school_holidays(self.school_zone)

    def hours(self, day: date) -> float:
        """How long a day lasts: 24 hours but for the two days of a clock change."""
        return clock.clock_changes(self.time_zone, day, day).get(day, 24.0)


@cache
def _public_holidays(country: str, year: int) -> frozenset[date]:
    import holidays  # noqa: PLC0415 - half a second, which only a watch has to wait for

    return frozenset(holidays.country_holidays(country, years=year))


@cache
def _school_holidays(zone: str) -> frozenset[date]:
    from vacances_scolaires_france import SchoolHolidayDates  # noqa: PLC0415

    return frozenset(day for day, facts in SchoolHolidayDates().data.items() if facts[f"vacances_zone_{zone.lower()}"])
