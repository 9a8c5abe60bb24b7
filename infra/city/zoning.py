"""Which zone a point lies in, for many points at once.

Two ways to cut the ground: polygons (given, or demo cells drawn around one point per zone) and H3 cells. Coordinates
are WGS 84 degrees.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any, Protocol, cast

import h3
import numpy as np
import polars as pl
import polars_h3
import shapely

RASTER_CELLS = 25_000
"""Cells of the raster, roughly. More take longer to fill at each start than a million points gain by them."""
FEW_POINTS = 1_000
"""Up to so many points are tested by themselves while there is no raster, which takes longer to fill."""
OUTSIDE, MIXED = -1, -2

_EARTH_RADIUS_KM = 6371.0


class Locator(Protocol):
    def locate(self, lon: pl.Series, lat: pl.Series) -> pl.Series: ...


@dataclass(frozen=True)
class Box:
    """A rectangle of longitudes and latitudes."""

    name: str
    west: float
    south: float
    east: float
    north: float


class PolygonLocator:
    """Point in polygon through a raster.

    A raster cell that lies wholly in one zone, or in none, answers for its points; only points of cells cut by a border
    are tested against the polygons that cut them.

    A point on a common border belongs to the zone listed first.
    """

    def __init__(self, zone_ids: Sequence[str], polygons: Sequence[Any]) -> None:
        self._zone_ids = pl.Series("zone_id", list(zone_ids), dtype=pl.String)
        self.polygons = np.array([shapely.make_valid(polygon) for polygon in polygons], dtype=object)
        shapely.prepare(self.polygons)
        west, south, east, north = shapely.total_bounds(self.polygons)
        self._step = math.sqrt((east - west) * (north - south) / RASTER_CELLS)
        self._west, self._south = west - self._step, south - self._step
        self._columns = math.ceil((east - self._west) / self._step) + 1
        self._rows = math.ceil((north - self._south) / self._step) + 1
        self._filled: tuple[np.ndarray[Any, Any], pl.DataFrame] | None = None
        self._filling = Lock()

    def _raster(self) -> tuple[np.ndarray[Any, Any], pl.DataFrame]:
        """The zone of each cell, and the polygons (``zone``) that each mixed ``cell`` touches."""
        with self._filling:
            if self._filled is None:
                self._filled = self._rasterise()
            return self._filled

    def _rasterise(self) -> tuple[np.ndarray[Any, Any], pl.DataFrame]:
        raster = np.full(self._columns * self._rows, OUTSIDE, dtype=np.int32)
        index = np.arange(raster.size)
        x = self._west + (index % self._columns) * self._step
        y = self._south + (index // self._columns) * self._step
        # Boxes a hair larger than the cells: a point that rounding puts in the neighbouring cell is still covered.
        hair = self._step * 1e-6
        boxes = shapely.box(x - hair, y - hair, x + self._step + hair, y + self._step + hair)
        tree = shapely.STRtree(boxes)
        borders: list[pl.DataFrame] = []
        for zone, polygon in enumerate(self.polygons):
            touched = np.sort(tree.query(polygon, predicate="intersects"))
            inside = shapely.contains_properly(polygon, boxes[touched])
            # A cell claimed whole by two overlapping polygons goes to the first, like a point of their border.
            whole = touched[inside]
            free = whole[raster[whole] == OUTSIDE]
            raster[free] = zone
            cut = touched[~inside]
            borders.append(pl.DataFrame({"cell": cut, "zone": np.full(cut.size, zone)}))
        border = pl.concat(borders)
        owned = raster[border["cell"].to_numpy()]
        whole_too = border.with_columns(owner=pl.Series(owned)).filter(pl.col("owner") >= 0)
        raster[border["cell"].to_numpy()] = MIXED
        both = pl.concat([border, whole_too.select("cell", zone=pl.col("owner").cast(pl.Int64))])
        return raster, both.unique().sort("zone", "cell")

    def locate(self, lon: pl.Series, lat: pl.Series) -> pl.Series:
        """The zone of each point; null where a coordinate is missing, not finite, or in no zone."""
        x = lon.cast(pl.Float64).fill_null(math.nan).to_numpy()
        y = lat.cast(pl.Float64).fill_null(math.nan).to_numpy()
        if self._filled is None and x.size <= FEW_POINTS:
            return self._named(self._first_of(x, y))
        raster, border = self._raster()
        zone = np.full(x.size, OUTSIDE, dtype=np.int32)
        with np.errstate(invalid="ignore"):
            column = np.floor((x - self._west) / self._step)
            row = np.floor((y - self._south) / self._step)
            on_raster = (column >= 0) & (column < self._columns) & (row >= 0) & (row < self._rows)
        cell = (row[on_raster] * self._columns + column[on_raster]).astype(np.int64)
        found = raster[cell]
        zone[on_raster] = found
        mixed = np.flatnonzero(zone == MIXED)
        if mixed.size:
            points = pl.DataFrame({"cell": cell[found == MIXED], "point": np.arange(mixed.size)})
            trials = points.join(border, on="cell").partition_by("zone", as_dict=True)
            tried = {cast("int", zone): points["point"].to_numpy() for (zone,), points in trials.items()}
            zone[mixed] = self._first_of(x[mixed], y[mixed], tried)
        return self._named(zone)

    def _named(self, zone: np.ndarray[Any, Any]) -> pl.Series:
        return self._zone_ids.gather(pl.Series(zone, dtype=pl.Int64).replace(OUTSIDE, None)).alias("zone_id")

    def _first_of(
        self, x: np.ndarray[Any, Any], y: np.ndarray[Any, Any], trials: Mapping[int, np.ndarray[Any, Any]] | None = None
    ) -> np.ndarray[Any, Any]:
        """The first polygon that each point lies in; ``trials``: which points to try for each polygon, else all."""
        zone = np.full(x.size, OUTSIDE, dtype=np.int32)
        everything = np.flatnonzero(np.isfinite(x) & np.isfinite(y))
        for candidate in sorted(trials) if trials is not None else range(len(self.polygons)):
            tried = trials[candidate] if trials is not None else everything
            tried = tried[zone[tried] == OUTSIDE]
            zone[tried[shapely.intersects_xy(self.polygons[candidate], x[tried], y[tried])]] = candidate
        return zone


class H3Locator:
    """H3 cells of one resolution, restricted to a fixed list."""

    def __init__(self, zone_ids: Sequence[str], resolution: int) -> None:
        self._cells = pl.Series([h3.str_to_int(zone_id) for zone_id in zone_ids], dtype=pl.UInt64)
        self._resolution = resolution

    def locate(self, lon: pl.Series, lat: pl.Series) -> pl.Series:
        """The cell of each point; null where a coordinate is missing, not finite, or the cell is not of the list."""
        points = pl.DataFrame({"lon": lon.cast(pl.Float64), "lat": lat.cast(pl.Float64)})
        usable = pl.col("lon").is_between(-180, 180) & pl.col("lat").is_between(-90, 90)
        cell = polars_h3.latlng_to_cell("lat", "lon", self._resolution, return_dtype=pl.UInt64)
        return (
            points.with_columns(pl.when(usable).then(pl.col("lon", "lat")))
            .select(cell=cell)
            .select(zone_id=pl.when(pl.col("cell").is_in(self._cells.implode())).then("cell"))
            .select(polars_h3.int_to_str("zone_id"))
            .to_series()
            .alias("zone_id")
        )


def cell_polygons(points: pl.DataFrame, reach: float, margin_km: float) -> list[Any]:
    """One polygon per row of ``points`` (``lon``, ``lat``, ``area_km2``): the ground nearer to it
    than to any other, within the city.

    The city is the union of discs around the points, each of ``reach`` times the radius of a disc of ``area_km2``,
    plus ``margin_km``.
    """
    km_per_degree = 111.2
    lon, lat, area_km2 = (points[name].to_numpy() for name in ("lon", "lat", "area_km2"))
    squeeze = math.cos(math.radians(lat.mean()))  # a degree of longitude is that much shorter
    centres = shapely.points(lon * squeeze, lat)
    radii = (reach * np.sqrt(area_km2 / math.pi) + margin_km) / km_per_degree
    city = shapely.union_all(shapely.buffer(centres, radii))
    # ordered: one cell per centre, in the order of the centres
    diagram = shapely.voronoi_polygons(shapely.multipoints(centres), extend_to=city, ordered=True)
    cells = shapely.intersection(shapely.get_parts(diagram), city)
    return list(shapely.transform(cells, lambda xy: xy / np.array([squeeze, 1.0])))


def cells_expected(box: Box, resolution: int) -> float:
    """About how many H3 cells a box holds, without making them."""
    height = math.sin(math.radians(box.north)) - math.sin(math.radians(box.south))
    km2 = _EARTH_RADIUS_KM**2 * math.radians(box.east - box.west) * height
    return km2 / float(h3.average_hexagon_area(resolution, unit="km^2"))


def h3_cells(boxes: Sequence[Box], resolution: int) -> pl.DataFrame:
    """Every H3 cell whose centre lies in a box: ``zone_id``, ``box``, ``lon``, ``lat``; sorted by zone."""
    rows = []
    for box in boxes:
        rectangle = shapely.box(box.west, box.south, box.east, box.north)
        rows += [(cell, box.name) for cell in h3.geo_to_cells(rectangle, resolution)]
    cells = pl.DataFrame(rows, schema={"zone_id": pl.String, "box": pl.String}, orient="row")
    centres = [h3.cell_to_latlng(cell) for cell in cells["zone_id"]]
    return (
        cells.with_columns(
            lon=pl.Series([centre[1] for centre in centres], dtype=pl.Float64),
            lat=pl.Series([centre[0] for centre in centres], dtype=pl.Float64),
        )
        .unique("zone_id", keep="first", maintain_order=True)
        .sort("zone_id")
    )
