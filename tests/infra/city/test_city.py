"""City profiles: every zone finds its own points, whatever the way it is cut; a wrong profile is told precisely."""

from __future__ import annotations

import json
import math
import os
import re
from pathlib import Path

import h3
import numpy as np
import polars as pl
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from infra import documents
from infra.city.profile import MOST_ZONES, UNKNOWN, ZONES, City, load_city
from infra.city.profiles import PROFILES, ProfileError, time_zone
from infra.city.zoning import FEW_POINTS, PolygonLocator
from infra.settings import Settings
from stewardship.alerts import people
from stewardship.alerts.people import PeopleError

SHARED = Path(os.environ.get("CALANQUE_SHARED_DATA", Path(__file__).parents[4] / "shared/data"))
EXPORTS = ("marseille_quartiers_111.geojson", "quartiers-marseille.geojson")
MARSEILLE = load_city(Settings(city="marseille", geo=None))
ELSEWHERE = load_city(Settings(city="elsewhere", geo=None))


def at(city: City, *points: tuple[float | None, float | None]) -> list[str | None]:
    lon, lat = zip(*points, strict=True)
    return city.locate(pl.Series(lon, dtype=pl.Float64), pl.Series(lat, dtype=pl.Float64)).to_list()


def polygons_of(export: str) -> City:
    file = SHARED / "10_geo/marseille" / export
    if not file.exists():
        pytest.skip(f"real polygons not here: {file} (set CALANQUE_SHARED_DATA)")
    return load_city(Settings(city="marseille", geo=file))


def test_marseille_is_complete() -> None:
    zones = MARSEILLE.zones
    assert zones.columns == list(ZONES)
    known = zones.filter(pl.col("zone_id") != UNKNOWN)
    assert (known.height, known["area_id"].n_unique(), known["zone_id"].n_unique()) == (111, 16, 111)
    assert zones.filter(pl.col("zone_id") == UNKNOWN).height == 1
    assert zones.null_count().sum_horizontal().item() == 0
    assert known.select((pl.col("zone_id").str.head(5) == pl.col("area_id")).all()).item()


def test_merged_zones_are_published_under_a_neighbour_of_the_same_area() -> None:
    zones = MARSEILLE.zones
    merged = zones.filter(pl.col("zone_id") != pl.col("published_zone_id"))
    assert merged.height > 0
    target = merged.join(zones, left_on="published_zone_id", right_on="zone_id", suffix="_of_target")
    assert target.select((pl.col("area_id") == pl.col("area_id_of_target")).all()).item()
    assert target.select((pl.col("published_zone_id_of_target") == pl.col("published_zone_id")).all()).item()
    for row in merged.iter_rows(named=True):
        assert row["zone_name"] in row["published_zone_name"]
    assert zones.group_by("published_zone_id").agg(pl.col("published_zone_name").n_unique())[
        "published_zone_name"
    ].to_list() == [1] * (zones.height - merged.height)


@pytest.mark.parametrize("city", [MARSEILLE, ELSEWHERE], ids=lambda city: city.name)
def test_every_zone_contains_its_own_point(city: City) -> None:
    points = city.points
    assert city.locate(points["lon"], points["lat"]).to_list() == points["zone_id"].to_list()
    assert set(city.places["zone_id"]) <= set(points["zone_id"])


@pytest.mark.parametrize("export", EXPORTS)
def test_real_polygons_contain_the_points_of_their_zones(export: str) -> None:
    city = polygons_of(export)
    assert city.locate(city.points["lon"], city.points["lat"]).to_list() == city.points["zone_id"].to_list()
    assert city.zones.equals(MARSEILLE.zones)


def test_real_polygons_answer_like_a_test_of_every_polygon() -> None:
    city = polygons_of(EXPORTS[0])
    draw = np.random.default_rng(5)
    west, south, east, north = 5.2, 43.15, 5.56, 43.41
    lon, lat = draw.uniform(west, east, 20_000), draw.uniform(south, north, 20_000)
    assert isinstance(city._locator, PolygonLocator)
    polygons = city._locator.polygons
    point, polygon = shapely.STRtree(polygons).query(shapely.points(lon, lat), predicate="intersects")
    expected: dict[int, int] = {}
    for i, zone in zip(point.tolist(), polygon.tolist(), strict=True):
        expected[i] = min(zone, expected.get(i, 999))
    zone_ids = city.points["zone_id"].to_list()
    found = city.locate(pl.Series(lon), pl.Series(lat)).to_list()
    assert found == [zone_ids[expected[i]] if i in expected else None for i in range(lon.size)]
    assert 5_000 < len(expected) < 15_000


