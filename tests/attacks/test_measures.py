"""The measuring tools of the attacks, against values known from elsewhere; and that a failed control is a failure."""

from __future__ import annotations

import json
import math

import numpy as np
import polars as pl
import pytest

from tests.attacks import columns
from tests.attacks.findings import Control, Finding, Report
from tests.attacks.measures import (
    DELTA,
    auc,
    clopper_pearson,
    epsilon_at,
    epsilon_bound,
    gaussian_auc,
    spread,
    stratified_auc,
)


@pytest.mark.parametrize(
    ("hits", "trials", "low", "high"),
    [
        (5, 100, 0.0164319, 0.1128349),
        (0, 100, 0.0, 0.0362167),
        (10, 10, 0.6915029, 1.0),
        (50, 100, 0.3983211, 0.6016789),
    ],
)
def test_exact_intervals_are_those_of_the_tables(hits: int, trials: int, low: float, high: float) -> None:
    assert clopper_pearson(hits, trials) == pytest.approx((low, high), abs=1e-6)


def test_areas_are_chances_of_ranking_right() -> None:
    assert auc(np.array([2.0, 3.0]), np.array([1.0, 2.0])).value == 0.875
    random = np.random.default_rng(1)
    area = auc(random.normal(1, 1, 4000), random.normal(0, 1, 4000))
    assert area.interval.low < 0.7602 < area.interval.high


def test_a_stratum_alone_is_no_merit() -> None:
    strata = np.repeat([0, 1], 1000)
    random = np.random.default_rng(2)
    positive = random.random(2000) < np.where(strata == 1, 0.8, 0.2)
    scores = strata + random.random(2000)
    assert auc(scores[positive], scores[~positive]).value > 0.7
    assert stratified_auc(scores, positive, strata).value == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize("rho", [0.025, 0.1, 0.2, 1.2, 2.4])
def test_epsilon_of_a_rho_is_close_above_what_a_continuous_draw_costs(rho: float) -> None:
    """Against the exact delta of one draw of continuous Gaussian noise (Balle and Wang 2018, theorem 8)."""
    shift, epsilon = math.sqrt(2 * rho), epsilon_at(rho)

    def delta(epsilon: float) -> float:
        high, low = (math.erfc((epsilon / shift + side * shift / 2) / math.sqrt(2)) / 2 for side in (-1, 1))
        return high - math.exp(epsilon) * low

    assert delta(epsilon) < DELTA
    assert delta(0.9 * epsilon) > DELTA
    simple = rho + 2 * math.sqrt(-rho * math.log(DELTA))  # Bun and Steinke 2016, proposition 1.3: not as tight
    assert epsilon < simple


def test_what_a_rho_gives_away() -> None:
    assert gaussian_auc(0.1) == pytest.approx(0.6241, abs=1e-4)
    random = np.random.default_rng(5)
    shift = math.sqrt(2 * 0.1)
    area = auc(random.normal(shift, 1, 40_000), random.normal(0, 1, 40_000))
    assert area.value == pytest.approx(gaussian_auc(0.1), abs=0.006)
    assert gaussian_auc(12 * 0.1) == pytest.approx(0.8634, abs=1e-4)
    assert epsilon_bound(7311, 10_000, 2689, 10_000) == pytest.approx(1.0, abs=0.06)
    assert epsilon_bound(7311, 10_000, 2689, 10_000) < 1.0
    assert epsilon_bound(7311, 10_000, 2689, 10_000, delta=0.1) < 0.9


def test_spread_is_one_for_what_was_declared() -> None:
    value, interval = spread(np.random.default_rng(3).normal(0, 1, 20_000))
    assert interval.low < 1 < interval.high
    assert value == pytest.approx(1, abs=0.05)


def test_a_control_that_fails_fails_the_attack() -> None:
    silent = Finding("P0", "nothing", limit=0, measured=0, control=Control("a leak", 0, 1))
    over = Finding("P0", "a leak", limit=0, measured=1, control=Control("a leak", 1, 1))
    good = Finding("P0", "nothing <b>", limit=0, measured=0, control=Control("a leak", 1, 1))
    assert [each.verdict for each in (silent, over, good)] == ["control failed", "BROKEN", "holds"]
    assert not Report({"city": [good, silent]}, {}).holds
    assert not Report({}, {}).holds, "nothing attacked is nothing shown"
    report = Report({"city": [good]}, {"code": "abc"})
    assert report.holds
    assert json.loads(report.json())["cities"]["city"][0]["verdict"] == "holds"
    assert "nothing &lt;b&gt;" in report.page()


def test_identifiers_are_seen_in_columns() -> None:
    table = pl.DataFrame(
        {
            "quarter_start": ["2026-04-01"] * 4,
            "period_start": ["2026-04-01", "2026-04-01", "2026-05-01", "2026-05-01"],
            "period_end": ["2026-04-30"] * 2 + ["2026-05-31"] * 2,
            "area_id": ["13201", "13202"] * 2,
            "fines": [120, None, 80, 90],
            "fines_label": [None, "<32", None, None],
        }
    ).with_columns(pl.col("quarter_start", "period_start", "period_end").str.to_date())
    assert list(columns.suspects(table)) == []
    for value in ("RA-123-QF", "0652831749", "208019284716352", "a.b@c.example", "d41d8cd98f00b204e9800998ecf8427e"):
        assert list(columns.suspects(table.with_columns(area_id=pl.lit(value)))), value
    assert list(columns.suspects(table.slice(1))), "a missing cell"
    assert list(columns.suspects(pl.concat([table, table]))), "two rows of a cell"
    assert list(columns.suspects(table.with_columns(fines=pl.col("fines").cast(pl.String).cast(pl.Binary))))
