"""P8 and P9: does a person's presence show in what is published, and how much?

The real project builds a city of thousands of areas. Every area is a trial of its own, with noise of its own: in every
other one a certain vehicle was fined. Everything else is the same, and the attacker knows all of it. This is the worst
case that the promise is made for.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from infra.build_spec import UNKNOWN, CityReference, Zone
from infra.calendar.days import DayRange
from privacy.plan import Plan
from tests.attacks import local
from tests.attacks.findings import Control, Finding
from tests.attacks.measures import DELTA, Area, Floats, auc, epsilon_at, epsilon_bound, gaussian_auc

MARTS = ("fines_by_day", "fines_by_month", "fines_by_nature", "fines_profile")
DAYS = DayRange(first_day=date(2025, 3, 3), last_day=date(2025, 3, 7))
"""Monday to Friday: the vehicle is fined on each day, and enough others are for the cell to be displayed."""
BUSY_DAYS = 5
A_DAY = 46
"""Fines a day and area: above every threshold, day by day and in the month."""
NATURE = "stationnement_genant"


def city(trials: int) -> CityReference:
    """A city with as many areas as trials, each of one zone."""
    names = [f"t{number:06d}" for number in range(trials)]
    return CityReference(
        name="trials",
        time_zone="UTC",
        footfall_measure="presence",
        zones=tuple(
            Zone(
                zone_id=name,
                zone_name=name,
                area_id=name,
                area_name=name,
                published_zone_id=name,
                published_zone_name=name,
            )
            for name in (*names, UNKNOWN)
        ),
    )


@dataclass(frozen=True)
class Trials:
    """What was published of each area, one row a trial, and in which of them the vehicle was fined.

    ``seen``: one column for each cell that the vehicle may have changed; ``rho``: what its mart spends. ``first``:
    whether the cell is one that the vehicle's first fine counts in.
    """

    seen: Floats
    rho: Floats
    first: npt.NDArray[np.bool_]
    present: npt.NDArray[np.bool_]

    def likelihood(self, cells: npt.NDArray[np.bool_]) -> Floats:
        """The exact logarithm of the likelihood ratio, if each of ``cells`` holds one more: Gaussian noise, hence the
        distance of the published value from the middle, over the variance, 1 / (2 rho).
        """
        return np.asarray((self.seen - self.middle)[:, cells] @ (2 * self.rho[cells]))

    @property
    def declared(self) -> float:
        """The rho that all these marts together spend of a vehicle's month."""
        return float(self.rho[self.first].sum())

    @property
    def middle(self) -> Floats:
        """Half way between what a cell shows without the vehicle and with it, as the attacker finds by trying."""
        return np.asarray(np.median(self.seen, axis=0))


def rows(present: npt.NDArray[np.bool_]) -> pl.DataFrame:
    """The conformed fines of all trials: the vehicle's come first in the day, in trials where it is present."""
    areas = pl.DataFrame({"trial": np.arange(len(present)), "present": present}).with_columns(
        zone_id=pl.format("t{}", pl.col("trial").cast(pl.String).str.zfill(6))
    )
    days = areas.join(pl.DataFrame({"day": np.arange(BUSY_DAYS)}), how="cross")
    others = days.join(pl.DataFrame({"minute": np.arange(1, A_DAY + 1)}), how="cross")
    target = days.filter("present").with_columns(minute=pl.lit(0, pl.Int64))
    first = pl.lit(DAYS.first_day).cast(pl.Datetime("us", "UTC"))
    at = first + pl.duration(days=pl.col("day"), minutes=pl.col("minute"))
    everyone = pl.concat(
        [
            others.with_columns(vehicle=_keys(np.arange(others.height), 1)),
            target.with_columns(vehicle=_keys(target["trial"].to_numpy(), 2)),
        ]
    )
    return everyone.select(
        record_key=_keys(np.arange(everyone.height), 3),
        vehicle="vehicle",
        occurred_at=at,
        local_hour=pl.lit(0, pl.Int32),
        zone_id="zone_id",
        nature=pl.lit(NATURE),
        offence_system=pl.lit("natinf"),
        offence_code=pl.lit("1"),
        corps=pl.lit(None, pl.String),
        event_date=at.dt.date(),
        format=pl.lit("trial"),
        delivery_id=pl.lit("0"),
    )


