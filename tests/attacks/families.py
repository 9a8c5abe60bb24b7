"""P7: subtract published tables from each other, across marts, periods and zonings, and see how much noise is left.

What is declared is what the best linear estimate from all measurements together would leave: several tables measure the
same total, each with its own noise, so whoever combines them gains something, and that is counted in. Less noise than
that means that something exact shines through.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from privacy.plan import Plan
from tests.attacks.findings import Control, Finding
from tests.attacks.measures import Interval, spread
from tests.attacks.published import Table
from tests.attacks.truth import Truth

Floats = npt.NDArray[np.float64]
By = dict[str, pl.Expr]
LEAST_SHOWN = 3
"""Marginal cells are left out: one that is displayed by the luck of its noise says more about luck than about noise."""


@dataclass(frozen=True)
class Differences:
    """One kind of subtraction: what it gave less what is true, and the standard deviation declared for it."""

    name: str
    residuals: Floats
    declared: Floats


def _leaf_variances(plan: Plan) -> dict[str, float]:
    return {mart: float(each.variance) for mart, each in plan.marts.items()}


def _sums(table: Table, exact: pl.DataFrame, by: By) -> pl.DataFrame:
    """Per group: how many leaves, how many of them shown, their published and their true sum."""
    return exact.group_by(**by).agg(
        leaves=pl.len(),
        shown=pl.col(table.measure).is_not_null().sum(),
        published=pl.col(table.measure).sum(),
        true=pl.col("exact").sum(),
        true_shown=pl.col("exact").filter(pl.col(table.measure).is_not_null()).sum(),
    )


def totals(
    name: str,
    tables: Mapping[str, Table],
    exact: Mapping[str, pl.DataFrame],
    plan: Plan,
    by: Mapping[str, By],
    *,
    months: pl.DataFrame | None = None,
) -> tuple[pl.DataFrame, list[Differences]]:
    """Totals that several tables agree on, taken from any of them that shows all its leaves; and single hidden cells,
    which are that total less the leaves that another table shows.

    Hidden cells are scored where neither zero nor the threshold cuts their noise off. ``months`` (of :func:`quarters`)
    are what quarters add up to: the noise of their totals is then that of their months.
    """
    variances = _leaf_variances(plan)
    sums = {mart: _sums(tables[mart], exact[mart], by[mart]) for mart in by}
    keys = list(next(iter(by.values())))
    known = pl.concat([frame.filter(pl.col("shown") == pl.col("leaves")) for frame in sums.values()]).unique(keys)
    precision = {mart: frame.select(*keys, p=1 / (pl.col("leaves") * variances[mart])) for mart, frame in sums.items()}
    combined = pl.concat(precision.values()).group_by(keys).agg(variance=1 / pl.col("p").sum())
    if months is not None:
        combined = combined.join(months.select(*keys, months="variance"), on=keys, how="left").select(
            *keys, variance=pl.coalesce("months", "variance")
        )
    total = known.join(combined, on=keys)
    residuals, declared = [], []
    for mart, frame in sums.items():
        leaf, room = variances[mart], 2 * np.sqrt(variances[mart])
        true = pl.col("true") - pl.col("true_shown")
        lone = frame.filter(
            pl.col("leaves") - pl.col("shown") == 1, true.is_between(room, plan.marts[mart].threshold - room)
        ).join(total.select(*keys, "variance", total="published"), on=keys)
        residuals.append(lone.select(pl.col("total") - pl.col("published") - true).to_series().to_numpy())
        whole = lone["leaves"].to_numpy() * leaf
        declared.append(np.sqrt(leaf - (leaf / whole) ** 2 * (whole - lone["variance"].to_numpy())))
    return total, [
        Differences(
            f"{name}: totals",
            (total["published"] - total["true"]).to_numpy().astype(float),
            np.sqrt(total["variance"].to_numpy()),
        ),
        Differences(f"{name}: one hidden cell", np.concatenate(residuals).astype(float), np.concatenate(declared)),
    ]


def leaves(mart: str, table: Table, exact: pl.DataFrame, plan: Plan) -> Differences:
    """Displayed cells well over the threshold, as they are: the noise that every subtraction starts from."""
    deviation = np.sqrt(_leaf_variances(plan)[mart])
    clear = exact.filter(pl.col(table.measure) >= plan.marts[mart].threshold + LEAST_SHOWN * deviation)
    residuals = (clear[table.measure] - clear["exact"]).to_numpy().astype(float)
    return Differences(f"{mart}: cells", residuals, np.full(len(residuals), deviation))


def quarters(months: pl.DataFrame, keys: Sequence[str]) -> pl.DataFrame:
    """What the totals of three months add up to, with the variance of their sum: by quarter and the other ``keys``."""
    others = [key for key in keys if key != "period"]
    return (
        months.group_by(*others, period=pl.col("period").dt.truncate("1q"))
        .agg(pl.col("published", "true", "variance").sum(), months=pl.len())
        .filter(pl.col("months") == 3)
    )


def across_units(months: pl.DataFrame, mart: str, table: Table, exact: pl.DataFrame) -> Differences:
    """A quarter's table, which adds up to its three months: its totals have their noise, and no other."""
    by = {"parent": pl.col("area_id"), "period": pl.col("quarter_start")}
    one = _sums(table, exact, by).filter(pl.col("shown") == pl.col("leaves"))
    both = one.join(quarters(months, list(by)), on=list(by), suffix="_months")
    residuals = (both["published"] - both["true"]).to_numpy().astype(float)
    return Differences(f"{mart} with three months", residuals, np.sqrt(both["variance"].to_numpy()))


