"""The city profile: its zones, places, clock and plates, read from a TOML file.

A profile is a file of ``infra/cities`` or any path. It says how the ground is cut into zones: demo cells around
one point per zone, polygons of a GeoJSON file, or H3 cells. ``CALANQUE_GEO`` replaces demo cells by polygons.
"""

from __future__ import annotations

import json
import math
import unicodedata
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import h3
import numpy as np
import polars as pl
import shapely
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from shapely.lib import GEOSException

from infra.calendar.holidays import Calendar
from infra.city.profiles import ProfileError, profile_path
from infra.city.zoning import Box, H3Locator, Locator, PolygonLocator, cell_polygons, cells_expected, h3_cells
from infra.documents import DocumentError, read_json, read_toml
from infra.settings import Settings

UNKNOWN = "unknown"
"""The zone of what cannot be placed; every city has it."""

MOST_ZONES = 100_000
"""More are a mistake in the profile: each is a row of every grid."""

ZONES = ("zone_id", "zone_name", "area_id", "area_name", "published_zone_id", "published_zone_name")


@dataclass(frozen=True)
class City:
    r"""What the lake knows of its city.

    ``zones`` has the columns of :data:`ZONES`, one row per zone and the row ``unknown``. ``points`` has one point in
    each known zone: ``zone_id``, ``lon``, ``lat``, ``area_km2``. ``places`` has ``place_id``, ``place_name``, ``lon``,
    ``lat``, ``zone_id``, ``area_m2``, ``density_threshold`` (people per m2), the last two null when not known.
    ``zone_codes`` maps every code that deliveries may use for a zone to its ``zone_id``. ``plates`` are patterns of a
    whole plate, upper case, without look-around: anchor them to match, put ``\b`` around them to search.
    """

    name: str
    title: str
    time_zone: str
    footfall_measure: str
    zones: pl.DataFrame
    points: pl.DataFrame
    places: pl.DataFrame
    zone_codes: Mapping[str, str]
    plates: tuple[str, ...]
    _locator: Locator = field(repr=False)

    def locate(self, lon: pl.Series, lat: pl.Series) -> pl.Series:
        """The ``zone_id`` of each point (WGS 84 degrees); null when a coordinate is missing or outside the city."""
        return self._locator.locate(lon, lat)


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def _known_time_zone(value: str) -> str:
    try:
        ZoneInfo(value)  # available_timezones() would open every file of the database
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"{value!r} is not an IANA time zone such as 'Europe/Paris'") from None
    return value


class _GeoJson(_Model):
    """Where a feature says which zone it is: its code, its name or an alias; in any letter case."""

    zone_property: str
    area_property: str | None = None


class _Box(_Model):
    name: str
    west: float = Field(ge=-180, le=180)
    south: float = Field(ge=-90, le=90)
    east: float = Field(ge=-180, le=180)
    north: float = Field(ge=-90, le=90)

    @model_validator(mode="after")
    def _not_empty(self) -> _Box:
        if self.west >= self.east or self.south >= self.north:
            raise ValueError("west must be less than east, and south less than north")
        return self


class _Cells(_Model):
    kind: Literal["cells"]
    table: Path
    reach: float = Field(gt=0)
    margin_km: float = Field(ge=0)
    geojson: _GeoJson | None = None


class _Polygons(_Model):
    kind: Literal["polygons"]
    table: Path
    file: Path
    geojson: _GeoJson


class _H3(_Model):
    kind: Literal["h3"]
    resolution: int = Field(ge=1, le=15)
    area_resolution: int = Field(ge=0, le=14)
    box: tuple[_Box, ...] = Field(min_length=1)


class _Merge(_Model):
    zone_id: str
    into: str
    reason: str = Field(min_length=1)


class _Place(_Model):
    place_id: str = Field(min_length=1)
    place_name: str = Field(min_length=1)
    lon: float
    lat: float
    area_m2: float | None = Field(default=None, gt=0)
    density_threshold: float | None = Field(default=None, gt=0)


class _Point(_Model):
    lon: float
    lat: float


class _Calendar(_Model):
    """Whose holidays the city keeps: a country (ISO 3166-1), and in France a zone of school holidays."""

    public_holidays: str = Field(pattern="^[A-Z]{2}$")
    school_zone: Literal["A", "B", "C"] | None = None


