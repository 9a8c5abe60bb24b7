"""What a delivery's own columns say about values that can be read in two ways.

``1,000`` is one or a thousand, ``10/02/2026`` is in February or in October: nobody can tell from the value. The whole
column can, since whoever exported it wrote all of it alike. So a format says which of its columns hold counts and days
(:class:`ingestion.register.Kind`), and the first such value that a batch meets has the file read once more for the
columns in question. A file without such values is read once, as ever.

Neither is guessed: where the column does not say the same throughout, those values are not accepted. A typing error is
not the column's way: what is outnumbered a hundred to one contradicts nothing, and is rejected by itself.

Here is also what is damaged beyond reading, whatever the rest of the column says: a number that a spreadsheet rounded,
a name that lost its letters. And what rejected records are really: a header, a total, a year of two digits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from threading import Lock

import polars as pl

from ingestion.contracts.checking import no_rejects, reject
from ingestion.formats.format import Kind

MONTH_FIRST = "dates_month_first"
DAY_FIRST = "dates_day_first"
NUMBER_DAMAGED = "number_damaged"
TEXT_DAMAGED = "text_damaged"
HEADER_REPEATED = "header_repeated"
TOTAL_ROW = "total_row"
YEAR_SHORT = "year_of_two_digits"

RULES: Mapping[str, str] = {
    MONTH_FIRST: (
        "Other dates of the column can only be read month first (10/15/2026), and the format is day first: which day "
        "this one means is not known. Export dates as YYYY-MM-DD, or as the format says, and deliver the file again."
    ),
    DAY_FIRST: (
        "Other dates of the column can only be read day first (15/10/2026), and the format is month first: which day "
        "this one means is not known. Export dates as YYYY-MM-DD, or as the format says, and deliver the file again."
    ),
    NUMBER_DAMAGED: (
        "A spreadsheet rewrote the value and lost its digits (7,00E+09): what it was is not known. Export the "
        "column as text from the source system, not from a spreadsheet, and deliver the file again."
    ),
    TEXT_DAMAGED: (
        "The name lost letters in a change of encoding (Fourri?re): taken as it is, it would be one more name. Export "
        "the file again in UTF-8."
    ),
    HEADER_REPEATED: (
        "The row is a header, as files have in the middle that were put together from several. Nothing is lost by it; "
        "deliver each file by itself, or without it."
    ),
    TOTAL_ROW: "The row is a total, no record. Nothing is lost by it; export records only.",
    YEAR_SHORT: (
        "The year is written with two digits, which may be any century's, and is read as no date. Export dates as "
        "YYYY-MM-DD and deliver the row again."
    ),
}
"""What each rule of this module means and what to do about it."""

_OUTNUMBERED = 100
_UNREADABLE = "?"  # to every parser of numbers: the silo's own rule tells of it

_DAMAGED_NUMBER = r"(?i)^\s*[+-]?(?:\d+[.,]\d+E[+-]?\d+|\d+E\+\d+)\s*$|^\s*#+(?:[A-Z/]+[!?])?\s*$"
# the same number, as spreadsheets write it: marked as text, with separators of thousands, with a decimal of nothing;
# a single point or comma may as well tell its two parts apart
_THOUSANDS = r"\d{1,3}(?:[\s\u00a0\u202f\u2009'’]\d{3})+|\d{1,3}(?:,\d{3}){2,}|\d{1,3}(?:\.\d{3}){2,}"
_SAME_NUMBER = rf"^\s*['’`]?\s*(?:{_THOUSANDS}|\d+)(?:[.,]0)?\s*$"
# what names are written with; and what an encoding made of a letter within a word: a capital with an accent, a quote
_NAME = r"""^[\p{Latin}\p{M}\p{Nd}\s'’‘`´"“”«».,;:!?*@(){}\[\]/&+°º#_–—-]*$"""
_BROKEN_NAME = r"\p{Ll}[\p{Lu}--[A-Z]]|[ÃÂ][^\p{L}\s]|[ÃÂ]\s|\p{L}[?“”]\p{L}|\p{Ll}—\p{Ll}"

_TOTAL = r"(?i)^\s*(?:sous[- ]?|grand[- ]|sub)?(?:total|totaux|totals|somme|sum|summe|gesamt|insgesamt)\b"
_SHORT_YEAR = r"^\s*\d{1,2}(?:[/.-]\d{1,2}[/.-]|-[A-Za-z]{3,4}-)\d{2}(?:\D|$)"
_OF_DATES = ("date_unreadable", "date_out_of_range", "release_unreadable", "release_out_of_range")

_FIRST_OVER_12 = r"^\s*(?:1[3-9]|[2-9]\d)/\d"
_SECOND_OVER_12 = r"^\s*\d{1,2}/(?:1[3-9]|[2-9]\d)/"

_SEPARATORS = (",", r"\.", r"[\s\u00a0\u202f\u2009'’]")  # of thousands; the first two of decimals as well
_LONG = r"^\s*[+-]?\d{4,}\s*$"


def _grouped(separator: str) -> str:
    return rf"^\s*[+-]?[1-9]\d{{0,2}}(?:{separator}\d{{3}})+\s*$"


def _decimal(separator: str) -> str:
    return rf"^\s*[+-]?(?:0{separator}|\d*{separator}(?:\d{{1,2}}|\d{{4,}})\s*$|\d{{4,}}{separator})"


class Evidence:
    """What the columns of one delivery say; asked by several threads."""

    def __init__(self, frames: Callable[[], Iterable[pl.DataFrame]], kinds: Mapping[str, Kind]) -> None:
        """``frames`` reads all of the delivery, batch by batch; it is called once for each column that needs it."""
        self._frames = frames
        self._kinds = kinds
        self._known: dict[str, Mapping[str, str | None]] = {}
        self._lock = Lock()

    def judge(self, frame: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
        """``frame`` with its numbers written plainly, without the rows that cannot be read for sure; and their rejects.

        Columns are as delivered, with ``row``.
        """
        found: list[pl.DataFrame] = []
        for column, kind in self._kinds.items():
            if column not in frame.columns:
                continue
            values = frame[column]
            if kind is Kind.COUNT:
                frame = frame.with_columns(self._plain(values))
            else:
                if kind is Kind.NUMBER:
                    frame = frame.with_columns(values := _digits(values))
                found += (
                    reject(frame["row"].filter(doubtful), rule, column) for rule, doubtful in self._doubts(values, kind)
                )
        if not found:
            return frame, no_rejects()
        rejects = pl.concat(found)
        return frame.filter(~pl.col("row").is_in(rejects["row"].implode())), rejects

    def _doubts(self, values: pl.Series, kind: Kind) -> Iterator[tuple[str, pl.Series]]:
        """Rules that values break, and which do."""
        if kind in {Kind.NUMBER, Kind.WRITTEN}:
            if values.str.contains_any(["E", "e", "#"]).any():
                yield from _where(NUMBER_DAMAGED, values.str.contains(_DAMAGED_NUMBER))
        elif kind is Kind.NAME:
            distinct = values.unique().drop_nulls()
            damaged = distinct.filter(~distinct.str.contains(_NAME) | distinct.str.contains(_BROKEN_NAME))
            if not damaged.is_empty():
                yield from _where(TEXT_DAMAGED, values.is_in(damaged.implode()))
        elif values.str.contains("/", literal=True).any():
            rule = self._settled(values.name, self._order)[values.name]
            if rule is not None:
                sure = _FIRST_OVER_12 if kind is Kind.DAY_FIRST else _SECOND_OVER_12
                yield from _where(rule, values.str.contains("/", literal=True) & ~values.str.contains(sure))

    def _plain(self, values: pl.Series) -> pl.Series:
        """Counts without separators of thousands; unreadable where that they are such is not sure."""
        if values.cast(pl.Int64, strict=False).null_count() == values.null_count():
            return values
        separators = {each: values.str.contains(_grouped(each)).fill_null(False) for each in _SEPARATORS}
        if not any(grouped.any() for grouped in separators.values()):
            return values
        meanings = self._settled(values.name, self._meanings)
        for separator, grouped in separators.items():
            if meanings[separator] == "thousands":
                values = values.zip_with(~grouped, values.str.replace_all(separator, ""))
            elif meanings[separator] is None:
                values = values.set(grouped, _UNREADABLE)
        return values

    def _settled(self, column: str, judge: Callable[[str], Mapping[str, str | None]]) -> Mapping[str, str | None]:
        with self._lock:
            if column not in self._known:
                self._known[column] = judge(column)
            return self._known[column]

    def _count(self, column: str, patterns: Iterable[str]) -> list[int]:
        """How many values of the column, in all of the delivery, each of ``patterns`` finds."""
        found = [pl.col(column).str.contains(pattern).sum().alias(str(n)) for n, pattern in enumerate(patterns)]
        counted = [frame.select(found) for frame in self._frames() if column in frame.columns]
        return list(pl.concat(counted).sum().row(0)) if counted else [0 for _ in found]

    def _order(self, column: str) -> Mapping[str, str | None]:
        """The rule that a date breaks which both orders explain: None where the column is as its format says."""
        orders = [_FIRST_OVER_12, _SECOND_OVER_12]
        day_first, month_first = self._count(column, orders)
        if not day_first and not month_first:  # its days are all before the 13th: written as the file's other dates are
            others = [name for name, kind in self._kinds.items() if kind is self._kinds[column] and name != column]
            counted = [self._count(name, orders) for name in others]
            day_first, month_first = (sum(each) for each in zip(*counted, strict=True)) if counted else (0, 0)
        if self._kinds[column] is Kind.DAY_FIRST:
            return {column: MONTH_FIRST if month_first * _OUTNUMBERED > day_first else None}
        return {column: DAY_FIRST if day_first * _OUTNUMBERED > month_first else None}

    def _meanings(self, column: str) -> Mapping[str, str | None]:
        """Of each of :data:`_SEPARATORS`, what it separates before three digits; None where that is not known."""
        patterns = [*map(_grouped, _SEPARATORS), *map(_decimal, _SEPARATORS[:2]), _LONG]
        *grouped, comma, point, plain = self._count(column, patterns)
        decimals = dict(zip(_SEPARATORS, (comma, point, 0), strict=True))
        meanings: dict[str, str | None] = {}
        for separator, found in zip(_SEPARATORS, grouped, strict=True):
            others = sum(grouped) - found
            thousands = (others + decimals[separator] + plain) * _OUTNUMBERED <= found
            decimal = decimals[separator] > 0 and others == 0
            meanings[separator] = "thousands" if thousands else "decimals" if decimal else None
        return meanings


def called_what_they_are(frame: pl.DataFrame, rejects: pl.DataFrame) -> pl.DataFrame:
    """``rejects`` of rows of ``frame``, as delivered, under the rules above where one of them says it better."""
    errors = rejects.filter(pl.col("severity") == "error")["row"]
    rejected = frame.filter(pl.col("row").is_in(errors.implode()))
    told = rejected.select(column for column, kind in frame.schema.items() if kind == pl.String)
    if told.is_empty():
        return rejects
    columns = [pl.col(name) for name in told.columns]
    names = [column.str.strip_chars().str.to_lowercase() == column.meta.output_name().lower() for column in columns]
    is_header = pl.all_horizontal(name.fill_null(True) for name in names) & pl.any_horizontal(names)
    is_total = pl.coalesce(columns).str.contains(_TOTAL)  # said first of all; elsewhere it may be a name
    is_short = pl.any_horizontal(column.str.contains(_SHORT_YEAR) for column in columns)
    found = told.select(
        header=is_header.fill_null(False), total=is_total.fill_null(False), short=is_short.fill_null(False)
    )
    rows = rejected["row"]
    whole = {HEADER_REPEATED: rows.filter(found["header"]), TOTAL_ROW: rows.filter(found["total"] & ~found["header"])}
    better = [reject(of, rule) for rule, of in whole.items() if not of.is_empty()]
    replaced = pl.concat([rows.clear(), *whole.values()]).implode()
    short = pl.col("row").is_in(rows.filter(found["short"]).implode()) & pl.col("rule").is_in(_OF_DATES)
    others = rejects.filter(~pl.col("row").is_in(replaced)).with_columns(
        rule=pl.when(short).then(pl.lit(YEAR_SHORT)).otherwise("rule")
    )
    return pl.concat([others.unique(maintain_order=True), *better])


def _digits(values: pl.Series) -> pl.Series:
    """Numbers that identify something by their digits alone, where nothing else was added to them."""
    if values.cast(pl.Int64, strict=False).null_count() == values.null_count():
        return values
    same = values.str.contains(_SAME_NUMBER)
    return values.zip_with(~same.fill_null(False), values.str.replace(r"[.,]0\s*$", "").str.replace_all(r"\D", ""))


def _where(rule: str, doubtful: pl.Series) -> Iterator[tuple[str, pl.Series]]:
    if doubtful.any():
        yield rule, doubtful.fill_null(False)