def differences(tables: Mapping[str, Table], truth: Truth, plan: Plan) -> list[Differences]:
    """Every kind of subtraction that the published tables allow."""
    exact = {mart: truth.exact(mart, table) for mart, table in tables.items() if mart.startswith(("fines", "tows"))}
    zones = truth.zones.select("published_zone_id", "area_id").unique("published_zone_id", keep="first")
    month = pl.col("period_start").dt.month_start()
    area = {"parent": pl.col("area_id"), "period": month}
    of_zone = pl.col("zone_id").replace_strict(zones["published_zone_id"], zones["area_id"])
    fines = {"fines_by_day": area, "fines_by_month": {**area, "parent": of_zone}, "fines_by_nature": area}
    quarter = {"period": pl.col("quarter_start")}
    tows = dict.fromkeys(("tows_by_area", "tows_by_reason", "tows_delay", "tows_profile"), quarter)
    months, of_fines = totals("fines of an area and month", tables, exact, plan, fines)
    monthly: dict[str, By] = {mart: {"period": month} for mart in ("tows_by_month", "tows_by_month_and_reason")}
    tows_months, of_months = totals("tows of a month", tables, exact, plan, monthly)
    _, of_tows = totals("tows of a quarter", tables, exact, plan, tows, months=quarters(tows_months, ["period"]))
    profile = "fines_profile"
    return [
        *of_fines,
        *of_tows,
        *of_months,
        across_units(months, profile, tables[profile], exact[profile]),
        *(leaves(mart, tables[mart], exact[mart], plan) for mart in exact),
    ]


def attack(
    releases: Sequence[Mapping[str, Table]], truth: Truth, plan: Plan, exact_totals: Mapping[str, Table]
) -> list[Finding]:
    """How much noise is left; the details say of what.

    ``releases``: what is published, and the same city built again under other noise keys, for there are few totals in a
    city. ``exact_totals``: the same city, built so that noisy leaves are fitted to exact totals.
    """
    found = [each for tables in releases for each in differences(tables, truth, plan)]
    wrong = differences(exact_totals, truth, plan)
    measured, interval = _pooled([each for each in found if not each.name.endswith("cells")])
    broken, _ = _pooled([each for each in wrong if not each.name.endswith("cells")])
    return [
        Finding(
            "P7",
            "noise left after subtracting across marts, periods and zonings, over what is declared",
            limit=0.9,
            sense=">=",
            measured=measured,
            interval=interval,
            control=Control("leaves fitted to exact totals", broken, 0.9, "<="),
            details={"releases": len(releases), **_by_name(found)},
        )
    ]


def _pooled(some: Sequence[Differences]) -> tuple[float, Interval]:
    return spread(np.concatenate([each.residuals / each.declared for each in some]))


def _by_name(some: Sequence[Differences]) -> dict[str, str]:
    names = dict.fromkeys(each.name for each in some)
    said = {}
    for name in names:
        same = [each for each in some if each.name == name]
        count = sum(len(each.residuals) for each in same)
        said[name] = f"{_pooled(same)[0]:.3f} of {count}" if count > 1 else f"{count} only"
    return said
