"""The books: what is spent of which budget, what is refused, and that a chain cannot be changed unnoticed."""

from __future__ import annotations

import dataclasses
from datetime import date, timedelta
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ledger_lines import chain, released

from infra.build_spec import Unit
from infra.calendar.days import DayRange
from privacy.ledger import Line, breaks
from privacy.plan import plan
from privacy.spending import Book, RefusedError, correction_line, exact, late_line, withdrawal_line
from publication import settling
from publication.releases.verifying import _overdrafts

YEAR = DayRange(first_day=date(2026, 1, 1), last_day=date(2026, 12, 31))


def every_unit(days: DayRange = YEAR) -> list[Unit]:
    return [unit for mart, share in plan().marts.items() for unit in settling.units(mart, share.release, days)]


def test_a_year_of_everything_spends_every_month_to_the_limit_and_no_more() -> None:
    book = Book(chain(*map(released, every_unit())))
    accounts = book.accounts()
    assert {(account.budget, account.month) for account in accounts} == {
        (budget, f"2026-{month:02}") for budget in plan().budgets for month in range(1, 13)
    }
    for account in accounts:
        shares = [share.spends for share in plan().marts.values() if share.budget == account.budget]
        assert account.spent == sum(shares, Fraction(0)) <= account.limit
        assert account.corrections == 0
        assert account.left == account.limit - account.spent


def test_days_of_a_month_spend_the_share_of_the_month_once() -> None:
    share = plan().marts["crowd_by_day"]
    days = list(settling.units("crowd_by_day", "day", DayRange(first_day=date(2026, 2, 1), last_day=date(2026, 2, 28))))
    for count in (1, 14, 28):
        (account,) = Book(chain(*map(released, days[:count]))).accounts()
        assert (account.month, account.spent) == ("2026-02", share.spends)


def test_a_quarter_spends_in_each_of_its_months() -> None:
    (unit,) = settling.units(
        "fines_profile", "quarter", DayRange(first_day=date(2026, 2, 3), last_day=date(2026, 2, 3))
    )
    accounts = Book(chain(released(unit))).accounts()
    assert [(account.month, account.spent) for account in accounts] == [
        (month, plan().marts["fines_profile"].spends) for month in ("2026-01", "2026-02", "2026-03")
    ]


MARCH = Unit(mart="fines_by_day", first_day=date(2026, 3, 1), last_day=date(2026, 3, 31))
AGAIN = MARCH.model_copy(update={"edition": 2})


def asked(*lines: tuple[str, object]) -> tuple[str, object]:
    return correction_line(Book(chain(*lines)), MARCH.mart, MARCH.first_day, "a  late\nfile")


def test_a_correction_spends_its_share_once_more_apart() -> None:
    first = released(MARCH)
    book = Book(chain(first, asked(first), released(AGAIN, "g", "a late file")))
    (account,) = book.accounts()
    share = plan().marts[MARCH.mart].spends
    assert (account.spent, account.corrections) == (share, share)
    assert [each.edition for each in book.published()] == [2]
    with pytest.raises(RefusedError, match="its one correction was made already: a late file"):
        correction_line(book, MARCH.mart, MARCH.first_day, "once more")


@pytest.mark.parametrize(
    ("lines", "unit", "fingerprint", "sha256", "sentence"),
    [
        ([released(MARCH)], MARCH, "other", "s", "the input changed since edition 1 was published"),
        ([released(MARCH)], MARCH, "f", "other", "the same input gave another file than edition 1"),
        ([], AGAIN, "f", "s", "there is no edition 1 to be corrected"),
        ([released(MARCH)], AGAIN, "f", "s", "edition 2 needs a reason"),
        (
            [released(MARCH), asked(released(MARCH)), released(AGAIN)],
            AGAIN,
            "other",
            "s",
            "its one correction was made already: it stays as it is",
        ),
        (
            [released(MARCH)],
            Unit(mart="fines_by_day", first_day=date(2026, 1, 1), last_day=date(2026, 3, 31)),
            "f",
            "s",
            "has days in common with 2026-03-01 to 2026-03-31",
        ),
        (
            [],
            Unit(mart="plates", first_day=date(2026, 3, 1), last_day=date(2026, 3, 31)),
            "f",
            "s",
            "plates has no share of any budget",
        ),
    ],
)
def test_what_is_refused_is_refused_in_a_sentence(
    lines: list[tuple[str, object]], unit: Unit, fingerprint: str, sha256: str, sentence: str
) -> None:
    with pytest.raises(RefusedError, match=sentence):
        Book(chain(*lines)).is_new(plan(), unit, fingerprint, sha256)


def test_what_is_the_same_is_nothing_new_and_what_is_new_is() -> None:
    book = Book(chain(released(MARCH)))
    assert not book.is_new(plan(), MARCH, "f", "s")
    april = Unit(mart="fines_by_day", first_day=date(2026, 4, 1), last_day=date(2026, 4, 30))
    assert book.is_new(plan(), april, "f", "s")


