"""The reader's pages say the numbers of the privacy plan, in both languages."""

from __future__ import annotations

import re
from fractions import Fraction
from pathlib import Path

import pytest

from privacy.plan import CURRENCY, plan
from publication.builds.utility import margin
from tests.attacks.measures import epsilon_at, gaussian_auc

DOCS = Path(__file__).parents[2] / "docs" / "privacy"
PAGES = {"en": DOCS / "reading.en.md", "fr": DOCS / "reading.fr.md"}
PERIODS = {"en": ("day", "month", "quarter"), "fr": ("jour", "mois", "trimestre")}
SETTLING = {"en": "{} days after", "fr": "{} jours après"}
QUESTIONS = {"en": ("whether", "where or when"), "fr": ("si", "où ou quand")}


def rows(language: str) -> list[list[str]]:
    lines = PAGES[language].read_text(encoding="utf-8").splitlines()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]


def amount(text: str) -> Fraction:
    return Fraction(text.replace(",", "."))


@pytest.mark.parametrize("language", PAGES)
def test_every_table_is_described_with_its_numbers(language: str) -> None:
    described = {
        name[1]: (period, amount(spends), int(threshold), int(noise.removeprefix("± ")))
        for first, period, spends, threshold, noise in (row for row in rows(language) if len(row) == 5)
        if (name := re.match(r"`(\w+)` ?:", first))
    }
    words = dict(zip(("day", "month", "quarter"), PERIODS[language], strict=True))
    assert described == {
        mart: (words[each.release], each.spends, each.threshold, margin(plan(), mart))
        for mart, each in plan().marts.items()
    }


@pytest.mark.parametrize("language", PAGES)
def test_every_budget_is_described_with_its_limit(language: str) -> None:
    described = {}
    for row in rows(language):
        if len(row) == 3 and (name := re.search(r"\(`(\w+)`\)", row[0])):
            currency, limit = row[1].split()
            described[name[1]] = (currency, amount(limit))
    assert described == {name: (CURRENCY, each.limit) for name, each in plan().budgets.items()}


@pytest.mark.parametrize("language", PAGES)
def test_what_the_best_attacker_gains_is_told_for_both_questions_a_month_and_a_year(language: str) -> None:
    described = {
        (name[1], name[2]): [float(amount(figure)) for figure in figures]
        for first, *figures in (row for row in rows(language) if len(row) == 5)
        if (name := re.match(r"`(\w+)`, (.+)", first))
    }
    assert described == {
        (budget, question): [
            round(told(float(each.limit) * cost * months), digits)
            for months in (1, 12)
            for told, digits in ((epsilon_at, 1), (gaussian_auc, 2))
        ]
        for budget, each in plan().budgets.items()
        # Who moves from one cell to another changes two: the squares of both add up.
        for question, cost in zip(QUESTIONS[language], (1, 2), strict=True)
    }


@pytest.mark.parametrize("language", PAGES)
def test_delays_and_examples_are_those_of_the_plan(language: str) -> None:
    text = " ".join(PAGES[language].read_text(encoding="utf-8").split())
    for budget in plan().budgets.values():
        assert SETTLING[language].format(budget.settling_days) in text
    assert f"`<{plan().marts['fines_by_day'].threshold}`" in text
    assert not re.search(r"(times in|fois sur) 100", text), "an AUC is no share of right guesses"