@pytest.mark.parametrize("city", [MARSEILLE, ELSEWHERE], ids=lambda city: city.name)
def test_outside_missing_and_absurd_points_have_no_zone(city: City) -> None:
    points = [
        (0.0, 0.0), (2.35, 48.86), (5.37, 42.9), (None, 43.3), (5.37, None), (math.nan, 43.3),
        (math.inf, -math.inf), (99999.0, 99999.0), (6_512_541.0, 1_715_644.0), (43.3, 5.37), (-1e300, 1e300),
    ]  # fmt: skip
    assert at(city, *points) == [None] * len(points)
    assert at(city, (None, None)) == [None]
    assert city.locate(pl.Series([], dtype=pl.Float64), pl.Series([], dtype=pl.Float64)).len() == 0


def test_demo_cells_are_the_nearest_point_within_reach() -> None:
    points = MARSEILLE.points
    draw = np.random.default_rng(3)
    lon, lat = draw.uniform(5.2, 5.6, 5_000), draw.uniform(43.15, 43.45, 5_000)
    squeeze = math.cos(math.radians(float(np.mean(points["lat"].to_numpy()))))
    away = np.hypot(
        (lon[:, None] - points["lon"].to_numpy()) * squeeze * 111.2, (lat[:, None] - points["lat"].to_numpy()) * 111.2
    )
    nearest = points["zone_id"].gather(away.argmin(axis=1)).to_list()
    found = MARSEILLE.locate(pl.Series(lon), pl.Series(lat)).to_list()
    assert [near for near, zone in zip(nearest, found, strict=True) if zone] == [zone for zone in found if zone]
    assert all(zone is None for zone, far in zip(found, away.min(axis=1) > 5, strict=True) if far)


def squares() -> PolygonLocator:
    """Two squares that share the border x = 0; a hole in the second."""
    return PolygonLocator(
        ["first", "second"],
        [shapely.box(-2, -2, 0, 2), shapely.box(0, -2, 2, 2).difference(shapely.box(0.5, 0.5, 1.5, 1.5))],
    )


OF_FEW, OF_MANY = squares(), squares()
MANY = pl.Series([0.0] * (FEW_POINTS + 1))
OF_MANY.locate(MANY, MANY)  # from here on it has its raster


@given(
    st.lists(st.tuples(st.floats(-5, 5, allow_nan=False), st.floats(-5, 5, allow_nan=False)), min_size=1, max_size=50)
)
def test_polygons_hold_exactly_their_points(points: list[tuple[float, float]]) -> None:
    """Borders included; of two, the first wins."""
    lon, lat = zip(*points, strict=True)
    expected = [
        "first"
        if -2 <= x <= 0 and -2 <= y <= 2
        else "second"
        if 0 < x <= 2 and -2 <= y <= 2 and not (0.5 < x < 1.5 and 0.5 < y < 1.5)
        else None
        for x, y in points
    ]
    assert OF_FEW.locate(pl.Series(lon), pl.Series(lat)).to_list() == expected
    assert OF_MANY.locate(pl.Series(lon), pl.Series(lat)).to_list() == expected


def test_elsewhere_is_a_fixed_public_grid() -> None:
    known = ELSEWHERE.zones.filter(pl.col("zone_id") != UNKNOWN)
    assert known["zone_id"].n_unique() == known.height
    assert all(h3.cell_to_parent(zone, 5) == area for zone, area in known.select("zone_id", "area_id").iter_rows())
    assert at(ELSEWHERE, (-118.2437, 34.0522), (144.9651, -37.8179)) == [
        h3.latlng_to_cell(34.0522, -118.2437, 7),
        h3.latlng_to_cell(-37.8179, 144.9651, 7),
    ]
    assert {ELSEWHERE.zone_codes[code] for code in ("01001", "01002", "01009_AM")} < set(known["zone_id"])


def test_zone_codes() -> None:
    assert MARSEILLE.zone_codes["1320101"] == "1320101"
    assert UNKNOWN not in MARSEILLE.zone_codes


@pytest.mark.parametrize(
    ("plate", "is_plate"),
    [("AA-123-AA", True), ("AB123CD", True), ("IO-123-AA", False), ("1234 AB 13", True), ("12 ABC 2A", True),
     ("12 ABC 99", False), ("1320101", False), ("", False)],
)  # fmt: skip
def test_french_plates(plate: str, is_plate: bool) -> None:
    assert any(re.fullmatch(pattern, plate) for pattern in MARSEILLE.plates) is is_plate


ZONES_CSV = """zone_id,zone_name,aliases,area_id,area_name,lon,lat,area_km2
1,Rive,,10,North,0.0,0.0,1
2,Côte d'Or,COTE;Cote dor,10,North,0.1,0.0,1
3,Far,,20,South,0.0,0.2,1
"""
PROFILE = """
name = "toy"
title = "Toy"
time_zone = "Europe/Paris"
footfall_measure = "presence"
[zoning]
kind = "cells"
table = "zones.csv"
reach = 3
margin_km = 1
[zoning.geojson]
zone_property = "nom"
area_property = "aire"
[[place]]
place_id = "p"
place_name = "P"
lon = 0.0
lat = 0.0
"""


