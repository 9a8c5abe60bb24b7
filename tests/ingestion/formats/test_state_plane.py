"""California State Plane coordinates, against PROJ and against the forward projection."""

from __future__ import annotations

from math import cos, log, pi, radians, sin, sqrt, tan

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingestion.formats.state_plane import to_lon_lat

FROM_PROJ = [  # easting and northing in US survey feet, longitude and latitude; EPSG:2229 to EPSG:4269, PROJ 9.5.1
    (6_561_666.667, 1_640_416.667, -118.0, 33.5),
    (6_470_753.189260, 1_865_664.265473, -118.30037, 34.11856),  # Griffith Observatory
    (6_488_151.232468, 1_842_013.396489, -118.2427, 34.0537),  # City Hall
    (6_410_949.936479, 1_825_775.512100, -118.4973, 34.0083),  # Santa Monica Pier
    (5_994_062.962670, 2_264_466.581576, -119.9, 35.2),
    (6_715_027.093517, 1_458_813.076976, -117.5, 33.0),
]


def test_points_of_proj() -> None:
    points = pl.DataFrame(FROM_PROJ, ["x", "y", "lon", "lat"], orient="row")
    lon, lat = to_lon_lat(points["x"], points["y"])
    assert lon.to_list() == pytest.approx(points["lon"].to_list(), abs=1e-10)
    assert lat.to_list() == pytest.approx(points["lat"].to_list(), abs=1e-10)


def forward(lon: float, lat: float) -> tuple[float, float]:
    """The direct projection (Snyder 15-1 to 15-4, 14-4), in feet: an independent way round."""
    flattening = 1 / 298.257222101
    e = sqrt(2 * flattening - flattening**2)

    def m(phi: float) -> float:
        return cos(phi) / sqrt(1 - e**2 * sin(phi) ** 2)

    def t(phi: float) -> float:
        return tan(pi / 4 - phi / 2) * ((1 + e * sin(phi)) / (1 - e * sin(phi))) ** (e / 2)

    south, north = radians(34 + 2 / 60), radians(35 + 28 / 60)
    n = log(m(south) / m(north)) / log(t(south) / t(north))
    scale = 6_378_137 * m(south) / (n * t(south) ** n)
    radius, theta = scale * t(radians(lat)) ** n, n * radians(lon + 118)
    x, y = radius * sin(theta), scale * t(radians(33.5)) ** n - radius * cos(theta)
    return x / (1200 / 3937) + 6_561_666.667, y / (1200 / 3937) + 1_640_416.667


@given(st.floats(-121.4, -114.1), st.floats(32.7, 35.8))
def test_there_and_back(lon: float, lat: float) -> None:
    x, y = forward(lon, lat)
    back_lon, back_lat = to_lon_lat(pl.Series([x]), pl.Series([y]))
    assert (back_lon.item(), back_lat.item()) == (pytest.approx(lon, abs=1e-9), pytest.approx(lat, abs=1e-9))


def test_what_is_missing_stays_missing() -> None:
    lon, lat = to_lon_lat(pl.Series([None, 6.5e6, float("nan")]), pl.Series([1.8e6, None, 1.8e6]))
    assert lon.is_null().to_list() == lat.is_null().to_list() == [True, True, False]
    assert lon[2] != lon[2]