def _keys(numbers: npt.NDArray[np.int64], kind: int) -> pl.Series:
    """A key of 16 bytes for each number, as pseudonyms are."""
    words = np.stack([np.asarray(numbers, np.uint64), np.full(len(numbers), kind, np.uint64)], axis=1)
    return pl.Series(
        pa.FixedSizeBinaryArray.from_buffers(
            pa.binary(16), len(numbers), [None, pa.py_buffer(np.ascontiguousarray(words))]
        ).cast(pa.large_binary())
    )


def run(folder: Path, trials: int, plan: Plan, *, project: Path = local.PROJECT) -> Trials:
    """Build ``trials`` areas, every other one with the vehicle."""
    present = np.arange(trials) % 2 == 1
    lake = local.make(folder, {"verbalisations": rows(present)}, city(trials), DAYS)
    made = local.build(lake, MARTS, project=project, threads=2)
    seen, rho, first = [], [], []
    for mart in MARTS:
        cells = made[mart].filter(_busy(made[mart].columns)).sort("period_start", made[mart].columns[3])
        each = cells["fines"].fill_null(plan.marts[mart].threshold - 1).to_numpy().astype(float)
        if len(each) % trials:
            raise local.BuildFailedError(f"{mart} has {len(each)} cells for {trials} trials")
        for day, values in enumerate(each.reshape(-1, trials)):
            seen.append(values)
            rho.append(float(plan.marts[mart].spends))
            first.append(day == 0)
    return Trials(np.stack(seen, axis=1), np.array(rho), np.array(first), present)


def _busy(columns: Sequence[str]) -> pl.Expr:
    """The cells in which things happen."""
    place = "zone_id" if "zone_id" in columns else "area_id"
    busy = pl.col(place) != UNKNOWN
    for name, value in (("nature_group", NATURE), ("day_type", "weekday"), ("time_band", "night")):
        busy &= pl.col(name) == value if name in columns else True
    return busy


def _scores(trials: Trials, training: npt.NDArray[np.bool_]) -> dict[str, Floats]:
    """Attackers: one who computes the likelihood ratio of the first fine, one who thinks that all fines count, and one
    who learnt from trials whose answer he was given.
    """
    everything = np.ones(len(trials.rho), bool)
    off = (trials.seen - trials.middle) * np.sqrt(2 * trials.rho)  # in standard deviations
    features = np.concatenate([np.sign(off), np.clip(off, -1, 1), off / 8], axis=1)
    return {
        "likelihood ratio, first fine": trials.likelihood(trials.first),
        "likelihood ratio, all fines": trials.likelihood(everything),
        "sum": trials.seen.sum(axis=1),
        "learnt": _logistic(features, trials.present, training),
    }


def _logistic(features: Floats, present: npt.NDArray[np.bool_], training: npt.NDArray[np.bool_]) -> Floats:
    """The score of a logistic regression fitted by Newton's method on the training trials."""
    design = np.concatenate([np.ones((len(features), 1)), features], axis=1)
    known, answer = design[training], present[training].astype(float)
    weights = np.zeros(design.shape[1])
    for _ in range(25):
        chance = 1 / (1 + np.exp(-np.clip(known @ weights, -30, 30)))
        curvature = (known * (chance * (1 - chance))[:, None]).T @ known + 1e-3 * np.eye(len(weights))
        weights += np.linalg.solve(curvature, known.T @ (answer - chance) - 1e-3 * weights)
    return np.asarray(design @ weights)


