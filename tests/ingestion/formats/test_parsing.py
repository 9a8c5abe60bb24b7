"""Parsers: what is written in any accepted way is read as meant, and nothing whatever makes them fail."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime, time, timedelta, timezone
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingestion.formats import parsing

TEXTS = st.text(max_size=30)
DAYS = st.dates(date(1900, 1, 1), date(2100, 12, 31))


def parse(expression: pl.Expr, *values: str | None) -> list[Any]:
    return pl.DataFrame({"value": values}, {"value": pl.String}).select(expression).to_series().to_list()


def local_times(*values: str | None) -> list[tuple[date | None, int | None]]:
    return [(told["day"], told["second"]) for told in parse(parsing.local_time(VALUE), *values)]


VALUE = pl.col("value")
PARSERS = [
    parsing.text("value"),
    parsing.number(parsing.text("value")),
    parsing.coordinate("value"),
    parsing.whole(parsing.text("value")),
    parsing.day(VALUE, "%Y-%m-%d", "%d/%m/%Y"),
    parsing.second_of_day_hhmm(VALUE),
    parsing.local_time(VALUE),
    parsing.instant(VALUE),
    parsing.plate(VALUE),
]


@given(st.lists(st.none() | TEXTS | st.text("0123456789-/:T .,+Z", max_size=30), max_size=20))
def test_no_text_makes_a_parser_fail(values: list[str | None]) -> None:
    for parser in PARSERS:
        assert len(parse(parser, *values)) == len(values)
    assert len(parsing.label(pl.Series(values, dtype=pl.String))) == len(values)


@given(DAYS, st.times())
def test_local_times_in_every_spelling(day: date, moment: time) -> None:
    seconds = moment.hour * 3600 + moment.minute * 60
    spelled = [f"{day} {moment:%H:%M}", f"{day}T{moment:%H:%M}", f"{day:%d/%m/%Y} {moment:%H:%M}"]
    exact = [f"{day} {moment:%H:%M:%S}", f"{day}T{moment:%H:%M:%S.%f}", f"{day:%d/%m/%Y} {moment:%H:%M:%S}"]
    told = [(day, seconds)] * 3 + [(day, seconds + moment.second)] * 3
    assert local_times(*spelled, *exact) == told
    assert [local_times(each) for each in (*spelled, *exact)] == [[each] for each in told]
    assert local_times(f"{day}", "10 mars 2025 12:00", None) == [(day, None), (None, None), (None, None)]


@given(st.lists(st.none() | st.from_regex(r"\A[12][0-9]{3}-[01][0-9]-[0-3][0-9] [0-2][0-9]:[0-6][0-9]:[0-6][0-9]\Z")))
def test_local_times_are_the_same_alone_and_among_others(values: list[str | None]) -> None:
    """All are read at once when all are written in the usual way, and otherwise day by day and time by time."""
    assert local_times(*values) == local_times(*values, "31/12/2024 7:05")[:-1]


@given(st.times())
def test_hhmm_without_leading_zeros(moment: time) -> None:
    written = str(moment.hour * 100 + moment.minute)
    assert parse(parsing.second_of_day_hhmm(VALUE), written) == [moment.hour * 3600 + moment.minute * 60]


@pytest.mark.parametrize("value", ["24:00", "12:60", "noon", "12", "12:0x", "-1:00", "12:00:00 PM"])
def test_what_is_no_time_is_told_from_a_blank(value: str) -> None:
    day = date(2025, 3, 10)
    assert local_times(f"{day} {value}", f"{day}") == [(day, parsing.UNREADABLE), (day, None)]


@pytest.mark.parametrize("value", ["2400", "1260", "-5", "12h", "1e3", "99999999999999999999"])
def test_what_is_no_hhmm_is_told_from_a_blank(value: str) -> None:
    assert parse(parsing.second_of_day_hhmm(VALUE), value, None) == [parsing.UNREADABLE, None]


@given(st.datetimes(*(datetime.fromisoformat(f"{year}-01-01") for year in (2000, 2100))), st.integers(-56, 56))
def test_instants_with_an_offset(local: datetime, quarters: int) -> None:
    local = local.replace(microsecond=0)
    told = local.replace(tzinfo=timezone(timedelta(minutes=15 * quarters)))
    offset = told.strftime("%z")
    spelled = [
        told.isoformat(),
        f"{local:%Y-%m-%dT%H:%M:%S}{offset}",
        f"{local:%Y-%m-%d %H:%M:%S} {offset}",
        f"{told.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}",
        f"{told.astimezone(UTC):%Y-%m-%dT%H:%M:%S.000z}",
        f"{told.astimezone(UTC):%Y-%m-%d %H:%M:%S UTC}",
        f" {local:%Y-%m-%dT%H:%M:%S.000000}{told.isoformat()[19:]} ",
        *([f"{local:%Y-%m-%dT%H:%M:%S}{offset[:3]}"] if offset.endswith("00") else []),
    ]
    assert parse(parsing.instant(VALUE), *spelled) == [told.astimezone(UTC)] * len(spelled)
    known = parse(parsing.local_time(VALUE), *(text.strip() for text in spelled))
    assert {each["at"] for each in known} == {told.astimezone(UTC)}


def test_a_time_without_an_offset_is_no_instant() -> None:
    assert parse(parsing.instant(VALUE), "2025-03-10T14:00:00", "2025-03-10", "2025-03-10T14-00", "") == [None] * 4
    assert [told["at"] for told in parse(parsing.local_time(VALUE), "2025-03-10T14:00:00", "10/03/2025")] == [None] * 2


@pytest.mark.parametrize("offset", ["+99:00", "+2", "+0260", "CET"])
def test_an_offset_that_is_none_makes_a_time_unreadable(offset: str) -> None:
    (told,) = parse(parsing.local_time(VALUE), f"2025-03-10T14:00:00{offset}")
    assert (told["second"], told["at"]) == (parsing.UNREADABLE, None)


@given(st.floats(-1e9, 1e9).map(lambda value: round(value, 6)))
def test_numbers_with_a_point_or_a_comma(value: float) -> None:
    written = f"{value:.6f}"
    assert parse(parsing.number(VALUE), written, written.replace(".", ",")) == [pytest.approx(value, abs=1e-6)] * 2


def test_what_is_no_number_is_told_from_a_blank() -> None:
    unreadable, blank = parse(parsing.number(parsing.text("value")), "1.2.3", "  ")
    assert math.isnan(unreadable)
    assert blank is None


@pytest.mark.parametrize(
    "written", ["0", "0.000000", "-0", "99999", "99999.0", "99999,00", "999999", "-99999", " ", ""]
)
def test_coordinates_that_mean_unknown(written: str) -> None:
    assert parse(parsing.coordinate("value"), written) == [None]


@given(st.floats(-180, 180).filter(lambda degrees: abs(degrees) > 1e-6))
def test_other_coordinates_are_kept(degrees: float) -> None:
    assert parse(parsing.coordinate("value"), f"{degrees:.9f}") == [pytest.approx(degrees, abs=1e-9)]


@given(st.lists(st.none() | st.integers().map(str) | st.from_regex(r"\A *-?[0-9]{1,3}([.,][0-9]{0,2})? *\Z")))
def test_numbers_are_the_same_alone_and_among_others(values: list[str | None]) -> None:
    """All are read at once when all are plain, and otherwise with care."""
    for parser, awkward in ((parsing.number(VALUE), " 1,5 "), (parsing.whole(VALUE), " 12,0 ")):
        assert str(parse(parser, *values)) == str(parse(parser, *values, awkward)[:-1])


@given(st.integers(-(2**62), 2**62))
def test_whole_numbers(value: int) -> None:
    assert parse(parsing.whole(VALUE), str(value), f"{value}.0", f"{value},00") == [value] * 3
    assert parse(parsing.whole(VALUE), f"{value}.5", "1e3", "0x10", "", None) == [None] * 5
    assert parse(parsing.whole(VALUE), "1,000", "2.000", "1 000", "12.000,0") == [None] * 4


PLATES = st.from_regex(r"\A[A-Z]{2}[0-9]{3}[A-Z]{2}\Z") | st.from_regex(r"\A[0-9]{1,4}[A-Z]{1,3}(13|2A|75)\Z")


@given(PLATES.filter(lambda plate: plate.strip("0X")), st.lists(st.sampled_from([*" -._/·–\t\u00a0", ""]), min_size=9))
def test_spellings_of_a_plate_are_one(plate: str, separators: list[str]) -> None:
    spelled = "".join(
        letter + separator for letter, separator in zip(plate.lower(), separators * len(plate), strict=False)
    )
    assert parse(parsing.plate(VALUE), plate, spelled, f" {plate} ") == [plate] * 3


def test_letters_and_digits_that_look_alike_stay_apart() -> None:
    plates = ["AO-001-AA", "A0-001-AA", "AI-001-AA", "A1-001-AA", "BB-001-AA", "8B-001-AA"]
    assert len(set(parse(parsing.plate(VALUE), *plates))) == len(plates)


@pytest.mark.parametrize("written", ["", " - ", "0000", "XXXXXX", "sans plaque", "NONE", "n/a", "Inconnu", "XX-000-XX"])
def test_no_plate(written: str) -> None:
    assert parse(parsing.plate(VALUE), written) == [None]


@given(TEXTS)
def test_labels_are_plain_words(value: str) -> None:
    (label,) = parsing.label(pl.Series([value]))
    assert label is None or (label.isascii() and label == label.lower() and label.strip("_") == label != "")
    assert parsing.label(pl.Series([label], dtype=pl.String)).to_list() == [label]


def test_labels_forget_accents_case_and_blanks() -> None:
    spellings = ["Stationnement gênant", "STATIONNEMENT  GENANT", "stationnement_gênant", " Stationnement-Gênant. "]
    assert set(parsing.label(pl.Series(spellings))) == {"stationnement_genant"}


def test_the_first_rule_that_holds_is_named() -> None:
    broken = parsing.first_rule({"negative": VALUE.cast(pl.Int64) < 0, "odd": VALUE.cast(pl.Int64) % 2 != 0})
    assert parse(broken, "-1", "3", "4", None) == ["negative", "odd", None, None]


def test_a_plate_is_unusual_where_no_pattern_of_the_city_is_the_whole_of_it() -> None:
    patterns = ("[A-Z]{2}[0-9]{3}[A-Z]{2}", "[0-9]{1,4}[A-Z]{2}13")
    plates = ("AA001AA", "12AB13", "AA001AAA", "XAA001AA", None)
    assert parse(parsing.unusual_plate(VALUE, patterns), *plates) == [False, False, True, True, None]
    assert parse(VALUE.is_null() & parsing.unusual_plate(VALUE, ()), "AA001AA") == [False]
