"""The privacy plan: what each mart may spend of which budget, as ``vars.privacy`` of the dbt project declares it.

The SQL macros read the same lines, so there is no second list. Amounts are exact: decimals in the file, fractions here.
All of them are rho of zero-concentrated differential privacy (Bun and Steinke 2016), spent by discrete Gaussian noise:
amounts that one privacy unit loses in different tables add up.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Annotated, Literal, Self

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

PROJECT_FILE = Path(__file__).resolve().parents[1] / "dbt_project" / "dbt_project.yml"

CURRENCY = "rho"
"""What every budget, and every line of the ledger that spends, is counted in."""
MEDIAN = 0.6745
"""Half of all draws of Gaussian noise are within so many standard deviations."""
TYPICAL_ERROR = 0.06
"""By how much half of the figures at a mart's threshold may be off, at most."""
LEAST_THRESHOLD = 11

Amount = Annotated[Fraction, BeforeValidator(Fraction), Field(gt=0)]
"""A positive amount of a budget, written as a decimal."""

Period = Literal["day", "month", "quarter"]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Budget(_Frozen):
    """What one privacy unit may lose, at most.

    ``limit`` is of one month of one unit, in rho, for first publications; a period that is corrected may spend its
    share once more. A period is released ``settling_days`` after its last day.
    """

    unit: str
    limit: Amount
    settling_days: int = Field(ge=0)


class Axis(_Frozen):
    """An axis of grids: the dbt model or seed that lists it, and its columns there, the id first."""

    table: str
    columns: tuple[str, ...]


class MartPlan(_Frozen):
    """What one mart shows, and how it is released and measured.

    Its grid is every ``period`` of the calendar of ``silo`` and every value of each axis; axes that are ``summed`` are
    measured, and added up before anything is shown. ``measure`` is the name of its figure.

    ``bound`` is by how much one privacy unit can change the counts of a month, as the sum of the squares of the changes
    of all cells. ``threshold`` is the smallest measured count, noise included, that is shown.
    """

    silo: str
    period: Period
    axes: tuple[str, ...]
    measure: str
    summed: tuple[str, ...] = ()
    budget: str
    release: Period
    spends: Amount
    bound: int = Field(ge=1)
    threshold: int = Field(ge=LEAST_THRESHOLD)

    @property
    def variance(self) -> Fraction:
        """Of the noise of one measured count."""
        return variance(self.bound, self.spends)


class Plan(_Frozen):
    """Budgets, marts and axes by name.

    Raises:
        ValueError: a mart draws on no budget, has an axis that is none, shows figures that are mostly noise, or a
            budget is overdrawn.
    """

    budgets: Mapping[str, Budget]
    marts: Mapping[str, MartPlan]
    axes: Mapping[str, Axis]

    @model_validator(mode="after")
    def _within_budgets(self) -> Self:
        for name, mart in self.marts.items():
            if mart.budget not in self.budgets:
                raise ValueError(f"mart {name} draws on budget {mart.budget!r}, which does not exist")
            if unknown := {*mart.axes, *mart.summed} - self.axes.keys():
                raise ValueError(f"mart {name} has axes that are none: {', '.join(sorted(unknown))}")
            if mart.threshold < (least := threshold(mart.variance)):
                raise ValueError(
                    f"mart {name} shows counts from {mart.threshold} on, of which more than half would be off by over "
                    f"{TYPICAL_ERROR:.0%}: with its share, {least} is the least threshold"
                )
        for name, budget in self.budgets.items():
            spent = sum((mart.spends for mart in self.marts.values() if mart.budget == name), Fraction(0))
            if spent > budget.limit:
                raise ValueError(f"the marts of budget {name} spend {float(spent)} of {float(budget.limit)}")
        return self

    def budget_of(self, mart: str) -> Budget:
        return self.budgets[self.marts[mart].budget]

    def grain_of(self, mart: str) -> tuple[str, ...]:
        """The columns that tell the rows of a mart apart."""
        return ("period_start", *(self.axes[axis].columns[0] for axis in self.marts[mart].axes))


def variance(bound: int, spends: Fraction) -> Fraction:
    """Of the Gaussian noise that spends ``spends`` on counts which one privacy unit changes by ``bound``, squared."""
    return bound / (2 * spends)


def threshold(variance: float | Fraction) -> int:
    """The least threshold of counts with noise of ``variance``: from there on half of them are within 6 %."""
    return max(LEAST_THRESHOLD, math.ceil(MEDIAN * math.sqrt(variance) / TYPICAL_ERROR))


def load(project_file: Path = PROJECT_FILE) -> Plan:
    """The plan of a dbt project."""
    return Plan.model_validate(yaml.safe_load(project_file.read_text())["vars"]["privacy"])


@cache
def plan() -> Plan:
    """The plan of this lake's dbt project."""
    return load()
