"""The marts that dbt builds from Iceberg tables are those that their documentation describes."""

from __future__ import annotations

import csv

import duckdb
import polars as pl
import pytest
import small_lake
from expected_marts import all_marts, grain
from polars.testing import assert_frame_equal
from small_lake import PROJECT, Lake

MARTS = (
    "fines_by_day",
    "fines_by_month",
    "fines_profile",
    "tows_by_day",
    "tows_by_month",
    "tows_profile",
    "tows_delay",
    "crowd_by_day",
    "crowd_by_month",
    "crowd_profile",
    "footfall_by_day",
    "footfall_by_month",
    "footfall_profile",
)


def seed(name: str) -> list[str]:
    with (PROJECT / "seeds" / f"{name}.csv").open() as lines:
        return [row[0] for row in list(csv.reader(lines))[1:]]


@pytest.mark.parametrize("name", MARTS)
def test_mart_equals_an_independent_computation(built: Lake, name: str) -> None:
    expected = all_marts(built, seed("natures"), seed("tow_reasons"))[name]
    frame = expected.frame().sort(grain(expected))
    found = small_lake.mart(built, name, grain(expected))
    assert found.columns == frame.columns
    # Densities and shares are published to 6 and 4 decimals; everything else is exact.
    assert_frame_equal(found, frame, check_exact=False, rel_tol=0, abs_tol=5.1e-5 if "crowd" in name else 1e-9)


@pytest.mark.parametrize("name", MARTS)
def test_data_shows_and_hides_cells_of_every_mart(built: Lake, name: str) -> None:
    """Otherwise the comparison above would compare nothing."""
    expected = all_marts(built, seed("natures"), seed("tow_reasons"))[name]
    shown = small_lake.mart(built, name, grain(expected))[expected.measure].is_not_null()
    assert 0 < shown.sum() < len(shown)


@pytest.mark.parametrize("name", MARTS)
def test_content_depends_neither_on_the_order_of_rows_nor_on_threads(built: Lake, rebuilt: Lake, name: str) -> None:
    order = grain(all_marts(built, [], [])[name])
    assert_frame_equal(small_lake.mart(built, name, order), small_lake.mart(rebuilt, name, order), check_exact=True)


def test_every_test_of_the_project_can_fail(rebuilt: Lake) -> None:
    """Marts are spoilt one way each, and dbt's own tests must say so."""
    with duckdb.connect(str(rebuilt.folder / "build.duckdb")) as connection:
        connection.execute("delete from marts.fines_by_day where period_start = '2026-10-01' and area_id = 'north'")
        connection.execute("update marts.fines_by_month set fines = 5, fines_label = null where nature = 'vitesse'")
        connection.execute("update marts.tows_by_day set area_id = 'mars' where area_id = 'south'")
        connection.execute("update marts.crowd_by_day set people = null, people_label = '<11' where place_id = 'quay'")
        connection.execute("update marts.footfall_by_day set mean_people_label = '<11' where mean_people is null")
        connection.execute("update intermediate.int_footfall_hours set hours_observed = 2 where day = '2026-10-24'")
        connection.execute("update intermediate.int_tows_counted set reason = 'mars' where reason = 'vehicule_epave'")
    done = small_lake.dbt(rebuilt, "test", "--exclude", "test_type:unit")
    results = pl.read_json(rebuilt.folder / "target" / "run_results.json")["results"].explode().struct.unnest()
    bad = results.filter(pl.col("status") != "pass").select("unique_id", "status")
    found = {(name.split(".")[2].partition("_by_")[0], status) for name, status in bad.iter_rows()}
    names = " ".join(bad["unique_id"])
    assert done.returncode == 1
    assert "complete_grid_fines_by_day" in names
    assert "hidden_below_fines_by_month" in names
    assert "relationships_tows_by_day_area_id" in names
    assert "complete_grid_tows_by_day" not in names
    assert "hidden_below_crowd_by_day" in names
    assert "hidden_below_footfall_by_day" in names
    assert "relationships_int_tows_counted_reason" in names
    assert ("one_hour_per_hour_int_footfall_hours_hours_observed", "warn") in found
    assert len(bad) == 7
