"""The utility report compares with exact figures; its sentence for readers is made of declared ones only."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date

import duckdb
import numpy as np
import pyarrow as pa
import pytest
from synthetic_marts import declared

from privacy.noise import GaussianNoise
from privacy.plan import plan
from publication.builds import utility
from publication.contracts import CONTRACTS

MARCH = date(2026, 3, 1)


@pytest.mark.parametrize("mart", plan().marts)
def test_the_margin_holds_nineteen_times_out_of_twenty_and_none_smaller_does(mart: str) -> None:
    share = plan().marts[mart]
    noise = GaussianNoise(bytes(32), share.bound / (2 * share.spends))
    drawn = np.abs(np.asarray(noise(pa.array([f"cell {number}" for number in range(40_000)]))))
    margin = utility.margin(plan(), mart)
    assert np.mean(drawn <= margin) >= 0.945
    assert np.mean(drawn <= 0.97 * margin - 1) < 0.955


def test_the_sentence_is_made_of_declared_figures() -> None:
    share = plan().marts["fines_by_day"]
    assert utility.sentence(plan(), "fines_by_day") == (
        f"Noise was added before publication: nineteen times out of twenty it changes a measured count by "
        f"{utility.margin(plan(), 'fines_by_day')} at most. Counts under {share.threshold} are not shown. Of the "
        f"rho of 0.1 that may be spent per vehicle-month, this table spends {float(share.spends)}."
    )


@pytest.fixture
def database() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        connection.execute("create schema intermediate; create schema marts")
        yield connection


def test_errors_hidden_mass_and_ranks(database: duckdb.DuckDBPyConnection) -> None:
    database.execute(
        """
        create table intermediate.int_fines_by_month_measured as
        select date '2026-03-01' as unit_start, date '2026-03-01' as period_start, zone_id, exact, measured
        from (values ('a', 200, 204), ('b', 100, 98), ('c', 40, 44), ('d', 10, 3)) as cells (zone_id, exact, measured);
        create table marts.fines_by_month as
        select date '2026-03-01' as period_start, zone_id, case when fines >= 30 then fines end as fines
        from (values ('a', 202), ('b', 98), ('c', 42), ('d', 4)) as cells (zone_id, fines);
        """
    )
    mart = declared(CONTRACTS["fines_by_month"])
    report = utility.reports(database, plan(), mart, CONTRACTS["fines_by_month"], {MARCH: 400})[MARCH]
    assert (report["cells"], report["cells_hidden"]) == (4, 1)
    assert report["mass_hidden"] == pytest.approx(10 / 350)
    assert report["true_11_to_49"] == {"cells": 1, "median_relative_error": pytest.approx(2 / 40)}
    assert report["true_50_and_over"] == {"cells": 2, "median_relative_error": pytest.approx((0.01 + 0.02) / 2)}
    assert report["mean_error"] == pytest.approx((2 - 2 + 2) / 3)
    assert report["standard_error"] == pytest.approx(np.std([2, -2, 2], ddof=1) / np.sqrt(3))
    assert report["rank_correlation"] == pytest.approx(1)
    assert report["share_not_counted"] == pytest.approx(50 / 400)
    assert report["warnings"] == []


def test_a_mean_error_that_chance_does_not_explain_is_a_warning(database: duckdb.DuckDBPyConnection) -> None:
    database.execute(
        """
        create table intermediate.int_fines_by_month_measured as
        select date '2026-03-01' as unit_start, date '2026-03-01' as period_start, zone_id, exact, exact as measured
        from (values ('a', 1000), ('b', 1000), ('c', 1000), ('d', 1000)) as cells (zone_id, exact);
        create table marts.fines_by_month as
        select date '2026-03-01' as period_start, zone_id, fines
        from (values ('a', 1001), ('b', 1002), ('c', 1001), ('d', 1002)) as cells (zone_id, fines);
        """
    )
    contract = CONTRACTS["fines_by_month"]
    report = utility.reports(database, plan(), declared(contract), contract, {MARCH: 4000})[MARCH]
    (warning,) = report["warnings"]
    assert warning.startswith("mean error is 1.5, beyond ")


def test_a_mean_is_judged_by_the_count_it_is_made_of(database: duckdb.DuckDBPyConnection) -> None:
    """10 hours: 1,100 measured are shown as 110, and 1,000 exact would have been 100."""
    database.execute(
        """
        create table intermediate.int_footfall_by_day_measured as
        select date '2026-03-01' as unit_start, date '2026-03-01' as period_start, '13201' as area_id,
            'visitor' as category, 1000 as exact, 1100 as measured;
        create table marts.footfall_by_day as
        select date '2026-03-01' as period_start, '13201' as area_id, 'visitor' as category, 110.0 as mean_people;
        """
    )
    contract = CONTRACTS["footfall_by_day"]
    report = utility.reports(database, plan(), declared(contract), contract, {MARCH: 24})[MARCH]
    assert report["true_50_and_over"] == {"cells": 1, "median_relative_error": pytest.approx(0.1)}
    assert report["mean_error"] == pytest.approx(10)
    assert "share_not_counted" not in report


def test_a_mart_with_other_columns_has_no_report(database: duckdb.DuckDBPyConnection) -> None:
    database.execute(
        """
        create table intermediate.int_fines_by_month_measured as
        select date '2026-03-01' as unit_start, date '2026-03-01' as period_start, 'a' as zone_id, 1 exact, 1 measured;
        create table marts.fines_by_month as select date '2026-03-01' as period_start, 'a' as zone_id, 1 as counted;
        """
    )
    contract = CONTRACTS["fines_by_month"]
    assert utility.reports(database, plan(), declared(contract), contract, {MARCH: 1}) == {}
