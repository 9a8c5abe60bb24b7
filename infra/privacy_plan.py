"""The privacy plan: what each mart may spend of which budget, as ``vars.privacy`` of the dbt project declares it.

The SQL macros read the same lines, so there is no second list. Amounts are exact: decimals in the file, fractions here.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Annotated, Literal, Self

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

PROJECT_FILE = Path(__file__).resolve().parents[1] / "dbt_project" / "dbt_project.yml"

Amount = Annotated[Fraction, BeforeValidator(Fraction), Field(gt=0)]
"""A positive amount of a budget, written as a decimal."""

Release = Literal["day", "month", "quarter"]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Budget(_Frozen):
    """What one privacy unit may lose, at most.

    ``limit`` is of one month of one unit, in epsilon (pure differential privacy) or rho (zero-concentrated), for first
    publications; a period that is corrected may spend its share once more. A period is released ``settling_days`` after
    its last day.
    """

    unit: str
    currency: Literal["epsilon", "rho"]
    limit: Amount
    settling_days: int = Field(ge=0)


class MartPlan(_Frozen):
    """How one mart is released and measured."""

    budget: str
    release: Release
    mechanism: Literal["laplace", "gaussian"]
    spends: Amount
    bound: int = Field(ge=1)
    threshold: int = Field(ge=11)


class Plan(_Frozen):
    """Budgets by name and marts by name.

    Raises:
        ValueError: a mart draws on no budget, with a mechanism of another currency, or a budget is overdrawn.
    """

    budgets: Mapping[str, Budget]
    marts: Mapping[str, MartPlan]

    @model_validator(mode="after")
    def _within_budgets(self) -> Self:
        for name, mart in self.marts.items():
            if mart.budget not in self.budgets:
                raise ValueError(f"mart {name} draws on budget {mart.budget!r}, which does not exist")
            currency = {"laplace": "epsilon", "gaussian": "rho"}[mart.mechanism]
            if self.budgets[mart.budget].currency != currency:
                raise ValueError(f"mart {name}: {mart.mechanism} noise spends {currency}, its budget does not")
        for name, budget in self.budgets.items():
            spent = sum((mart.spends for mart in self.marts.values() if mart.budget == name), Fraction(0))
            if spent > budget.limit:
                raise ValueError(f"the marts of budget {name} spend {float(spent)} of {float(budget.limit)}")
        return self

    def budget_of(self, mart: str) -> Budget:
        return self.budgets[self.marts[mart].budget]


def load(project_file: Path = PROJECT_FILE) -> Plan:
    """The plan of a dbt project."""
    return Plan.model_validate(yaml.safe_load(project_file.read_text())["vars"]["privacy"])


@cache
def plan() -> Plan:
    """The plan of this lake's dbt project."""
    return load()
