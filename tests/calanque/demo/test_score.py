"""The score itself: a perfect outcome scores perfectly, and each way of failing is seen and told."""

from __future__ import annotations

from datetime import date

import polars as pl

from calanque.demo.score import DELIVERIES, LOADED, REJECTS, Outcome, Score, score
from calanque.demo.truth import ExpectedDelivery, Fault, Truth

DAY, EVE = date(2025, 9, 15), date(2025, 9, 14)
SILO = "verbalisations"


def delivery(name: str, **facts: object) -> ExpectedDelivery:
    usual = {"refused": None, "rows": 10, "quarantined": (), "loaded": {DAY: 10}}
    return ExpectedDelivery(silo=SILO, file=f"{name}.csv", delivery_id=name, **{**usual, **facts})


def fault(kind: str, file: str, expect: str, rule: str | None = None, rows: tuple[int, ...] = ()) -> Fault:
    return Fault(id=kind, kind=kind, silo=SILO, file=f"{file}.csv", expect=expect, rule=rule, rows=rows)


TRUTH = Truth(
    city="toy",
    seed=1,
    start=DAY,
    days=1,
    scale=1,
    deliveries=(
        delivery("good", quarantined=(3, 4), loaded={DAY: 6}),
        delivery("late", loaded={DAY: 8, EVE: 2}),
        delivery("fix", rows=2, loaded={DAY: 2}),
        delivery("bad", refused="empty_file", rows=0, loaded={}),
    ),
    faults=(
        fault("bad_code", "good", "quarantined", "code_unknown", (3, 4)),
        fault("sentinel", "good", "warned", "place_unknown", (5,)),
        fault("encoding", "good", "noted", "encoding_unexpected"),
        fault("late", "late", "own_period", rows=(9, 10)),
        fault("correction", "fix", "replaced", rows=(1, 2)),
        fault("empty", "bad", "refused", "empty_file"),
        fault("resent", "again", "no_op"),
    ),
)
DELIVERED = [
    (SILO, "good", "good.csv", "committed", None, ["encoding_unexpected"]),
    (SILO, "late", "late.csv", "committed", None, []),
    (SILO, "fix", "fix.csv", "committed", None, []),
    (SILO, "bad", "bad.csv", "refused", "empty_file", []),
]
REJECTED = [
    (SILO, "good", 3, "code_unknown", "error"),
    (SILO, "good", 4, "code_unknown", "error"),
    (SILO, "good", 4, "another_rule_too", "error"),
    (SILO, "good", 5, "place_unknown", "warning"),
]
IN_LAKE = [(SILO, "good", DAY, 6), (SILO, "late", DAY, 8), (SILO, "late", EVE, 2), (SILO, "fix", DAY, 2)]


def scored(deliveries: list = DELIVERED, rejects: list = REJECTED, loaded: list = IN_LAKE) -> Score:
    return score(
        TRUTH,
        Outcome(
            deliveries=pl.DataFrame(deliveries, schema=DELIVERIES, orient="row"),
            rejects=pl.DataFrame(rejects, schema=REJECTS, orient="row"),
            loaded=pl.DataFrame(loaded, schema=LOADED, orient="row"),
        ),
    )


def replaced(lines: list, number: int, **positions: object) -> list:
    changed = list(lines[number])
    for position, value in positions.items():
        changed[int(position[1:])] = value
    return [*lines[:number], tuple(changed), *lines[number + 1 :]]


def missed(result: Score) -> set[str]:
    return {kind for (_, kind) in result.injected - result.found}


def test_a_perfect_outcome() -> None:
    result = scored()
    assert result.is_perfect
    assert result.detection == 1
    assert (result.sound_rows, result.false_rows, result.sound_deliveries, result.false_deliveries) == (20, 0, 3, 0)
    assert "7 of 7 (100.0%)" in result.table()


def test_a_lake_that_did_nothing() -> None:
    result = scored([], [], [])
    assert missed(result) == {fault.kind for fault in TRUTH.faults} - {"resent"}
    assert result.false_deliveries == 3
    assert result.misplaced_rows == 18
    assert not result.is_perfect


def test_a_faulty_row_that_was_loaded() -> None:
    result = scored(rejects=REJECTED[1:], loaded=replaced(IN_LAKE, 0, _3=7))
    assert missed(result) == {"bad_code"}
    assert result.misplaced_rows == 1


def test_a_faulty_row_rejected_for_the_wrong_reason() -> None:
    assert missed(scored(rejects=replaced(REJECTED, 0, _3="something_else"))) == {"bad_code"}


def test_a_warning_that_was_an_error_or_did_not_come() -> None:
    result = scored(rejects=replaced(REJECTED, 3, _4="error"))
    assert missed(result) == {"sentinel"}
    assert result.false_rows == 1
    assert missed(scored(rejects=REJECTED[:3])) == {"sentinel"}


def test_a_sound_row_turned_away() -> None:
    result = scored(rejects=[*REJECTED, (SILO, "late", 1, "too_strict", "error")], loaded=replaced(IN_LAKE, 1, _3=7))
    assert (result.false_rows, result.misplaced_rows) == (1, 1)
    assert missed(result) == {"late"}
    assert any("1 sound rows were turned away" in sentence for sentence in result.complaints)


def test_a_sound_delivery_refused() -> None:
    result = scored(deliveries=replaced(DELIVERED, 2, _3="refused", _4="format_unknown"))
    assert result.false_deliveries == 1
    assert missed(result) == {"correction"}


def test_a_bad_file_that_was_accepted_or_refused_for_the_wrong_reason() -> None:
    assert missed(scored(deliveries=replaced(DELIVERED, 3, _3="committed"))) == {"empty"}
    assert missed(scored(deliveries=replaced(DELIVERED, 3, _4="binary_content"))) == {"empty"}


def test_late_rows_under_the_day_of_the_delivery() -> None:
    result = scored(loaded=[IN_LAKE[0], (SILO, "late", DAY, 10), IN_LAKE[3]])
    assert missed(result) == {"late"}
    assert result.misplaced_rows == 4


def test_a_correction_that_was_added_instead() -> None:
    result = scored(loaded=replaced(IN_LAKE, 0, _3=8))
    assert result.misplaced_rows == 2
    assert not result.is_perfect


def test_a_repeated_file_taken_for_a_new_delivery() -> None:
    again = (SILO, "other-id", "again.csv", "committed", None, [])
    assert missed(scored(deliveries=[*DELIVERED, again])) == {"resent"}


def test_an_unnoticed_encoding() -> None:
    assert missed(scored(deliveries=replaced(DELIVERED, 0, _5=[]))) == {"encoding"}
