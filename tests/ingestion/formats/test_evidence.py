"""Values that can be read in two ways are judged by their column, in the whole file, and never guessed alone."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingestion.contracts.checking import REJECTS, no_rejects, reject
from ingestion.formats.evidence import RULES, Evidence, called_what_they_are
from ingestion.formats.format import Kind


def judged(
    values: Sequence[str | None], kind: Kind, batch_rows: int = 1000
) -> tuple[dict[int, str | None], dict[int, str]]:
    """By row, what is left of each value, and the rule of each that is rejected; the same whatever the batches."""
    frame = pl.DataFrame(
        {"row": range(1, len(values) + 1), "value": values}, schema={"row": pl.Int64, "value": pl.String}
    )
    batches = list(frame.iter_slices(batch_rows))
    evidence = Evidence(lambda: batches, {"value": kind})
    left: dict[int, str | None] = {}
    rejected: dict[int, str] = {}
    for batch in batches:
        good, rejects = evidence.judge(batch)
        assert rejects.schema == REJECTS
        assert set(rejects["rule"]) <= set(RULES)
        left.update(good.rows())
        rejected.update(rejects.select("row", "rule").rows())
    assert left.keys() | rejected.keys() == set(frame["row"])
    assert not left.keys() & rejected.keys()
    return left, rejected


def counts(*values: str) -> list[str | None]:
    return list(judged(values, Kind.COUNT)[0].values())


SEPARATORS = [",", ".", " ", "\u00a0", "\u202f", "\u2019"]


@given(
    st.lists(st.integers(0, 10**9), min_size=1, max_size=20), st.sampled_from(SEPARATORS), st.sampled_from([1, 3, 1000])
)
def test_counts_of_which_all_have_the_same_separator_are_read(numbers: list[int], separator: str, rows: int) -> None:
    written = [f"{number:,}".replace(",", separator) for number in numbers]
    left, rejected = judged(written, Kind.COUNT, rows)
    assert ([*left.values()], rejected) == ([str(number) for number in numbers], {})


@pytest.mark.parametrize(
    ("values", "left"),
    [
        (["1,000", "2.000", "1 000", "12"], ["?", "?", "?", "12"]),  # more than one separator
        (["1,000", "1234"], ["?", "1234"]),  # not all have it
        (["1,000", "12.5", "7"], ["1000", "12.5", "7"]),  # as in English
        (["0", "1,000"], ["0", "1000"]),
        (["0.500", "2.000", "12.5"], ["0.500", "2.000", "12.5"]),  # decimals: the silo's own rules judge them
        (["900,5", "10,000"], ["900,5", "10,000"]),
        (["1,000", "1,00", "2.000"], ["?", "1,00", "?"]),
        (["12.0", "7.00"], ["12.0", "7.00"]),
        (["1,000,000", "12"], ["1000000", "12"]),
        (["-1 000"], ["-1000"]),
        (["many", "1,000"], ["many", "1000"]),
    ],
)
def test_a_count_is_not_read_where_the_column_does_not_settle_what_the_separator_is(
    values: list[str], left: list[str]
) -> None:
    assert counts(*values) == left


def test_a_typing_error_is_not_the_way_of_the_column() -> None:
    many = ["1,000"] * 200
    assert counts(*many, "2.000", "12") == ["1000"] * 200 + ["?", "12"]
    assert counts(*many, *["2.000"] * 3) == ["?"] * 203
    days = ["15/10/2026"] * 200 + ["10/02/2026"]
    assert judged([*days, "10/15/2026"], Kind.DAY_FIRST)[1] == {}
    assert len(judged([*days, *["10/15/2026"] * 3], Kind.DAY_FIRST)[1]) == 4


DAY = st.dates().map(lambda day: (day.day, day.month, f"{day.year:04}"))


@given(st.lists(DAY, min_size=1, max_size=12), st.sampled_from([1, 4, 1000]))
def test_a_column_written_the_other_way_round_gives_no_date_that_can_be_read_both_ways(
    days: list[tuple[int, int, str]], rows: int
) -> None:
    for kind, as_declared, other_way, rule in (
        (Kind.DAY_FIRST, "{0:02}/{1:02}/{2} 14:05", "{1:02}/{0:02}/{2} 14:05", "dates_month_first"),
        (Kind.MONTH_FIRST, "{1:02}/{0:02}/{2}", "{0:02}/{1:02}/{2}", "dates_day_first"),
    ):
        declared = [as_declared.format(*day) for day in days]
        assert judged(declared, kind, rows) == (dict(enumerate(declared, 1)), {})
        reversed_days = [other_way.format(*day) for day in days]
        _, rejected = judged(reversed_days, kind, rows)
        tells = any(day > 12 for day, _, _ in days)
        assert rejected == (dict.fromkeys(range(1, len(days) + 1), rule) if tells else {})


def test_dates_that_can_be_read_one_way_only_stay_in_a_mixed_column() -> None:
    left, rejected = judged(["2026-10-12", "15/10/2026", "10/15/2026", "10/02/2026", None], Kind.DAY_FIRST, 2)
    assert list(left) == [1, 2, 5]
    assert rejected == {3: "dates_month_first", 4: "dates_month_first"}


def test_dates_that_tell_nothing_themselves_are_written_as_the_other_dates_of_the_file() -> None:
    frame = pl.DataFrame({"row": [1, 2, 3], "removed": ["10/02/2026"] * 3, "released": ["10/15/2026", None, None]})
    evidence = Evidence(lambda: [frame], {"removed": Kind.DAY_FIRST, "released": Kind.DAY_FIRST})
    good, rejects = evidence.judge(frame)
    assert good.is_empty()
    assert set(rejects["rule"]) == {"dates_month_first"}
    told = frame.with_columns(removed=pl.Series(["10/02/2026", "13/02/2026", "14/02/2026"]))
    evidence = Evidence(lambda: [told], {"removed": Kind.DAY_FIRST, "released": Kind.DAY_FIRST})
    assert evidence.judge(told)[0]["row"].to_list() == [2, 3]  # of the first row the other date is the other way round


@pytest.mark.parametrize("kind", [Kind.NUMBER, Kind.WRITTEN])
@pytest.mark.parametrize(
    "value",
    [
        *("7,00E+09", "7.00E+09", " 2e+09 ", "-1,5E+03", "########", "#REF!", "#VALEUR!"),
        *("2.03E9", "2,03E09", "70,0E+08", "1,32E-06"),
    ],
)
def test_a_number_that_a_spreadsheet_rewrote_is_damaged(value: str, kind: Kind) -> None:
    assert judged([value, "7000000115"], kind) == ({2: "7000000115"}, {1: "number_damaged"})


@pytest.mark.parametrize("kind", [Kind.NUMBER, Kind.WRITTEN])
@pytest.mark.parametrize(
    "value", ["7000000115", "2025-000001", "E+12", "A#1", "1E5", "12E34", "5.38", "26.001", "", None]
)
def test_other_numbers_are_not(value: str | None, kind: Kind) -> None:
    assert judged([value], kind) == ({1: value}, {})


@given(
    st.integers(1, 10**12),
    st.sampled_from(["{:,}", "'{}", "{}.0", "{},0", " {} "]),
    st.sampled_from(" \u00a0\u202f’"),
)
def test_a_number_that_a_spreadsheet_only_dressed_up_is_that_number(number: int, form: str, separator: str) -> None:
    written = form.format(number).replace(",", separator) if form == "{:,}" else form.format(number)
    assert judged([written, "F-1"], Kind.NUMBER) == ({1: str(number), 2: "F-1"}, {})


def test_a_coordinate_is_left_as_it_is() -> None:
    assert judged(["5.0", "43,300"], Kind.WRITTEN) == ({1: "5.0", 2: "43,300"}, {})


@pytest.mark.parametrize(
    "value",
    [
        *("Fourri\ufffdre Nord", "Fourri?re Nord", "FourriÃ¨re Nord", "Fourri\x8are", "FourriŠre", "Fourri‚re"),
        *("DÃ©pÃ´t", "Â Nord", "P\u0420\u00b5", "D“p“t", "o—ù"),
    ],
)
def test_a_name_that_lost_letters_is_damaged(value: str) -> None:
    assert judged([value, "Fourrière Nord"], Kind.NAME) == ({2: "Fourrière Nord"}, {1: "text_damaged"})


@pytest.mark.parametrize(
    "name",
    [
        *("FOURRIÈRE NORD", "Dépôt n° 2 (Sud)", "L'Île-d'Aix", "Saint-Éloi", "Œuvre & Cie.", "01 99 00 00 00"),
        *("", None),
        *("Pré-fourrière “Prado”", "Nord—Sud", "Dépôt 4 [annexe]", "Nord @ Est", "L´Estaque", "Dépôt 24h*", "« Sud »"),
    ],
)
def test_other_names_are_not(name: str | None) -> None:
    assert judged([name], Kind.NAME)[1] == {}


@given(st.sampled_from(Kind), st.lists(st.none() | st.text(max_size=12) | st.text("0123456789,. /E+#Ã?", max_size=12)))
def test_no_text_makes_a_judgement_fail(kind: Kind, values: list[str | None]) -> None:
    judged(values, kind, 3)


def test_a_file_that_leaves_no_doubt_is_not_read_again() -> None:
    def again() -> list[pl.DataFrame]:
        raise AssertionError("read again")

    frame = pl.DataFrame({"row": [1, 2], "day": ["2026-10-12 14:05:00", None], "count": ["12", "12.0"]})
    evidence = Evidence(again, {"day": Kind.DAY_FIRST, "count": Kind.COUNT})
    assert evidence.judge(frame)[0].equals(frame)


def renamed(frame: pl.DataFrame, *rejects: pl.DataFrame) -> list[tuple[object, ...]]:
    found = called_what_they_are(frame, pl.concat([no_rejects(), *rejects]))
    return found.select("row", "rule").sort("row", "rule").rows()


def test_rejected_rows_are_called_what_they_are() -> None:
    frame = pl.DataFrame(
        {
            "row": range(1, 8),
            "numero": ["NUMERO ", "Total", "3", "4", "5", "Total", "numero"],
            "date": ["date", None, "12/10/26 14:05", "x", "12-10-26", "2026-10-12", "2026-10-12"],
        }
    )
    rows = pl.Series([1, 2, 3, 4, 5, 7])
    broken = [
        reject(rows, "date_unreadable", "date"),
        reject(rows, "place_missing"),
        reject(rows, "odd", None, "warning"),
    ]
    assert renamed(frame, *broken) == [
        (1, "header_repeated"),
        (2, "total_row"),
        *((3, rule) for rule in ("odd", "place_missing", "year_of_two_digits")),
        *((4, rule) for rule in ("date_unreadable", "odd", "place_missing")),
        *((5, rule) for rule in ("odd", "place_missing", "year_of_two_digits")),
        *((7, rule) for rule in ("date_unreadable", "odd", "place_missing")),
    ]
    assert renamed(frame) == []


def test_a_name_that_begins_like_a_total_is_none() -> None:
    frame = pl.DataFrame({"row": [1, 2], "numero": ["1", None], "depot": ["Total Energies depot", "Total"]})
    broken = reject(pl.Series([1, 2]), "date_unreadable", "date")
    assert renamed(frame, broken) == [(1, "date_unreadable"), (2, "total_row")]
