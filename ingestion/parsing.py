"""Text to values: the parsers that the silos share. Vectorised; nothing here raises on a bad value.

A blank is null. What cannot be read is a value that no contract accepts (NaN, -1), or null where a blank would be just
as wrong, so that the rule that rejects it can tell the two apart when it matters.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import polars as pl

UNREADABLE = -1
"""What :func:`second_of_day` gives for a text that is no time of day."""

UNKNOWN_COORDINATES = (0.0, 99_999.0, 999_999.0, 9_999_999.0, -99_999.0, -999_999.0, -9_999_999.0)
"""What devices write for a coordinate they do not know."""

_OFFSET_FORMATS = ("%Y-%m-%dT%H:%M:%S%z", "%Y-%m-%dT%H:%M%z", "%Y-%m-%d %H:%M:%S %z", "%Y-%m-%d %H:%M:%S%z")
_SEPARATORS = [*" -._/*'\t", "\u00a0", "\u00b7", "\u2010", "\u2011", "\u2012", "\u2013", "\u2014", "\u202f"]
_NO_PLATE = [
    "NONE", "NULL", "NA", "UNKNOWN", "NOPLATE", "NOPLATES", "INCONNU", "INCONNUE", "SANS", "SANSPLAQUE", "SANSPLAQUES",
    "SANSIMMATRICULATION", "NEANT", "NONIMMATRICULE", "ILLISIBLE",
]  # fmt: skip


def text(column: str) -> pl.Expr:
    """The column without the blanks around its values; null when nothing is left."""
    stripped = pl.col(column).str.strip_chars()
    return pl.when(stripped != "").then(stripped)


def number(value: pl.Expr) -> pl.Expr:
    """Float64 from a decimal point or comma; null where blank, NaN where the text is no number."""
    parsed = value.str.replace(",", ".", literal=True).cast(pl.Float64, strict=False)
    return pl.when(value.is_not_null()).then(parsed.fill_null(float("nan")))


def coordinate(column: str) -> pl.Expr:
    """Float64; null where blank or one of the numbers that stand for unknown, NaN where it is no number."""
    return number(text(column)).replace(UNKNOWN_COORDINATES, None)  # half the time of `is_in`


def place() -> tuple[pl.Expr, pl.Expr]:
    """Both of ``lon`` and ``lat``, or neither: a point of which half is unknown is unknown."""
    known = pl.col("lon").is_not_null() & pl.col("lat").is_not_null()
    return pl.when(known).then("lon"), pl.when(known).then("lat")


def whole(value: pl.Expr) -> pl.Expr:
    """Int64; null where the text is blank or no whole number. ``12.0`` is a whole number, ``12.5`` is not."""
    return value.str.replace(r"[.,]0+$", "").cast(pl.Int64, strict=False)


def day(value: pl.Expr, *formats: str) -> pl.Expr:
    """Date, from the first of ``formats`` (strptime) that explains the text; null where none does."""
    return pl.coalesce(value.str.to_date(layout, strict=False) for layout in formats)


def second_of_day(value: pl.Expr) -> pl.Expr:
    """Seconds since midnight (Int32) from ``HH:MM`` or ``HH:MM:SS`` with or without a fraction of a second.

    Null where blank, :data:`UNREADABLE` where the text is no time of day.
    """
    # A day has few distinct seconds: to parse each once is three times as fast.
    return value.map_batches(lambda times: by_distinct(times, _seconds), return_dtype=pl.Int32)


def _seconds(times: pl.Series) -> pl.Series:
    spelled = [times.str.to_time(layout, strict=False) for layout in ("%H:%M:%S%.f", "%H:%M")]
    nanoseconds = pl.select(pl.coalesce(spelled).cast(pl.Int64))
    return (nanoseconds.to_series() // 1_000_000_000).cast(pl.Int32).fill_null(UNREADABLE)


def second_of_day_hhmm(value: pl.Expr) -> pl.Expr:
    """Seconds since midnight (Int32) from ``HHMM`` written as a number, without leading zeros: ``5`` is 00:05.

    Null where blank, :data:`UNREADABLE` where the text is no time of day.
    """
    number = whole(value)
    hours, minutes = number // 100, number % 100
    valid = hours.is_between(0, 23) & minutes.is_between(0, 59)
    seconds = pl.when(valid).then(hours * 3600 + minutes * 60).otherwise(UNREADABLE)
    return pl.when(value.is_not_null()).then(seconds.cast(pl.Int32))


def local_day(value: pl.Expr) -> pl.Expr:
    """The day (Date) of a local date and time that begins ``YYYY-MM-DD`` or ``DD/MM/YYYY``; null where it does not."""
    return day(value.str.slice(0, 10), "%Y-%m-%d", "%d/%m/%Y")


def local_second(value: pl.Expr, readable_day: pl.Expr) -> pl.Expr:
    """The time of a local date and time, see :func:`second_of_day`: what follows the day and a blank or ``T``.

    Null where nothing does, or where ``readable_day``, the :func:`local_day` of the same value, is null.
    """
    time = value.str.slice(11)
    return second_of_day(pl.when((time != "") & readable_day.is_not_null()).then(time))


def local_moment(day_column: str, second_column: str) -> pl.Expr:
    """Naive datetime of a Date column and a column of seconds since midnight; null where either is."""
    return pl.col(day_column).cast(pl.Datetime("us")) + pl.duration(seconds=second_column, time_unit="us")


def instant(value: pl.Expr) -> pl.Expr:
    """Datetime in UTC from ISO 8601 with a UTC offset (``Z``, ``+02:00``, ``+0200``); null where it is not that."""
    # The records of a delivery share few instants.
    return value.map_batches(lambda texts: by_distinct(texts, _instants), return_dtype=pl.Datetime("us", "UTC"))


def _instants(texts: pl.Series) -> pl.Series:
    spelled = texts.str.replace("Z$", "+00:00")
    parsed = [
        spelled.str.to_datetime(layout, time_unit="us", strict=False).dt.convert_time_zone("UTC")
        for layout in _OFFSET_FORMATS
    ]
    return pl.select(pl.coalesce(parsed)).to_series()


def plate(value: pl.Expr) -> pl.Expr:
    """A registration plate as it is pseudonymised: upper case, without separators; null for what is no plate.

    Separators and case are the only differences it removes: ``O`` and ``0`` stay what they are.
    """
    letters = value.str.to_uppercase().str.replace_many(_SEPARATORS, [""])
    is_plate = (letters.str.strip_chars("0X") != "") & ~letters.is_in(_NO_PLATE)
    return pl.when(is_plate).then(letters)


def unusual_plate(plates: pl.Expr, patterns: Sequence[str]) -> pl.Expr:
    """True where a plate (see :func:`plate`) is of none of the patterns; no plate is unusual where none is given."""
    return ~plates.str.contains(f"^(?:{'|'.join(patterns)})$") if patterns else pl.lit(False)


def label(values: pl.Series) -> pl.Series:
    """Lower-case ASCII words joined by underscores: ``Stationnement gênant`` becomes ``stationnement_genant``.

    Null where no letter or digit is left. Meant for columns of few distinct values.
    """
    return by_distinct(
        values,
        lambda distinct: (
            distinct.str.normalize("NFKD")
            .str.replace_all(r"\p{M}", "")
            .str.to_lowercase()
            .str.replace_all(r"[^a-z0-9]+", "_")
            .str.strip_chars("_")
            .replace("", None)
        ),
    )


def by_distinct(values: pl.Series, function: Callable[[pl.Series], pl.Series]) -> pl.Series:
    """``function(values)``, worked out once per distinct value; null stays null."""
    distinct = values.drop_nulls().unique()
    results = function(distinct)
    return values.replace_strict(distinct, results, default=None, return_dtype=results.dtype)


def first_rule(broken: Mapping[str, pl.Expr]) -> pl.Expr:
    """The name of the first rule whose condition holds, in the order given; null when none does."""
    named = (pl.when(condition).then(pl.lit(rule)) for rule, condition in broken.items())
    return pl.coalesce(pl.lit(None, pl.String), *named)