def toy(folder: Path, profile: str = PROFILE, zones: str = ZONES_CSV, geo: Path | None = None) -> City:
    (folder / "toy.toml").write_text(profile)
    (folder / "zones.csv").write_text(zones)
    return load_city(Settings(city=str(folder / "toy.toml"), geo=geo))


def geojson(folder: Path, *features: tuple[str, str, float], prefix: str = "") -> Path:
    file = folder / "zones.geojson"
    body = [
        {
            "type": "Feature",
            "properties": {f"{prefix}NOM": name, "Aire": area},
            "geometry": json.loads(shapely.to_geojson(shapely.box(x, 0, x + 0.1, 0.1))),
        }
        for area, name, x in features
    ]
    file.write_text(json.dumps({"type": "FeatureCollection", "features": body}))
    return file


def test_polygons_match_by_name_alias_or_code(tmp_path: Path) -> None:
    file = geojson(tmp_path, ("10", "RIVE", 0.0), ("10", "cote", 0.1), ("10", "COTE-D’OR", 0.2), ("20", "3", 0.3))
    city = toy(tmp_path, PROFILE.split("[[place]]", maxsplit=1)[0], geo=file)
    assert at(city, (0.05, 0.05), (0.15, 0.05), (0.25, 0.05), (0.35, 0.05), (0.45, 0.05)) == ["1", "2", "2", "3", None]


def test_polygons_can_be_the_profile_s_own(tmp_path: Path) -> None:
    geojson(tmp_path, ("10", "Rive", 0.0), ("10", "cote", 0.1), ("20", "Far", 0.3))
    own = PROFILE.replace('kind = "cells"', 'kind = "polygons"\nfile = "zones.geojson"')
    own = own.replace("reach = 3\nmargin_km = 1\n", "").replace("lat = 0.0", "lat = 0.05")
    assert at(toy(tmp_path, own), (0.15, 0.05)) == ["2"]


def test_unmatched_polygons_are_an_error(tmp_path: Path) -> None:
    file = geojson(tmp_path, ("10", "Rive", 0.0), ("20", "Cote", 0.1), ("20", "Far", 0.2))
    with pytest.raises(ProfileError, match=r"zones\.geojson: 1 features match no zone.*20 Cote.*1 zones.*Côte d'Or"):
        toy(tmp_path, geo=file)


def test_h3_takes_no_polygons(tmp_path: Path) -> None:
    with pytest.raises(ProfileError, match="unset CALANQUE_GEO"):
        load_city(Settings(city="elsewhere", geo=tmp_path / "any.geojson"))


@pytest.mark.parametrize(
    "content", [b"", b"\x00\xff", b"[]", b'{"features": [1]}', b'{"features": [{"properties": {}}]}']
)
def test_a_file_that_is_no_geojson_is_told(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "bad.geojson"
    file.write_bytes(content)
    with pytest.raises(ProfileError, match=r"bad\.geojson"):
        toy(tmp_path, geo=file)
    with pytest.raises(ProfileError, match=r"gone\.geojson: cannot be read"):
        toy(tmp_path, geo=tmp_path / "gone.geojson")


def feature(coordinates: str) -> str:
    geometry = f'{{"type": "Polygon", "coordinates": {coordinates}}}'
    return f'{{"type": "Feature", "properties": {{"zone": "Rive", "area": "10"}}, "geometry": {geometry}}}'


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("[" * 65_000, "nested too deep"),
        ('{"features": [' + feature("[" * 65_000 + "]" * 65_000) + "]}", "nested too deep"),
        ('{"features": [' + feature("[" * 400 + "0" + "]" * 400) + "]}", "not a GeoJSON feature collection"),
        (" " * documents.LARGEST_JSON + "{}", "larger than"),
        ('{"features": [' + ",".join([feature("[]")] * (MOST_ZONES + 1)) + "]}", "100,001 features"),
        ('{"features": [' + feature("[]") + "]}", "feature 1 is a polygon without an area"),
        ('{"features": [' + feature("[[[0, 0], [1, 1], [2, 2], [0, 0]]]") + "]}", "feature 1 is a polygon without an"),
        ('{"features": [' + feature("[[[6e6, 0], [7e6, 0], [7e6, 1], [6e6, 0]]]") + "]}", "feature 1 is not in deg"),
        ('{"features": [' + feature("[[[NaN, 0], [1, 0], [1, 1], [NaN, 0]]]") + "]}", "not a GeoJSON|without an area"),
    ],
    ids=["brackets", "deep", "less deep", "large", "many", "empty", "flat", "metres", "nan"],
)  # fmt: skip
def test_a_geojson_that_would_stop_its_reader_is_told(tmp_path: Path, content: str, told: str) -> None:
    file = tmp_path / "odd.geojson"
    file.write_text(content)
    with pytest.raises(ProfileError, match=rf"odd\.geojson: .*({told})") as caught:
        toy(tmp_path, geo=file)
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("a = " + "[" * 65_000, "nested too deep"),
        ("a = " + "{a = " * 65_000, "nested too deep"),
        ("#" * (documents.LARGEST_TOML + 1), "larger than 1,048,576 bytes"),
        ("a = '\0'", "not a TOML file"),
        (f"a = {'1' * 5_000}", "not a TOML file"),
    ],
    ids=["brackets", "braces", "large", "nul", "digits"],
)
def test_a_toml_that_would_stop_its_reader_is_told(tmp_path: Path, content: str, told: str) -> None:
    file = tmp_path / "odd.toml"
    file.write_text(content)
    for read in (load_city, time_zone):
        with pytest.raises(ProfileError, match=rf"odd\.toml: .*{told}"):
            read(Settings(city=str(file), geo=None))
    with pytest.raises(PeopleError, match=f"CALANQUE_ALERT_OWNERS .*{told}"):
        people.read(Settings(alert_owners=file))


