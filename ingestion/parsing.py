"""Text to values: the parsers that the silos share. Vectorised; nothing here raises on a bad value.

A blank is null. What cannot be read is a value that no contract accepts (NaN, -1), or null where a blank would be just
as wrong, so that the rule that rejects it can tell the two apart when it matters.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import polars as pl

UNREADABLE = -1
"""What :func:`second_of_day` gives for a text that is no time of day."""

_OFFSET_FORMATS = ("%Y-%m-%dT%H:%M:%S%z", "%Y-%m-%dT%H:%M%z", "%Y-%m-%d %H:%M:%S %z", "%Y-%m-%d %H:%M:%S%z")
_NO_PLATE = (
    r"^(0+|X+|NONE|NULL|NA|UNKNOWN|NOPLATES?|INCONNUE?|SANS|SANSPLAQUES?|SANSIMMATRICULATION|NEANT|NONIMMATRICULE|"
    r"ILLISIBLE)$"
)


def text(column: str) -> pl.Expr:
    """The column without the blanks around its values; null when nothing is left."""
    stripped = pl.col(column).str.strip_chars()
    return pl.when(stripped != "").then(stripped)


def number(value: pl.Expr) -> pl.Expr:
    """Float64 from a decimal point or comma; null where blank, NaN where the text is no number."""
    parsed = value.str.replace(",", ".", literal=True).cast(pl.Float64, strict=False)
    return pl.when(value.is_not_null()).then(parsed.fill_null(float("nan")))


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
    hours, minutes = (value.str.slice(offset, 2).cast(pl.Int32, strict=False) for offset in (0, 3))
    seconds = value.str.slice(6, 2).cast(pl.Int32, strict=False).fill_null(0)
    shaped = value.str.contains(r"^\d\d:\d\d(:\d\d(\.\d+)?)?$")
    return _time_of_day(value, shaped, hours, minutes, seconds)


def second_of_day_hhmm(value: pl.Expr) -> pl.Expr:
    """Seconds since midnight (Int32) from ``HHMM`` written as a number, without leading zeros: ``5`` is 00:05.

    Null where blank, :data:`UNREADABLE` where the text is no time of day.
    """
    parsed = value.str.replace(r"\.0$", "").cast(pl.Int32, strict=False)
    return _time_of_day(value, parsed.is_not_null() & (parsed >= 0), parsed // 100, parsed % 100, pl.lit(0, pl.Int32))


def _time_of_day(value: pl.Expr, shaped: pl.Expr, hours: pl.Expr, minutes: pl.Expr, seconds: pl.Expr) -> pl.Expr:
    valid = shaped & (hours < 24) & (minutes < 60) & (seconds < 60)
    return (
        pl.when(value.is_null())
        .then(None)
        .when(valid)
        .then(hours * 3600 + minutes * 60 + seconds)
        .otherwise(UNREADABLE)
        .cast(pl.Int32)
    )


def instant(value: pl.Expr) -> pl.Expr:
    """Datetime in UTC from ISO 8601 with a UTC offset (``Z``, ``+02:00``, ``+0200``); null where it is not that."""
    offset_spelled = value.str.replace("Z$", "+00:00")
    return pl.coalesce(
        offset_spelled.str.to_datetime(layout, time_unit="us", strict=False).dt.convert_time_zone("UTC")
        for layout in _OFFSET_FORMATS
    )


def plate(value: pl.Expr) -> pl.Expr:
    """A registration plate as it is pseudonymised: letters and digits only, upper case; null for what is no plate.

    Separators and case are the only differences it removes: ``O`` and ``0`` stay what they are.
    """
    letters = value.str.to_uppercase().str.replace_all(r"[^\p{L}\p{N}]", "")
    return pl.when((letters != "") & ~letters.str.contains(_NO_PLATE)).then(letters)


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
