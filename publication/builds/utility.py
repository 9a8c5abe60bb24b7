"""How good published figures are: the utility report that stands beside each release.

It compares with exact counts, so it is for the steward and the data protection officer only: in bucket ``receipts``,
never in BI, Parquet or docs. The one sentence in it that is meant for readers is made from declared figures alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import date
from typing import Any

import duckdb
import polars as pl

from infra.build_spec import Unit
from privacy.plan import CURRENCY, Plan
from publication.builds import fingerprints
from publication.builds.candidates import Mart
from publication.contracts import Contract

MASS_HIDDEN = 0.10
SMALL_ERROR = 0.06
LARGE_ERROR = 0.02
MEAN_ERROR = 0.5
"""The utility floor: a figure of the report beyond one of these is a warning in it. The mean of noise is nothing, the
mean of a few draws is not: it is beyond its floor only when chance (1.96 standard errors) does not explain it."""

SMALLEST, LARGE = 11, 50
PLACES = ("zone_id", "area_id", "place_id")


def key(unit: Unit) -> str:
    """Where the report of an edition of a unit is, in bucket ``receipts``."""
    return f"releases/{unit.mart}/utility-{unit.first_day}-e{unit.edition}.json"


def sentence(plan: Plan, mart: str) -> str:
    """What a reader needs to know of a mart's figures, from what the privacy plan declares."""
    share = plan.marts[mart]
    budget = plan.budgets[share.budget]
    return (
        f"Noise was added before publication: nineteen times out of twenty it changes a measured count by "
        f"{margin(plan, mart)} at most. Counts under {share.threshold} are not shown. Of the {CURRENCY} of "
        f"{float(budget.limit):g} that may be spent per {budget.unit}, this table spends {float(share.spends):g}."
    )


def margin(plan: Plan, mart: str) -> int:
    """The smallest m such that the noise of one measured count is within m, either way, 95 % of the time."""
    return math.ceil(1.96 * math.sqrt(plan.marts[mart].variance) - 0.5)


def reports(
    connection: duckdb.DuckDBPyConnection, plan: Plan, mart: Mart, contract: Contract, rows: Mapping[date, int]
) -> dict[date, dict[str, Any]]:
    """By first day of the unit, the report of a mart that was built; ``rows`` are the conformed rows of those units."""
    try:
        cells = _cells(connection, mart, contract)
    except duckdb.BinderException:  # its columns are not those of its contract, for which it will be held back
        return {}
    silo_counts_rows = plan.budget_of(mart.name).unit == "vehicle-month"
    found = {}
    for unit_start in cells["unit_start"].unique(maintain_order=True):
        if unit_start not in rows:
            continue
        of_unit = cells.filter(pl.col("unit_start") == unit_start)  # one at a time: a quarter may have a million
        figures = _figures(of_unit, contract)
        if silo_counts_rows:
            figures["share_not_counted"] = _share(rows[unit_start] - int(of_unit["exact"].sum()), rows[unit_start])
        found[unit_start] = {
            "mart": mart.name,
            "first_day": unit_start.isoformat(),
            **figures,
            "warnings": _warnings(figures),
            "for_readers": sentence(plan, mart.name),
        }
    return found


def _cells(connection: duckdb.DuckDBPyConnection, mart: Mart, contract: Contract) -> pl.DataFrame:
    """Every published cell: ``unit_start``, its place if any, ``exact``, ``shown`` (null when hidden), ``truth``.

    A mean is a measured count over a public number, hours for instance: what it would be without noise is in the same
    proportion to it as the exact count is to the measured one.
    """
    grain = ", ".join(f'"{column}"' for column in mart.grain)
    place = _place(contract)
    named = "" if place is None else f'"{place}",'
    truth = "exact * shown / nullif(measured, 0)" if contract.measure.type == "double" else "exact"
    measured = f"intermediate.{fingerprints.table(mart.name)}"
    sums = f"(select unit_start, {grain}, sum(exact) as exact, sum(measured) as measured from {measured} group by all)"
    return connection.execute(
        f"""
        select
            unit_start,
            {named}
            exact::double as exact,
            "{contract.measure.column}"::double as shown,
            ({truth})::double as truth
        from {sums if _is_coarser(connection, mart, measured) else measured}
        inner join {mart.relation} as published using ({grain})
        order by all -- sums of floating-point numbers are then always the same
        """
    ).pl()


def _is_coarser(connection: duckdb.DuckDBPyConnection, mart: Mart, measured: str) -> bool:
    """Whether a published cell is made of several measured ones: there are fewer of them."""
    query = f"select (select count(*) from {mart.relation}) < (select count(*) from {measured})"
    return bool(connection.execute(query).fetchall()[0][0])


def _figures(cells: pl.DataFrame, contract: Contract) -> dict[str, Any]:
    hidden = pl.col("shown").is_null()
    error = pl.col("shown") - pl.col("truth")
    relative = error.abs() / pl.col("truth")
    small = pl.col("truth").is_between(SMALLEST, LARGE, closed="left") & ~hidden
    large = (pl.col("truth") >= LARGE) & ~hidden
    row = cells.select(
        cells=pl.len(),
        cells_hidden=hidden.sum(),
        mass=pl.col("exact").sum(),
        mass_hidden=pl.col("exact").filter(hidden).sum(),
        small=small.sum(),
        small_error=relative.filter(small).median(),
        large=large.sum(),
        large_error=relative.filter(large).median(),
        mean_error=error.mean(),
        standard_error=error.std() / (~hidden).sum().sqrt(),
    ).row(0, named=True)
    return {
        "cells": row["cells"],
        "cells_hidden": row["cells_hidden"],
        "mass_hidden": _share(row["mass_hidden"], row["mass"]),
        f"true_{SMALLEST}_to_{LARGE - 1}": {"cells": row["small"], "median_relative_error": row["small_error"]},
        f"true_{LARGE}_and_over": {"cells": row["large"], "median_relative_error": row["large_error"]},
        "mean_error": row["mean_error"],
        "standard_error": row["standard_error"],
        "rank_correlation": _rank_correlation(cells, contract),
    }


def _place(contract: Contract) -> str | None:
    return next((column for column in PLACES if column in contract.grain), None)


def _rank_correlation(cells: pl.DataFrame, contract: Contract) -> float | None:
    """Spearman's, of the places' published totals (what is hidden counts nothing) with their exact ones."""
    place = _place(contract)
    if place is None:
        return None
    totals = cells.group_by(place).agg(pl.col("exact").sum(), pl.col("shown").fill_null(0).sum())
    found = totals.select(pl.corr("exact", "shown", method="spearman")).item()
    return None if found is None or math.isnan(found) else float(found)


def _warnings(figures: Mapping[str, Any]) -> list[str]:
    """Where the figures are below the utility floor."""
    small = figures[f"true_{SMALLEST}_to_{LARGE - 1}"]["median_relative_error"]
    large = figures[f"true_{LARGE}_and_over"]["median_relative_error"]
    chance = figures["standard_error"]
    floors = (
        ("mass hidden", figures["mass_hidden"], MASS_HIDDEN),
        (f"median relative error of true {SMALLEST} to {LARGE - 1}", small, SMALL_ERROR),
        (f"median relative error of true {LARGE} and over", large, LARGE_ERROR),
        ("mean error", figures["mean_error"], math.inf if chance is None else MEAN_ERROR + 1.96 * chance),
    )
    return [
        f"{what} is {value:.4g}, beyond {limit:.4g}"
        for what, value, limit in floors
        if value is not None and abs(value) > limit
    ]


def _share(part: float, whole: float) -> float | None:
    return part / whole if whole else None
