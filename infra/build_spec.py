"""What one build reads: written by publication as JSON, read by the dbt plugin.

The spec is complete and immutable: the same spec over the same Iceberg metadata files gives the same marts, whatever
the catalog, the city profile or the clock say by the time dbt runs.
"""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

if TYPE_CHECKING:
    from infra.city import City

UNKNOWN = "unknown"
"""The zone, area or place of what cannot be placed; always part of the public grid."""

REGISTERS = frozenset({"crowd_places", "telecom_zones"})
"""Conformed tables that describe things rather than events: read whole, whatever the quarters."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class DayRange(_Frozen):
    """Days from the first to the last, both included."""

    first_day: date
    last_day: date

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.last_day < self.first_day:
            raise ValueError(f"the last day ({self.last_day}) comes before the first ({self.first_day})")
        return self


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
    """One build: which quarters, from which table versions.

    ``tables`` maps each conformed dataset to the location of its Iceberg metadata file, or None when it has no snapshot
    yet. ``quarters`` are the first days of the calendar quarters to build. ``coverage`` gives, by silo, the event days
    the lake holds; days outside it are not published, and a silo without coverage publishes no period at all.
    """

    build_id: str
    tables: dict[str, str | None]
    quarters: tuple[date, ...] = Field(min_length=1)
    coverage: dict[str, DayRange]
    city: CityReference

    @field_validator("quarters")
    @classmethod
    def _first_days_in_order(cls, quarters: tuple[date, ...]) -> tuple[date, ...]:
        for quarter in quarters:
            if quarter != quarter_of(quarter):
                raise ValueError(f"{quarter} is not the first day of a calendar quarter")
        return tuple(sorted(set(quarters)))

    def ranges(self) -> tuple[DayRange, ...]:
        """The days to build, adjacent quarters joined."""
        joined: list[DayRange] = []
        for quarter in self.quarters:
            if joined and joined[-1].last_day + timedelta(days=1) == quarter:
                joined[-1] = DayRange(first_day=joined[-1].first_day, last_day=last_day_of_quarter(quarter))
            else:
                joined.append(DayRange(first_day=quarter, last_day=last_day_of_quarter(quarter)))
        return tuple(joined)

    def save(self, path: Path) -> None:
        path.write_text(self.model_dump_json(indent=2))

    @classmethod
    def load(cls, path: Path) -> BuildSpec:
        return cls.model_validate_json(path.read_text())


def quarter_of(day: date) -> date:
    """The first day of the calendar quarter of ``day``."""
    return date(day.year, 3 * ((day.month - 1) // 3) + 1, 1)


def last_day_of_quarter(quarter: date) -> date:
    """The last day of the calendar quarter that begins on ``quarter``."""
    return quarter_of(quarter + timedelta(days=100)) - timedelta(days=1)
