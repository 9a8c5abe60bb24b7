"""The marts that dbt builds from Iceberg tables are those that their documentation describes: counted over the public
grid, with the noise of the plan, made consistent, and hidden under the threshold.
"""

from __future__ import annotations

import csv
from datetime import date
from fractions import Fraction

import duckdb
import numpy as np
import polars as pl
import pytest
import small_lake
from expected_marts import all_counts, hours_of
from polars.testing import assert_frame_equal
from small_lake import COVERED, PROJECT, Lake

from infra.keys.store import KeyStore
from privacy.noise import GaussianNoise, derive
from publication.builds.dbt_plugin import NOISE_KEYS
from publication.contracts import CONTRACTS

MARTS = tuple(sorted(CONTRACTS))
PLAN = small_lake.privacy()["marts"]
CELL = {mart: CONTRACTS[mart].grain for mart in MARTS} | {"crowd_by_day": ("period_start", "place_id", "hour")}
"""The columns that identify a cell of what was measured, in the order in which they name it."""


def seed(name: str) -> list[str]:
    return seed_column(name, 0)


def seed_column(name: str, column: int) -> list[str]:
    with (PROJECT / "seeds" / f"{name}.csv").open() as lines:
        return [row[column] for row in list(csv.reader(lines))[1:]]


def measured(lake: Lake, mart: str) -> pl.DataFrame:
    return small_lake.read(lake, f"from intermediate.int_{mart}_measured").sort(CELL[mart])


@pytest.mark.parametrize("name", MARTS)
def test_counts_equal_an_independent_computation(built: Lake, name: str) -> None:
    expected = all_counts(built)[name]
    assert sorted(expected.grain) == sorted(CELL[name])
    frame = expected.frame().sort(CELL[name])
    found = measured(built, name).drop("unit_start", "unit_end", "edition", "measured")
    assert_frame_equal(found, frame.select(found.columns), check_exact=True)
    assert (frame["exact"] > 0).any()


@pytest.mark.parametrize("name", MARTS)
def test_noise_is_that_of_the_key_the_unit_and_the_cell(built: Lake, name: str) -> None:
    cells = measured(built, name)
    plan, keys = PLAN[name], KeyStore(built.keys)
    spends, bound = Fraction(plan["spends"]), plan["bound"]
    for (unit,), rows in cells.partition_by("unit_start", as_dict=True).items():
        master = keys.get_or_create(NOISE_KEYS, f"{unit:%Y-%m}")
        key = derive(master, "cell", name, "1", unit.isoformat())
        names = rows.select(pl.concat_str([pl.col(column).cast(pl.String) for column in CELL[name]], separator="|"))
        identities = names.to_series().to_arrow()
        drawn = GaussianNoise(key, bound / (2 * spends))(identities)
        assert ((rows["measured"] - rows["exact"]).to_numpy() == drawn).all()


def test_noise_is_not_nothing(built: Lake) -> None:
    """Of all marts together: the few cells of a small one may well all draw zero."""
    noisy = [(measured(built, name)["measured"] != measured(built, name)["exact"]).sum() for name in MARTS]
    assert sum(noisy) > 0


TOTALS = {
    **dict.fromkeys(
        ("fines_by_day", "fines_by_month", "fines_by_nature"), ("int_fines_totals", ["unit_start", "area_id"])
    ),
    **dict.fromkeys(
        ("tows_by_area", "tows_by_reason", "tows_delay", "tows_profile"), ("int_tows_totals", ["unit_start"])
    ),
    **dict.fromkeys(("tows_by_month", "tows_by_month_and_reason"), ("int_tows_month_totals", ["unit_start"])),
    "fines_profile": ("int_fines_quarter_totals", ["unit_start", "area_id"]),
}


@pytest.mark.parametrize("name", TOTALS)
def test_leaves_are_the_nearest_integers_that_sum_to_their_total(built: Lake, name: str) -> None:
    model, parent = TOTALS[name]
    cells = measured(built, name)
    totals = small_lake.read(built, f"from intermediate.{model}")
    measure = CONTRACTS[name].measure.column
    shown = small_lake.mart(built, name, list(CONTRACTS[name].grain))
    joined = cells.join(shown.select(*CONTRACTS[name].grain, measure), on=CONTRACTS[name].grain)
    compared = 0
    for keys, leaves in joined.partition_by(parent, as_dict=True).items():
        total = int(totals.filter(**dict(zip(parent, keys, strict=True)))["total"].item())  # DuckDB sums to any width
        nearest = projection(leaves["measured"].to_numpy(), total)
        assert abs(nearest.sum() - total) < 1e-6
        found = leaves[measure].to_numpy().astype(float)
        visible = ~np.isnan(found)
        # Integers beside the real optimum: less than one away, and hidden where that is under the threshold.
        assert (np.abs(found[visible] - nearest[visible]) < 1).all()
        assert (nearest[~visible] < PLAN[name]["threshold"] + 1).all()
        compared += visible.sum()
    assert compared


def projection(leaves: np.ndarray, total: int) -> np.ndarray:
    """The non-negative reals nearest to ``leaves`` that sum to ``total``, by bisection on what is taken from each."""
    low, high = leaves.min() - total - 1.0, leaves.max() + 1.0
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if np.maximum(leaves - middle, 0).sum() > total else (low, middle)
    return np.maximum(leaves - high, 0)


