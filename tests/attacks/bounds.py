"""P4: linear programs over all published margins together, to work out what hidden cells must hold.

Tables of one silo and release unit agree exactly, tables of different units to within their noise: both are said on
the reader's page. So every hidden cell has a least and a greatest possible value. Where these are the same integer, or
leave less to guess, the attacker gains.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import highspy
import numpy as np
import numpy.typing as npt
import polars as pl

from privacy.plan import Plan
from tests.attacks.findings import Control, Finding
from tests.attacks.measures import Interval, clopper_pearson
from tests.attacks.published import Table
from tests.attacks.truth import Truth, period_of, seed

SLACK = 4
"""How many standard deviations tables of different release units may differ by, in the attacker's eyes."""
EXACT = 1e-6
LEAST_CLAIMS = 3


@dataclass(frozen=True)
class Family:
    """Tables that count the same events. ``exact`` ones have equal sums per parent and period, the others nearly."""

    exact: tuple[str, ...]
    near: tuple[str, ...]


FAMILIES = (
    Family(("fines_by_day", "fines_by_month", "fines_by_nature"), ("fines_profile",)),
    Family(("tows_by_area", "tows_by_reason", "tows_delay", "tows_profile"), ("tows_by_month",)),
    Family(("tows_by_month", "tows_by_month_and_reason"), ()),
)


def cells_of(mart: str, table: Table, zones: pl.DataFrame) -> pl.DataFrame:
    """The cells of a table: ``mart, row, parent, month, quarter, day_type, low, high, hidden``; bounds as published."""
    measure, frame = table.measure, table.frame.with_row_index("row")
    limit = pl.col(f"{measure}_label").str.strip_prefix("<").cast(pl.Int64) - 1
    parent = pl.lit("city")
    if "area_id" in frame.columns and mart.startswith("fines"):
        parent = pl.col("area_id")
    elif "zone_id" in frame.columns:
        parents = zones.select(zone_id="published_zone_id", parent="area_id").unique("zone_id", keep="first")
        frame = frame.join(parents, on="zone_id", how="left", maintain_order="left")
        parent = pl.col("parent")
    day_type = pl.col("day_type") if "day_type" in frame.columns else pl.lit(None, pl.String)
    if period_of(mart) == "day":
        weekdays = seed("weekdays")
        day_type = pl.col("period_start").dt.weekday().replace_strict(weekdays["iso_weekday"], weekdays["day_type"])
    month = pl.col("period_start").dt.month_start() if period_of(mart) != "quarter" else pl.lit(None, pl.Date)
    return frame.select(
        mart=pl.lit(mart),
        row="row",
        parent=parent,
        month=month,
        quarter=pl.col("quarter_start"),
        day_type=day_type,
        low=pl.col(measure).fill_null(0).cast(pl.Float64),
        high=pl.coalesce(pl.col(measure), limit).cast(pl.Float64),
        hidden=pl.col(measure).is_null(),
    )


def _rows(cells: pl.DataFrame, family: Family, plan: Plan | None) -> Iterator[tuple[npt.NDArray[np.float64], float]]:
    """Coefficients of each margin over the cells of one block, and by how much it may be off."""
    marts = cells["mart"].to_numpy()
    first, *others = [mart for mart in family.exact if mart in set(marts)]
    months = cells["month"].cast(pl.Int32).fill_null(-1).to_numpy()
    of_unit = np.isin(marts, family.exact)
    for month in np.unique(months[of_unit]):  # -1, once, for tables of a quarter
        for other in others:
            sides = 1.0 * (marts == first) - 1.0 * (marts == other)
            yield np.where(of_unit & (months == month), sides, 0.0), 0.0
    types = cells["day_type"].fill_null("").to_numpy()
    for near in family.near:
        if near not in set(marts):
            continue
        kinds = set(types[marts == near]) & set(types[marts == first]) - {""} or {None}
        for kind in kinds:
            chosen = np.ones(len(marts), bool) if kind is None else types == kind
            row = np.where(chosen, 1.0 * (marts == first) - 1.0 * (marts == near), 0.0)
            yield row, _off(plan, {first: int((row > 0).sum()), near: int((row < 0).sum())})


def _off(plan: Plan | None, cells: Mapping[str, int]) -> float:
    if plan is None:
        return 0.0
    variance = sum(count * plan.marts[mart].variance for mart, count in cells.items())
    return SLACK * math.sqrt(variance)