class _Profile(_Model):
    name: str = Field(pattern=r"^[a-z][a-z0-9_-]*$")
    title: str
    time_zone: str
    footfall_measure: str
    plates: tuple[str, ...] = ()
    zoning: _Cells | _Polygons | _H3 = Field(discriminator="kind")
    merge: tuple[_Merge, ...] = ()
    zone_codes: dict[str, _Point | str] = {}
    place: tuple[_Place, ...] = ()
    calendar: _Calendar | None = None

    @field_validator("time_zone")
    @classmethod
    def _time_zone(cls, value: str) -> str:
        return _known_time_zone(value)

    @field_validator("footfall_measure")
    @classmethod
    def _footfall_measure(cls, value: str) -> str:
        if value != "presence":
            raise ValueError(
                f"{value!r} cannot be published: it is 'presence', counts of devices; of estimates expanded by weights "
                "nobody declared how much one device weighs at most"
            )
        return value

    @field_validator("plates")
    @classmethod
    def _plates(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for pattern in value:
            try:
                pl.Series([""]).str.contains(pattern)
            except pl.exceptions.ComputeError as error:
                raise ValueError(f"{pattern!r} is not a regular expression that can be used here: {error}") from None
        return value


def calendar(settings: Settings) -> Calendar:
    """The calendar of the city, read from its profile alone; without holidays when the profile names none.

    Raises:
        ProfileError: no such profile, or it is wrong.
    """
    profile = _read_profile(profile_path(settings.city))
    kept = profile.calendar
    return Calendar(profile.time_zone, kept.public_holidays if kept else None, kept.school_zone if kept else None)


def load_city(settings: Settings) -> City:
    """The city of ``CALANQUE_CITY``, cut by the polygons of ``CALANQUE_GEO`` when given.

    Raises:
        ProfileError: no such profile, or something in it, or in a file it names, is wrong.
    """
    path = profile_path(settings.city)
    profile = _read_profile(path)
    zoning = profile.zoning
    match zoning:
        case _H3():
            if settings.geo:
                raise ProfileError(
                    f"{path}: CALANQUE_GEO gives polygons, but this profile is cut into H3 cells: unset CALANQUE_GEO"
                )
            table, locator = _h3_zones(path, zoning)
        case _Cells() | _Polygons():
            table = _read_table(path.parent / zoning.table)
            polygons = settings.geo or (path.parent / zoning.file if isinstance(zoning, _Polygons) else None)
            locator = PolygonLocator(table["zone_id"].to_list(), _polygons(path, zoning, table, polygons))
    zones = _publish(path, table, profile.merge)
    return City(
        name=profile.name,
        title=profile.title,
        time_zone=profile.time_zone,
        footfall_measure=profile.footfall_measure,
        zones=zones,
        points=table.select("zone_id", "lon", "lat", "area_km2"),
        places=_places(path, profile.place, locator),
        zone_codes=_zone_codes(path, profile.zone_codes, table, locator),
        plates=profile.plates,
        _locator=locator,
    )


def _read_profile(path: Path) -> _Profile:
    try:
        return _Profile.model_validate(read_toml(path))
    except DocumentError as error:
        raise ProfileError(f"{path}: {error}") from None
    except ValidationError as error:
        faults = "; ".join(
            f"key {'.'.join(str(part) for part in fault['loc']) or '(whole file)'}: {fault['msg']}"
            for fault in error.errors(include_url=False)
        )
        raise ProfileError(f"{path}: {faults}") from None


_TABLE = {
    "zone_id": pl.String,
    "zone_name": pl.String,
    "aliases": pl.String,
    "area_id": pl.String,
    "area_name": pl.String,
    "lon": pl.Float64,
    "lat": pl.Float64,
    "area_km2": pl.Float64,
}


def _read_table(path: Path) -> pl.DataFrame:
    """The zones of a CSV file with the columns of ``_TABLE``; ``aliases`` are other spellings, split by ``;``."""
    try:
        raw = pl.read_csv(path, infer_schema=False)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise ProfileError(f"{path}: cannot be read as the CSV table of zones: {error}") from None
    if raw.height > MOST_ZONES:
        raise ProfileError(f"{path}: {raw.height:,} zones, and {MOST_ZONES:,} are the most")
    missing = [column for column in _TABLE if column not in raw.columns]
    if missing:
        raise ProfileError(f"{path}: the table of zones lacks the columns {', '.join(missing)}")
    table = raw.select(pl.col(name).cast(dtype, strict=False) for name, dtype in _TABLE.items())
    required = [column for column in _TABLE if column != "aliases"]
    for column in required:
        row = table[column].is_null().arg_true()
        if row.len():
            raise ProfileError(f"{path}: row {row[0] + 2}: column {column} is empty or not a number")
    for zone_id, times in Counter(table["zone_id"]).items():
        if times > 1 or zone_id == UNKNOWN:
            raise ProfileError(f"{path}: zone_id {zone_id!r} is used twice or reserved")
    return table


def _h3_zones(path: Path, zoning: _H3) -> tuple[pl.DataFrame, Locator]:
    boxes = [Box(box.name, box.west, box.south, box.east, box.north) for box in zoning.box]
    wanted = sum(cells_expected(box, zoning.resolution) for box in boxes)
    if wanted > MOST_ZONES:
        raise ProfileError(
            f"{path}: key zoning.resolution: its boxes hold about {wanted:,.0f} cells, of at most {MOST_ZONES:,}: name "
            "a coarser resolution or smaller boxes"
        )
    cells = h3_cells(boxes, zoning.resolution)
    parents = [h3.cell_to_parent(cell, zoning.area_resolution) for cell in cells["zone_id"]]
    areas = [h3.cell_area(cell, unit="km^2") for cell in cells["zone_id"]]
    table = cells.with_columns(area_id=pl.Series(parents, dtype=pl.String), area_km2=pl.Series(areas)).select(
        "zone_id",
        pl.format("{} {}", "box", "zone_id").alias("zone_name"),
        pl.lit(None, pl.String).alias("aliases"),
        "area_id",
        # A parent cell may reach into two boxes; it bears the name of the first.
        pl.format("{} {}", pl.col("box").first().over("area_id"), "area_id").alias("area_name"),
        "lon",
        "lat",
        "area_km2",
    )
    return table, H3Locator(table["zone_id"].to_list(), zoning.resolution)


def _polygons(path: Path, zoning: _Cells | _Polygons, table: pl.DataFrame, file: Path | None) -> list[Any]:
    if file is None:
        assert isinstance(zoning, _Cells)  # noqa: S101  a profile of polygons names their file
        return cell_polygons(table, zoning.reach, zoning.margin_km)
    if zoning.geojson is None:
        raise ProfileError(f"{path}: key zoning.geojson is missing: it says which properties of {file} name a zone")
    return _match_polygons(file, zoning.geojson, table)


def _plain(text: str) -> str:
    """A name without case, accents, punctuation or doubled spaces."""
    letters = (c for c in unicodedata.normalize("NFKD", text.casefold()) if not unicodedata.combining(c))
    return " ".join("".join(c if c.isalnum() else " " for c in letters).split())


def _match_polygons(file: Path, keys: _GeoJson, table: pl.DataFrame) -> list[Any]:
    """The polygon of each zone of ``table``, in its order; several features of one zone are united."""
    known: dict[tuple[str, str], int] = {}
    for index, zone in enumerate(table.iter_rows(named=True)):
        area = _plain(zone["area_id"]) if keys.area_property else ""
        for name in (zone["zone_id"], zone["zone_name"], *(zone["aliases"] or "").split(";")):
            if name:
                known[area, _plain(name)] = index
    found: dict[int, list[Any]] = {}
    strangers = []
    for number, (properties, geometry) in enumerate(_features(file), start=1):
        name = str(properties.get(keys.zone_property.casefold()) or "")
        area = str(properties.get(keys.area_property.casefold()) or "") if keys.area_property else ""
        position = known.get((_plain(area), _plain(name)))
        if position is None:
            strangers.append(f"feature {number} ({area[:60]} {name[:60]})".replace("( ", "("))
        else:
            found.setdefault(position, []).append(geometry)
    lost = [table["zone_name"][index] for index in range(table.height) if index not in found]
    if strangers or lost:
        raise ProfileError(
            f"{file}: {len(strangers)} features match no zone of the profile: {', '.join(strangers[:10]) or 'none'}; "
            f"{len(lost)} zones have no feature: {', '.join(lost[:10]) or 'none'}. Add the other spelling to the "
            f"column aliases of the profile's table, or correct the file"
        )
    return [shapely.union_all(found[index]) for index in range(table.height)]


def _features(file: Path) -> list[tuple[dict[str, Any], Any]]:
    """Properties (keys in lower case) and polygonal geometry of each feature of a GeoJSON file."""
    try:
        features = read_json(file)["features"]
        properties = [{key.casefold(): value for key, value in each["properties"].items()} for each in features]
        geometries = shapely.from_geojson(np.array([json.dumps(each["geometry"]) for each in features], dtype=object))
    except DocumentError as error:
        raise ProfileError(f"{file}: {error}") from None
    except (ValueError, KeyError, TypeError, AttributeError, GEOSException) as error:
        why = f"{type(error).__name__} {error}"[:200]
        raise ProfileError(f"{file}: not a GeoJSON feature collection: {why}") from None
    if len(features) > MOST_ZONES:
        raise ProfileError(f"{file}: {len(features):,} features, and {MOST_ZONES:,} are the most")
    for number, geometry in enumerate(geometries, start=1):
        if geometry is None or geometry.geom_type not in {"Polygon", "MultiPolygon"}:
            raise ProfileError(f"{file}: feature {number} is not a polygon")
        west, south, east, north = geometry.bounds if geometry.area else (math.nan,) * 4
        if math.isnan(west):
            raise ProfileError(f"{file}: feature {number} is a polygon without an area")
        if not (-180 <= west <= east <= 180 and -90 <= south <= north <= 90):
            raise ProfileError(
                f"{file}: feature {number} is not in degrees of longitude and latitude (WGS 84): convert the file"
            )
    return list(zip(properties, geometries, strict=True))


def _publish(path: Path, table: pl.DataFrame, merges: tuple[_Merge, ...]) -> pl.DataFrame:
    """The table of zones with the zone under which each is published, and the zone ``unknown``."""
    zones = table.select("zone_id", "zone_name", "area_id", "area_name")
    area = dict(zip(zones["zone_id"], zones["area_id"], strict=True))
    target = {merge.zone_id: merge.into for merge in merges}
    for number, merge in enumerate(merges):
        for key, zone_id in (("zone_id", merge.zone_id), ("into", merge.into)):
            if zone_id not in area:
                raise ProfileError(f"{path}: key merge.{number}.{key}: no zone {zone_id!r}")
        if area[merge.zone_id] != area[merge.into]:
            raise ProfileError(
                f"{path}: key merge.{number}: a zone joins a neighbour of its own area, so that areas add up"
            )
        if merge.into in target:
            raise ProfileError(f"{path}: key merge.{number}.into: {merge.into!r} is merged itself; name the final zone")
    published = zones.with_columns(published_zone_id=pl.col("zone_id").replace(target))
    names = published.group_by("published_zone_id").agg(
        # The zone itself first, then those that joined it, by code.
        published_zone_name=pl.col("zone_name")
        .sort_by(pl.col("zone_id") != pl.col("published_zone_id"), "zone_id")
        .str.join(" + ")
    )
    unknown = pl.DataFrame(
        [(UNKNOWN, "Unknown place", UNKNOWN, "Unknown place", UNKNOWN, "Unknown place")],
        schema=list(ZONES),
        orient="row",
    )
    return pl.concat([published.join(names, on="published_zone_id", maintain_order="left").select(ZONES), unknown])


def _places(path: Path, places: tuple[_Place, ...], locator: Locator) -> pl.DataFrame:
    schema = {
        "place_id": pl.String,
        "place_name": pl.String,
        "lon": pl.Float64,
        "lat": pl.Float64,
        "area_m2": pl.Float64,
        "density_threshold": pl.Float64,
    }
    table = pl.DataFrame([place.model_dump() for place in places], schema=schema)
    table = table.with_columns(zone_id=locator.locate(table["lon"], table["lat"]))
    for number, (place_id, zone_id) in enumerate(table.select("place_id", "zone_id").iter_rows()):
        if zone_id is None:
            raise ProfileError(f"{path}: key place.{number}: {place_id!r} lies outside every zone: check lon and lat")
    for place_id, times in Counter(table["place_id"]).items():
        if times > 1:
            raise ProfileError(f"{path}: key place: place_id {place_id!r} is used {times} times")
    return table.select("place_id", "place_name", "lon", "lat", "zone_id", "area_m2", "density_threshold")


def _zone_codes(path: Path, codes: dict[str, _Point | str], table: pl.DataFrame, locator: Locator) -> dict[str, str]:
    """Every zone under its own id, then the codes of the profile: each a zone_id, or a point of the zone it means."""
    known = {zone_id: zone_id for zone_id in table["zone_id"]}
    declared = dict(known)
    for code, meant in codes.items():
        if isinstance(meant, str):
            zone_id = known.get(meant)
        else:
            zone_id = locator.locate(pl.Series([meant.lon]), pl.Series([meant.lat]))[0]
        if zone_id is None:
            raise ProfileError(f"{path}: key zone_codes.{code}: means no zone of the city")
        declared[code] = zone_id
    return declared