def proven_epsilon(trials: Trials) -> tuple[float, str]:
    """The greatest epsilon that any attacker proves, with 95 % confidence, and which one.

    Attacker, threshold and direction are chosen on one half of the trials, and judged on the other.
    """
    pairs = np.arange(len(trials.present)) // 2
    training = pairs % 2 == 0
    best = (-math.inf, "none", np.zeros(0), 0.0)
    for name, forward in _scores(trials, training).items():
        for direction, score in ((name, forward), (f"{name}, absence", -forward)):
            truth = trials.present if score is forward else ~trials.present
            inside, outside = np.sort(score[training & truth]), np.sort(score[training & ~truth])
            for limit in np.unique(np.quantile(np.concatenate([inside, outside]), np.linspace(0.01, 0.999, 60))):
                hits = len(inside) - np.searchsorted(inside, limit)
                alarms = len(outside) - np.searchsorted(outside, limit)
                bound = epsilon_bound(int(hits), len(inside), int(alarms), len(outside))
                if bound > best[0]:
                    best = (bound, direction, score, float(limit))
    _, name, score, limit = best
    truth = ~trials.present if name.endswith("absence") else trials.present
    inside, outside = score[~training & truth], score[~training & ~truth]
    return epsilon_bound(int((inside >= limit).sum()), len(inside), int((outside >= limit).sum()), len(outside)), name


def membership(trials: Trials, months: int, cells: npt.NDArray[np.bool_]) -> Area:
    """How well the likelihood ratio over ``months`` trials tells a vehicle fined in all of them from one in none."""
    score = trials.likelihood(cells)
    sums = {}
    for kind in (True, False):
        some = score[trials.present == kind]
        sums[kind] = some[: len(some) // months * months].reshape(-1, months).sum(axis=1)
    return auc(sums[True], sums[False])


def proven_area(trials: Trials) -> tuple[Area, str]:
    """How well the best attacker tells presence, with the interval that holds it, and which one: chosen on one half of
    the trials, judged on the other.
    """
    training = np.arange(len(trials.present)) // 2 % 2 == 0

    def area(score: Floats, of: npt.NDArray[np.bool_]) -> Area:
        return auc(score[of & trials.present], score[of & ~trials.present])

    scores = _scores(trials, training)
    best = max(scores, key=lambda name: area(scores[name], training).value)
    return area(scores[best], ~training), best


def attack_presence(trials: Trials, broken_trials: Trials, broken_build: str) -> list[Finding]:
    """P8: what pairs of neighbours prove the tables of fines to lose, at least."""
    pairs = len(trials.present) // 2
    epsilon, worst = epsilon_at(trials.declared), gaussian_auc(trials.declared)
    bound, attacker = proven_epsilon(trials)
    broken, broken_attacker = proven_epsilon(broken_trials)
    area, ranker = proven_area(trials)
    broken_area, broken_ranker = proven_area(broken_trials)
    return [
        Finding(
            "P8",
            f"epsilon at delta {DELTA:g} that {pairs} neighbouring pairs prove all fines tables to lose, at least",
            limit=epsilon,
            measured=bound,
            control=Control(broken_build, broken, epsilon + 0.05),
            details={"marts": list(MARTS), "attacker": attacker, "control: attacker": broken_attacker},
        ),
        Finding(
            "P8",
            f"AUC of telling presence that {pairs} neighbouring pairs prove of all fines tables, at least",
            limit=worst,
            measured=area.interval.low,
            interval=area.interval,
            control=Control(broken_build, broken_area.interval.low, worst),
            details={"marts": list(MARTS), "attacker": ranker, "control: attacker": broken_ranker},
        ),
    ]


def attack_membership(trials: Trials, broken_trials: Trials, broken_build: str) -> list[Finding]:
    """P9, over a month and over a year."""
    findings = []
    everything = np.ones(len(broken_trials.rho), bool)
    for months in (1, 12):
        theory = gaussian_auc(trials.declared * months)
        area = membership(trials, months, trials.first)
        broken = membership(broken_trials, months, everything)
        findings.append(
            Finding(
                "P9",
                f"AUC of telling who was fined in {months} month{'s' * (months > 1)}, all others known; "
                f"theory says {theory:.3f}",
                limit=theory + 0.02,
                measured=area.value,
                interval=area.interval,
                control=Control(broken_build, broken.value, theory + 0.05),
                details={"theory": theory},
            )
        )
    return findings