def test_an_overdraft_is_refused_in_every_month_of_the_unit() -> None:
    """Of a plan that is changed after it was spent from."""
    (unit,) = settling.units(
        "fines_profile", "quarter", DayRange(first_day=date(2026, 3, 1), last_day=date(2026, 3, 1))
    )
    vehicles = plan().budgets["vehicles"].model_copy(update={"limit": plan().marts["fines_by_day"].spends})
    tight = plan().model_copy(update={"budgets": {**plan().budgets, "vehicles": vehicles}})
    assert Book(chain()).is_new(tight, unit, "f", "s")
    with pytest.raises(RefusedError, match=r"vehicles would be overdrawn: .* in 2026-03, and this needs"):
        Book(chain(released(MARCH))).is_new(tight, unit, "f", "s")


def in_epsilon(line: tuple[str, object]) -> tuple[str, object]:
    """A line as versions wrote it that counted in pure differential privacy."""
    kind, body = line
    assert isinstance(body, dict)
    return kind, {**body, "currency": "epsilon", "limit": "1", "spends": "0.37", "mechanism": "laplace"}


def test_a_ledger_in_epsilon_is_read_in_its_own_terms_and_nothing_is_added_to_it() -> None:
    book = Book(chain(in_epsilon(released(MARCH))))
    (account,) = book.accounts()
    assert (account.currency, account.limit, account.spent) == ("epsilon", 1, Fraction("0.37"))
    assert list(_overdrafts(book)) == []
    assert [each.mart for each in book.published()] == [MARCH.mart]
    assert not book.is_new(plan(), MARCH, "f", "s")
    april = Unit(mart="fines_by_month", first_day=date(2026, 4, 1), last_day=date(2026, 4, 30))
    remedy = r"counts in epsilon, .* verifying it\. Begin another lake .* from 2026-04-01 on"
    with pytest.raises(RefusedError, match=remedy):
        book.is_new(plan(), april, "f", "s")
    with pytest.raises(RefusedError, match=remedy):
        book.correctable(MARCH.mart, MARCH.first_day)


def test_corrections_that_wait_count_beside_those_that_were_made() -> None:
    first = released(MARCH)
    share = plan().marts[MARCH.mart].spends
    for lines, committed in (
        ([first], Fraction(0)),
        ([first, asked(first)], share),
        ([first, asked(first), released(AGAIN)], share),
    ):
        assert Book(chain(*lines)).committed_to_corrections(plan(), "vehicles", "2026-03") == committed
    assert Book(chain(first, asked(first))).committed_to_corrections(plan(), "vehicles", "2026-04") == 0


def test_a_withdrawal_gives_nothing_back_and_is_made_once() -> None:
    first = released(MARCH)
    line = withdrawal_line(Book(chain(first)), MARCH.mart, MARCH.first_day, 2, "a mistake")
    book = Book(chain(first, line))
    assert list(book.published()) == []
    assert book.accounts() == Book(chain(first)).accounts()
    assert book.due_edition(MARCH.mart, MARCH.first_day) is None
    with pytest.raises(RefusedError, match="is withdrawn already: a mistake"):
        withdrawal_line(book, MARCH.mart, MARCH.first_day, 3, "again")


def test_late_rows_are_those_told_last() -> None:
    told = [late_line(MARCH.mart, MARCH.first_day, MARCH.last_day, 1, rows) for rows in (3, 12)]
    first = released(MARCH)
    assert [rows for _, rows in Book(chain(first, *told)).late()] == [12]
    assert list(Book(chain(first, *told, asked(first), released(AGAIN))).late()) == []


@given(st.fractions(min_value=0, max_value=2))
def test_amounts_are_written_exactly(amount: Fraction) -> None:
    assert Fraction(exact(amount)) == amount


@given(st.integers(3, 8), st.data())
def test_any_change_to_a_chain_breaks_it(length: int, data: st.DataObject) -> None:
    whole = chain(*(("drill", {"number": number}) for number in range(length)))
    assert list(breaks(whole)) == []
    at = data.draw(st.integers(0, length - 2))
    line = whole[at]
    changed = data.draw(
        st.sampled_from(
            [
                dataclasses.replace(line, body={"number": -1}),
                dataclasses.replace(line, kind="other"),
                dataclasses.replace(line, recorded_at=line.recorded_at - timedelta(microseconds=1)),
                dataclasses.replace(line, previous="1" * 64),
                dataclasses.replace(line, hash="1" * 64),
                Line.after(whole[at - 1] if at else None, line.recorded_at, "drill", {"number": -1}),
                None,
            ]
        )
    )
    assert list(breaks([*whole[:at], *([changed] if changed else []), *whole[at + 1 :]]))