@pytest.mark.parametrize("name", TOTALS)
def test_marts_of_one_release_unit_agree(built: Lake, name: str) -> None:
    """The common total lies between the sum of what is shown and that with all that hidden cells may hold."""
    model, parent = TOTALS[name]
    measure = CONTRACTS[name].measure.column
    shown = small_lake.mart(built, name, list(CONTRACTS[name].grain)).select(*CONTRACTS[name].grain, measure)
    sums = (
        measured(built, name)
        .join(shown, on=CONTRACTS[name].grain)
        .group_by(parent)
        .agg(least=pl.col(measure).sum(), hidden=pl.col(measure).null_count())
        .join(small_lake.read(built, f"from intermediate.{model}"), on=parent)
    )
    most = pl.col("least") + pl.col("hidden") * (PLAN[name]["threshold"] - 1)
    assert sums.select((pl.col("least") <= pl.col("total")).all() & (pl.col("total") <= most).all()).item()
    assert (sums["least"] > 0).any()


MEANS = {
    "footfall_by_day": ["period_start"],
    "footfall_by_month": ["period_start", "time_band"],
    "footfall_profile": ["period_start", "iso_weekday", "hour"],
    "crowd_profile": ["period_start", "iso_weekday", "hour"],
}


@pytest.mark.parametrize("name", MEANS)
def test_means_divide_by_covered_hours_where_at_least_half_are(built: Lake, name: str) -> None:
    """Whatever was delivered: the hours are those of the city's clock."""
    whole = hours_of(date(2026, 7, 1), date(2026, 12, 31)).with_columns(
        period_start=pl.col("event_date").dt.truncate(all_counts(built)[name].every),
        covered=pl.col("event_date").is_in(COVERED),
    )
    hours = whole.group_by(MEANS[name]).agg(hours=pl.col("covered").sum(), all=pl.len())
    cells = measured(built, name).join(hours, on=MEANS[name], how="left")
    grain = list(CONTRACTS[name].grain)
    mean = pl.col("measured") / pl.col("hours")
    is_shown = (pl.col("measured") >= PLAN[name]["threshold"]) & (2 * pl.col("hours") >= pl.col("all"))
    rounded = mean.round(1, mode="half_away_from_zero")
    expected = cells.select(*grain, mean_people=pl.when(is_shown).then(rounded)).sort(grain)
    found = small_lake.mart(built, name, grain)
    assert_frame_equal(found.select(expected.columns), expected, check_exact=False, abs_tol=1e-9, rel_tol=0)
    assert found["mean_people"].is_not_null().any()


@pytest.mark.parametrize("name", MARTS)
def test_data_shows_and_hides_cells_of_every_mart(built: Lake, name: str) -> None:
    """Otherwise the comparisons above would compare nothing."""
    shown = small_lake.mart(built, name, list(CONTRACTS[name].grain))[CONTRACTS[name].measure.column].is_not_null()
    assert shown.sum() > 0
    # Of marts with a few cells a quarter, none is small here.
    assert shown.sum() < len(shown) or len(shown) < 25


@pytest.mark.parametrize("name", MARTS)
def test_content_depends_neither_on_the_order_of_rows_nor_on_threads(built: Lake, rebuilt: Lake, name: str) -> None:
    order = list(CONTRACTS[name].grain)
    assert_frame_equal(small_lake.mart(built, name, order), small_lake.mart(rebuilt, name, order), check_exact=True)


def test_every_test_of_the_project_can_fail(rebuilt: Lake) -> None:
    """Marts are spoilt one way each, and dbt's own tests must say so."""
    with duckdb.connect(str(rebuilt.folder / "build.duckdb")) as connection:
        connection.execute("delete from marts.fines_by_day where period_start = '2026-10-01' and area_id = 'north'")
        connection.execute("update marts.fines_by_month set fines = 5, fines_label = null where zone_id = 'port'")
        connection.execute("update marts.tows_by_area set area_id = 'mars' where area_id = 'south'")
        connection.execute("update marts.crowd_by_day set people = null, people_label = '<11' where place_id = 'quay'")
        connection.execute("update marts.footfall_by_day set mean_people_label = 'few' where mean_people is null")
        connection.execute("update intermediate.int_tows_counted set reason = 'mars' where reason = 'vehicule_epave'")
    done = small_lake.dbt(rebuilt, "test", "--exclude", "test_type:unit")
    results = pl.read_json(rebuilt.folder / "target" / "run_results.json")["results"].explode().struct.unnest()
    bad = results.filter(pl.col("status") != "pass").select("unique_id", "status")
    names = " ".join(bad["unique_id"])
    assert done.returncode == 1
    assert "complete_grid_fines_by_day" in names
    assert "hidden_below_fines_by_month" in names
    assert "relationships_tows_by_area_area_id" in names
    assert "complete_grid_tows_by_area" not in names
    assert "hidden_below_crowd_by_day" in names
    assert "hidden_below_footfall_by_day" in names
    assert "relationships_int_tows_counted_reason" in names
    assert len(bad) == 6