def bounds(cells: pl.DataFrame, family: Family, plan: Plan | None) -> pl.DataFrame:
    """The hidden cells of one block (a parent in a quarter) with the least and greatest integers they may hold."""
    solver = _solver(cells, list(_rows(cells, family, plan)))
    if solver is None:  # margins that cannot all hold: nearly equal ones are given up
        solver = _solver(cells, [row for row in _rows(cells, family, plan) if row[1] == 0.0])
    hidden = np.flatnonzero(cells["hidden"].to_numpy())
    found = np.stack([cells["low"].to_numpy()[hidden], cells["high"].to_numpy()[hidden]])
    if solver is not None:
        for place, column in enumerate(hidden):
            solver.changeColCost(int(column), 1.0)
            for side, sense in enumerate((highspy.ObjSense.kMinimize, highspy.ObjSense.kMaximize)):
                solver.changeObjectiveSense(sense)
                solver.run()
                found[side, place] = solver.getInfo().objective_function_value
            solver.changeColCost(int(column), 0.0)
    return cells[hidden].with_columns(
        least=pl.Series(np.ceil(found[0] - EXACT)), greatest=pl.Series(np.floor(found[1] + EXACT))
    )


def _solver(cells: pl.DataFrame, rows: list[tuple[npt.NDArray[np.float64], float]]) -> highspy.Highs | None:
    """A solver with a feasible start, or None: the margins contradict each other."""
    solver = highspy.Highs()
    solver.setOptionValue("output_flag", False)
    solver.setOptionValue("threads", 1)
    solver.addVars(cells.height, cells["low"].to_numpy(), cells["high"].to_numpy())
    for coefficients, off in rows:
        used = np.flatnonzero(coefficients)
        solver.addRow(-off, off, len(used), used.astype(np.int32), coefficients[used])
    solver.run()
    return solver if solver.getModelStatus() == highspy.HighsModelStatus.kOptimal else None


def hidden_bounds(
    tables: Mapping[str, Table], zones: pl.DataFrame, plan: Plan | None, blocks: int | None = None
) -> pl.DataFrame:
    """The bounds of all hidden cells, or of those of the first ``blocks`` blocks of each family that have any."""
    found = []
    for family in FAMILIES:
        marts = [mart for mart in (*family.exact, *family.near) if mart in tables]
        if len(marts) < 2:
            continue
        cells = pl.concat([cells_of(mart, tables[mart], zones) for mart in marts])
        parts = cells.partition_by("parent", "quarter", maintain_order=True)
        some = [part for part in parts if 0 < part["hidden"].sum() < part.height][:blocks]
        found += [bounds(part, family, plan) for part in some]
    return pl.concat(found)


class Score(NamedTuple):
    """How many cells are hidden, how many of them the prior guess and the attack hit, how many the attack is certain
    of, and how many of these it hits.
    """

    cells: int
    prior: int
    attack: int
    certain: int
    certain_hits: int

    @property
    def gain(self) -> float:
        return (self.attack - self.prior) / max(self.cells, 1)

    @property
    def certainty(self) -> float:
        """How much of what is claimed for certain is exact."""
        return self.certain_hits / max(self.certain, 1)


def score(found: pl.DataFrame, exact: Mapping[str, pl.DataFrame]) -> Score:
    """How well the attack does beside a prior guess.

    The prior guess is generous: for each mart, the most frequent true value of its hidden cells. The attack says what
    is certain, else the prior guess brought within the bounds.
    """
    truth = pl.concat(
        [
            frame.with_row_index("row").select(mart=pl.lit(mart), row="row", exact=pl.col("exact").cast(pl.Float64))
            for mart, frame in exact.items()
        ]
    )
    scored = found.join(truth, on=["mart", "row"], how="inner").with_columns(
        prior=pl.col("exact").mode().min().over("mart")
    )
    guess = pl.col("prior").clip(pl.col("least"), pl.col("greatest"))
    certain = pl.col("least") == pl.col("greatest")
    right = guess == pl.col("exact")
    return Score(
        scored.height,
        *scored.select(
            prior=(pl.col("prior") == pl.col("exact")).sum(),
            attack=right.sum(),
            certain=certain.sum(),
            hits=(right & certain).sum(),
        ).row(0),
    )


def attack(
    tables: Mapping[str, Table],
    truth: Truth,
    plan: Plan,
    suppressed: Mapping[str, Table],
    blocks: int | None = None,
) -> Finding:
    """``suppressed``: the same city with exact counts and primary suppression only."""
    measured = {}
    for name, some, allowance in (("published", tables, plan), ("suppressed", suppressed, None)):
        exact = {mart: truth.exact(mart, table) for mart, table in some.items() if mart.startswith(("fines", "tows"))}
        measured[name] = score(hidden_bounds(some, truth.zones, allowance, blocks), exact)
    real, broken = measured["published"], measured["suppressed"]
    share, prior = clopper_pearson(real.attack, real.cells), real.prior / max(real.cells, 1)
    return Finding(
        "P4",
        "exact values of hidden cells found by linear programs, beyond a prior guess (share of hidden cells)",
        limit=0.02,
        measured=real.gain,
        interval=Interval(share.low - prior, share.high - prior),
        control=Control(
            "exact counts, primary suppression only: share of certain claims that are exact",
            broken.certainty if broken.certain >= LEAST_CLAIMS else 0.0,
            0.95,
        ),
        details={
            "published": real._asdict() | {"share of certain claims that are exact": real.certainty},
            "control": broken._asdict() | {"gain": broken.gain},
        },
    )
