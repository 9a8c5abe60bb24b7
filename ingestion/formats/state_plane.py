"""US State Plane coordinates, California zone 5 (NAD83, US survey feet; EPSG:2229), to longitude and latitude.

The inverse of the Lambert conformal conic projection with two standard parallels on the GRS 1980 ellipsoid (Snyder,
Map Projections: A Working Manual, USGS Professional Paper 1395, equations 15-1 to 15-11 and 7-9). NAD83 is taken for
WGS84: they differ by less than two metres in California.
"""

from __future__ import annotations

from math import cos, log, pi, radians, sin, sqrt, tan

import numpy as np
import polars as pl

_US_SURVEY_FOOT = 1200 / 3937  # metres
_SEMI_MAJOR_AXIS = 6_378_137.0
_FLATTENING = 1 / 298.257222101
_ECCENTRICITY = sqrt(_FLATTENING * (2 - _FLATTENING))
_ORIGIN_LATITUDE = radians(33.5)
_ORIGIN_LONGITUDE = radians(-118)
_PARALLELS = (radians(34 + 2 / 60), radians(35 + 28 / 60))
_FALSE_EASTING = 6_561_666.667 * _US_SURVEY_FOOT
_FALSE_NORTHING = 1_640_416.667 * _US_SURVEY_FOOT
_ITERATIONS = 6  # each gains more than two digits; six leave less than a nanometre


def _m(latitude: float) -> float:
    return cos(latitude) / sqrt(1 - (_ECCENTRICITY * sin(latitude)) ** 2)


def _t(latitude: float) -> float:
    distorted = _ECCENTRICITY * sin(latitude)
    stretched: float = ((1 - distorted) / (1 + distorted)) ** (_ECCENTRICITY / 2)
    return tan(pi / 4 - latitude / 2) / stretched


_CONE = (log(_m(_PARALLELS[0])) - log(_m(_PARALLELS[1]))) / (log(_t(_PARALLELS[0])) - log(_t(_PARALLELS[1])))
_SCALE = _SEMI_MAJOR_AXIS * _m(_PARALLELS[0]) / (_CONE * _t(_PARALLELS[0]) ** _CONE)
_ORIGIN_RADIUS = _SCALE * _t(_ORIGIN_LATITUDE) ** _CONE


def to_lon_lat(easting: pl.Series, northing: pl.Series) -> tuple[pl.Series, pl.Series]:
    """Longitude and latitude in degrees of coordinates in US survey feet; null and NaN come out as they came in."""
    missing = easting.is_null() | northing.is_null()
    x = easting.cast(pl.Float64).fill_null(0.0).to_numpy() * _US_SURVEY_FOOT - _FALSE_EASTING
    y = _ORIGIN_RADIUS - (northing.cast(pl.Float64).fill_null(0.0).to_numpy() * _US_SURVEY_FOOT - _FALSE_NORTHING)
    longitude = np.arctan2(x, y) / _CONE + _ORIGIN_LONGITUDE
    t = (np.hypot(x, y) / _SCALE) ** (1 / _CONE)
    latitude = pi / 2 - 2 * np.arctan(t)
    for _ in range(_ITERATIONS):
        distorted = _ECCENTRICITY * np.sin(latitude)
        latitude = pi / 2 - 2 * np.arctan(t * ((1 - distorted) / (1 + distorted)) ** (_ECCENTRICITY / 2))
    found = pl.DataFrame({"lon": np.degrees(longitude), "lat": np.degrees(latitude), "missing": missing}).select(
        pl.when(~pl.col("missing")).then(pl.col("lon", "lat"))
    )
    return found["lon"], found["lat"]
