"""Every contract accepts what it should, and refuses a mart broken in one way, naming the rule."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from datetime import date, timedelta

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic_marts import COVERAGE, Q1, Q2, make, reference, spec, units

from infra.build_spec import Unit
from infra.calendar.clock import add_months, quarter_end, quarter_start
from infra.calendar.days import DayRange
from publication import contracts
from publication.contracts import CONTRACTS, Contract

ALL = pytest.mark.parametrize("contract", CONTRACTS.values(), ids=CONTRACTS)
Break = Callable[[pl.DataFrame, Contract], pl.DataFrame]


def _with(frame: pl.DataFrame, row: int, **values: object) -> pl.DataFrame:
    """``frame`` with other values in one row."""
    return (
        frame.with_row_index("i")
        .with_columns(
            pl.when(pl.col("i") == row)
            .then(pl.lit(value, dtype=frame.schema[name]))
            .otherwise(pl.col(name))
            .alias(name)
            for name, value in values.items()
        )
        .drop("i")
    )


def _shown(frame: pl.DataFrame, contract: Contract) -> int:
    return int(frame[contract.measure.column].is_not_null().arg_max() or 0)


def _hidden(frame: pl.DataFrame, contract: Contract) -> int:
    return int(frame[contract.measure.column].is_null().arg_max() or 0)


def _first_dimension(contract: Contract) -> str:
    return contract.dimensions[0].column


BREAKS: dict[str, Break] = {
    "column_in_dataframe": lambda frame, contract: frame.drop(contract.measure.label),
    "column_in_schema": lambda frame, _: frame.with_columns(note=pl.lit("x")),
    "column_ordered": lambda frame, _: frame.select(reversed(frame.columns)),
    "not_nullable": lambda frame, _: _with(frame, 0, period_start=None),
    "known_value": lambda frame, contract: _with(frame, 0, **{contract.dimensions[-1].column: _stranger(contract)}),
    "grain_unique": lambda frame, _: pl.concat([frame, frame.head(1)]),
    "grid_complete": lambda frame, _: frame.slice(1),
    "period_of_calendar": lambda frame, _: _with(frame, 0, days_covered=0),
    "label_text": lambda frame, contract: _with(frame, _hidden(frame, contract), **{contract.measure.label: "few"}),
    "hidden_iff_labelled": lambda frame, contract: _with(
        frame, _hidden(frame, contract), **{contract.measure.label: None}
    ),
    "shown_from_threshold": lambda frame, contract: _with(
        frame,
        _shown(frame, contract),
        # A mean may be small: the threshold is that of the count which it is made from.
        **{contract.measure.column: -1 if contract.measure.type == "double" else contract.measure.threshold - 1},
    ),
    "name_of_id": lambda frame, contract: _with(
        frame, 0, **{next(each.name for each in contract.dimensions if each.name): "Elsewhere"}
    ),
}


def _applies(rule: str, contract: Contract) -> bool:
    """Whether a mart can break a rule at all: one of the whole city has no dimension to be wrong in."""
    if rule == "known_value":
        return bool(contract.dimensions)
    return rule != "name_of_id" or any(each.name for each in contract.dimensions)


def _stranger(contract: Contract) -> object:
    return 99 if contract.dimensions[-1].type == "integer" else "nowhere"


def _rules(frame: pl.DataFrame, contract: Contract) -> set[str]:
    return {violation.rule for violation in contracts.check(contract, frame, reference(contract))}


@ALL
def test_a_mart_that_keeps_its_contract_passes(contract: Contract) -> None:
    assert contracts.check(contract, make(contract, reference(contract)), reference(contract)) == []


@pytest.mark.parametrize(
    ("contract", "rule"),
    [(contract, rule) for contract in CONTRACTS.values() for rule in BREAKS if _applies(rule, contract)],
    ids=lambda value: getattr(value, "mart", value),
)
def test_a_mart_that_breaks_a_rule_is_refused_by_name(contract: Contract, rule: str) -> None:
    broken = BREAKS[rule](make(contract, reference(contract)), contract)
    assert rule in _rules(broken, contract)


@ALL
def test_a_column_of_another_type_is_refused(contract: Contract) -> None:
    frame = make(contract, reference(contract)).with_columns(pl.col(contract.measure.column).cast(pl.String))
    (violation,) = contracts.check(contract, frame, reference(contract))
    assert violation.rule.startswith("dtype")
    assert violation.column == contract.measure.column


def _companions() -> Iterator[tuple[Contract, str]]:
    for contract in CONTRACTS.values():
        for companion in contract.companions:
            yield contract, companion.column


@pytest.mark.parametrize(("contract", "column"), list(_companions()), ids=lambda value: getattr(value, "mart", value))
def test_a_companion_is_hidden_with_its_measure_and_stays_in_range(contract: Contract, column: str) -> None:
    frame = make(contract, reference(contract))
    assert "companion_hidden" in _rules(_with(frame, _hidden(frame, contract), **{column: 1}), contract)
    assert "range" in _rules(_with(frame, _shown(frame, contract), **{column: -1}), contract)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_mean_that_is_no_number_is_refused(value: float) -> None:
    contract = CONTRACTS["footfall_by_day"]
    frame = make(contract, reference(contract))
    broken = _with(frame, _shown(frame, contract), mean_people=value)
    assert _rules(broken, contract) == {"shown_from_threshold"}


@ALL
def test_a_missing_unit_is_refused(contract: Contract) -> None:
    last = units(contract.mart)[-1]
    frame = make(contract, reference(contract)).filter(pl.col("period_start") < last.first_day)
    assert _rules(frame, contract) == {"grid_complete"}


@ALL
def test_an_empty_mart_is_refused_unless_nothing_is_covered(contract: Contract) -> None:
    empty = make(contract, reference(contract)).clear()
    assert _rules(empty, contract) == {"grid_complete"}
    unit = Unit(mart=contract.mart, first_day=date(2030, 1, 1), last_day=date(2030, 3, 31))
    later = reference(contract, spec(of=[unit]))
    assert contracts.check(contract, empty, later) == []
    assert contracts.check(contract, make(contract, reference(contract)), later) != []


def test_a_violation_says_column_and_rows_but_no_value() -> None:
    contract = CONTRACTS["fines_by_day"]
    frame = _with(make(contract, reference(contract)), 3, area_id="AB-123-CD")
    violations = contracts.check(contract, frame, reference(contract))
    assert any((each.rule, each.column, each.rows) == ("known_value", "area_id", 1) for each in violations)
    assert "AB-123-CD" not in repr(violations)


def test_a_mart_without_a_contract_is_told_where_to_write_one() -> None:
    with pytest.raises(contracts.NoContractError, match=r"publication/contracts\.py"):
        contracts.of("plates")


@given(first=st.dates(date(2025, 1, 1), date(2026, 12, 31)), length=st.integers(0, 200))
@settings(max_examples=25, deadline=None)
def test_periods_are_the_covered_days_of_the_units(first: date, length: int) -> None:
    covered = DayRange(first_day=first, last_day=first + timedelta(days=length))
    contract = CONTRACTS["fines_by_day"]
    of = [
        Unit(mart=contract.mart, first_day=date(2026, 1, 1), last_day=date(2026, 1, 31)),
        Unit(mart=contract.mart, first_day=date(2026, 4, 1), last_day=date(2026, 6, 30)),
    ]
    known = reference(contract, spec(of=of, coverage=covered))
    days = known.periods("day")["period_start"].to_list()
    wanted = [first + timedelta(days=number) for number in range(length + 1)]
    assert days == [day for day in wanted if any(unit.first_day <= day <= unit.last_day for unit in of)]
    for period, start, end in (
        ("day", lambda day: day, lambda day: day),
        ("month", lambda day: day.replace(day=1), lambda day: add_months(day, 1) - timedelta(days=1)),
        ("quarter", quarter_start, quarter_end),
    ):
        found = known.periods(period).select("period_start", "days_covered", "period_end", "days_in_period")
        assert {row[0]: row[1] for row in found.iter_rows()} == Counter(start(day) for day in days)
        for first_day, _, last_day, count in found.iter_rows():
            assert (last_day, count) == (end(first_day), (end(first_day) - first_day).days + 1)


def test_the_coverage_of_these_tests_cuts_both_quarters() -> None:
    assert Q1 < COVERAGE.first_day < Q2 < COVERAGE.last_day < date(2026, 6, 30)
