from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from privacy import plan as privacy_plan
from privacy.plan import Plan, plan


def written() -> dict[str, Any]:
    return yaml.safe_load(privacy_plan.PROJECT_FILE.read_text())["vars"]["privacy"]


def test_amounts_are_exact() -> None:
    spent = [mart.spends for mart in plan().marts.values() if mart.budget == "vehicles"]
    assert sum(spent) == Fraction(1, 10) == plan().budgets["vehicles"].limit
    assert plan().budget_of("footfall_by_day").settling_days == 2


def test_a_plan_that_overdraws_a_budget_is_refused() -> None:
    greedy = written()
    greedy["marts"]["fines_by_day"]["spends"] = "0.067"
    with pytest.raises(ValidationError, match=r"vehicles spend 0\.101 of 0\.1"):
        Plan.model_validate(greedy)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"budget": "nobody"}, "does not exist"),
        ({"mechanism": "laplace"}, "mechanism"),
        ({"threshold": 10}, "threshold"),
        ({"threshold": 30}, "fines_by_day shows counts from 30 on, .* 31 is the least threshold"),
        ({"spends": "0"}, "spends"),
        ({"bound": 0}, "bound"),
        ({"release": "hour"}, "release"),
        ({"noise": "none"}, "noise"),
    ],
)
def test_a_mart_outside_the_rules_is_refused(change: dict[str, object], says: str) -> None:
    wrong = written()
    wrong["marts"]["fines_by_day"] |= change
    with pytest.raises(ValidationError, match=says):
        Plan.model_validate(wrong)


def test_another_project_has_another_plan(tmp_path: Path) -> None:
    project = {"vars": {"privacy": written()}}
    project["vars"]["privacy"]["budgets"]["vehicles"]["settling_days"] = 9
    (tmp_path / "dbt_project.yml").write_text(yaml.safe_dump(project))
    assert privacy_plan.load(tmp_path / "dbt_project.yml").budgets["vehicles"].settling_days == 9