def test_cells_are_counted_before_they_are_made(tmp_path: Path) -> None:
    profile = (PROFILES / "elsewhere.toml").read_text()
    file = tmp_path / "fine.toml"
    file.write_text(re.sub(r"(?m)^resolution = .*", "resolution = 15", profile))
    with pytest.raises(ProfileError, match=r"key zoning\.resolution: its boxes hold about .* name a coarser"):
        load_city(Settings(city=str(file), geo=None))


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('time_zone = "Europe/Paris"', 'time_zone = "Europe/Marseille"', "key time_zone: .*Europe/Marseille"),
        ('title = "Toy"', "", "key title: Field required"),
        ('title = "Toy"', 'title = "Toy"\nplates = ["("]', "key plates: .*regular expression"),
        ("reach = 3", "reach = -3", r"key zoning\.cells\.reach: "),
        ("reach = 3", "reech = 3", r"key zoning\.cells\.reech: "),
        ('kind = "cells"', 'kind = "circles"', "key zoning: "),
        ('table = "zones.csv"', 'table = "none.csv"', r"none\.csv: cannot be read"),
        ("lat = 0.0", "lat = 7.0", r"key place\.0: 'p' lies outside"),
        ("[[place]]", '[zone_codes]\nX = "9"\n[[place]]', r"key zone_codes\.X: means no zone"),
        ("[[place]]", '[[merge]]\nzone_id = "9"\ninto = "1"\nreason = "r"\n[[place]]', r"merge\.0\.zone_id: no zone"),
        ("[[place]]", '[[merge]]\nzone_id = "1"\ninto = "3"\nreason = "r"\n[[place]]', r"merge\.0: .*its own area"),
        ("name", "= name", "not a TOML file"),
    ],
)  # fmt: skip
def test_a_wrong_profile_is_told_by_file_and_key(tmp_path: Path, old: str, new: str, told: str) -> None:
    assert PROFILE.count(old) >= 1
    with pytest.raises(ProfileError, match=told):
        toy(tmp_path, PROFILE.replace(old, new, 1))


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("zone_name", "name", "lacks the columns zone_name"),
        ("1,Rive", "2,Rive", "zone_id '2' is used twice"),
        ("1,Rive", "unknown,Rive", "zone_id 'unknown' is .*reserved"),
        ("0.1,0.0,1", "east,0.0,1", "row 3: column lon"),
    ],
)
def test_a_wrong_table_of_zones_is_told_by_row_and_column(tmp_path: Path, old: str, new: str, told: str) -> None:
    with pytest.raises(ProfileError, match=rf"zones\.csv: .*{told}"):
        toy(tmp_path, zones=ZONES_CSV.replace(old, new, 1))


def test_an_unknown_profile_lists_the_known_ones() -> None:
    with pytest.raises(ProfileError, match="elsewhere, marseille"):
        load_city(Settings(city="atlantis", geo=None))
    assert all(load_city(Settings(city=file.stem, geo=None)).name == file.stem for file in PROFILES.glob("*.toml"))


def test_the_time_zone_alone_is_that_of_the_profile(tmp_path: Path) -> None:
    for file in PROFILES.glob("*.toml"):
        assert time_zone(Settings(city=file.stem)) == load_city(Settings(city=file.stem, geo=None)).time_zone
    for wrong in ("", 'time_zone = "Europe/Nowhere"', "time_zone = 1", "time_zone = "):
        (tmp_path / "wrong.toml").write_text(wrong)
        with pytest.raises(ProfileError, match=r"wrong\.toml"):
            time_zone(Settings(city=str(tmp_path / "wrong.toml")))
