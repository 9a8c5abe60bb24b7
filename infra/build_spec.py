"""What one build reads: written by publication as JSON, read by the dbt plugin.

The spec is complete and immutable: the same spec over the same Iceberg metadata files gives the same marts, whatever
the catalog, the city profile or the clock say by the time dbt runs.
"""

from __future__ import annotations

from datetime import date
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from infra.calendar import clock, days
from infra.calendar.days import DayRange

if TYPE_CHECKING:
    from infra.city.profile import City

UNKNOWN = "unknown"
"""The zone, area or place of what cannot be placed; always part of the public grid."""

FOOTFALL_THRESHOLD = 20
"""The operator of measure ``presence`` hides counts under this one."""

FOOTFALL_HIDDEN = FOOTFALL_THRESHOLD - 1
"""What a count counts that the operator hides, delivered or not: a device more then changes it by one, never by 20."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Unit(_Frozen):
    """What is released at once and then frozen: one period of one mart.

    ``edition`` is 1 for the first publication and 2 for the one correction that a period may have.
    """

    mart: str
    first_day: date
    last_day: date
    edition: int = Field(default=1, ge=1, le=2)

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.last_day < self.first_day:
            raise ValueError(f"the last day ({self.last_day}) comes before the first ({self.first_day})")
        return self


class Edition(_Frozen):
    """A published month of a mart, named for good: what it says does not change, whatever is published of it later."""

    mart: str
    first_day: date
    edition: int
    sha256: str


class MonthTotal(_Frozen):
    """What published tables of a month say of a ``parent``, an area or the city: the sum of its figures.

    None when each table hides one of them.
    """

    silo: str
    month_start: date
    parent: str
    total: int | None


class Zone(_Frozen):
    """A zone of the city, its area, and the zone it is published as: itself, or what it is merged into."""

    zone_id: str
    zone_name: str
    area_id: str
    area_name: str
    published_zone_id: str
    published_zone_name: str


class Place(_Frozen):
    """A public place where people are counted; ``density_threshold`` is in people per square metre."""

    place_id: str
    place_name: str
    zone_id: str
    area_m2: float | None = None
    density_threshold: float | None = None


class CityReference(_Frozen):
    """The part of the city profile that marts depend on."""

    name: str
    time_zone: str
    footfall_measure: str = Field(description="Which measure of conformed.telecom_footfall the city publishes.")
    footfall_hidden: int = Field(default=FOOTFALL_HIDDEN, description="What a count that its operator hides counts.")
    zones: tuple[Zone, ...]
    places: tuple[Place, ...] = ()

    @classmethod
    def of(cls, city: City) -> Self:
        """What marts depend on of a city profile."""
        return cls(
            name=city.name,
            time_zone=city.time_zone,
            footfall_measure=city.footfall_measure,
            zones=tuple(Zone.model_validate(row) for row in city.zones.select(list(Zone.model_fields)).to_dicts()),
            places=tuple(Place.model_validate(row) for row in city.places.select(list(Place.model_fields)).to_dicts()),
        )

    @model_validator(mode="after")
    def _has_unknown(self) -> Self:
        if not any(zone.zone_id == UNKNOWN for zone in self.zones):
            raise ValueError(f"zone {UNKNOWN!r} is missing: every city has it, for what cannot be placed")
        return self


class BuildSpec(_Frozen):
    """One build: which units of which marts, from which table versions.

    ``tables`` maps each conformed dataset to the location of its Iceberg metadata file, or None when it has no snapshot
    yet. ``coverage`` gives, by silo, which days of the units somebody declared it complete for, as the fewest ranges,
    earliest first: the calendar has these days, rows of others are not read, and a silo without any publishes nothing.
    ``month_totals`` are those of the published months that units of a quarter are fitted to; months that are built
    beside them are not among them.
    """

    build_id: str
    tables: dict[str, str | None]
    units: tuple[Unit, ...] = Field(min_length=1)
    coverage: dict[str, tuple[DayRange, ...]]
    city: CityReference
    month_totals: tuple[MonthTotal, ...] = ()

    @field_validator("units")
    @classmethod
    def _in_order(cls, units: tuple[Unit, ...]) -> tuple[Unit, ...]:
        ordered = sorted(units, key=lambda unit: (unit.mart, unit.first_day))
        for before, after in pairwise(ordered):
            if before.mart == after.mart and after.first_day <= before.last_day:
                raise ValueError(f"two units of {after.mart} have {after.first_day} in common")
        return tuple(ordered)

    def units_of(self, mart: str) -> tuple[Unit, ...]:
        """The units of ``mart``, earliest first."""
        return tuple(unit for unit in self.units if unit.mart == mart)

    def covered_days(self, silo: str) -> frozenset[date]:
        """The days to build that a silo was declared complete for."""
        return frozenset(day for each in self.coverage.get(silo, ()) for day in each.days)

    def ranges(self) -> tuple[DayRange, ...]:
        """The days of the units, adjacent and overlapping ones joined."""
        return days.ranges(day for unit in self.units for day in clock.days(unit.first_day, unit.last_day))

    def save(self, path: Path) -> None:
        path.write_text(self.model_dump_json(indent=2))

    @classmethod
    def load(cls, path: Path) -> BuildSpec:
        return cls.model_validate_json(path.read_text())
