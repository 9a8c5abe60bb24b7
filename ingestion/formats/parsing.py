"""Text to values: the parsers that the silos share. Vectorised; nothing here raises on a bad value.

A blank is null. What cannot be read is a value that no contract accepts (NaN, -1), or null where a blank would be just
as wrong, so that the rule that rejects it can tell the two apart when it matters.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import polars as pl

from infra.calendar.clock import local, local_date, local_hour

UNREADABLE = -1
"""What :func:`local_time` gives for a text that is no time of day."""

UNKNOWN_COORDINATES = (0.0, 99_999.0, 999_999.0, 9_999_999.0, -99_999.0, -999_999.0, -9_999_999.0)
"""What devices write for a coordinate they do not know."""

_SECONDS_OF_A_DAY = 86_400
_LOCAL_TIME = pl.Struct({"day": pl.Date, "second": pl.Int32, "at": pl.Datetime("us", "UTC")})
_USUAL_LOCAL_TIME = "^[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-5][0-9]:[0-5][0-9]$"

_OFFSET = r"(?:Z|UTC|GMT|[+-]\d\d(?::?\d\d)?)$"
_OFFSET_FORMATS = ("%Y-%m-%d %H:%M:%S%.f%z", "%Y-%m-%d %H:%M%z")
_SEPARATORS = [*" -._/*'\t", "\u00a0", "\u00b7", "\u2010", "\u2011", "\u2012", "\u2013", "\u2014", "\u202f"]
_NO_PLATE = [
    "NONE", "NULL", "NA", "UNKNOWN", "NOPLATE", "NOPLATES", "INCONNU", "INCONNUE", "SANS", "SANSPLAQUE", "SANSPLAQUES",
    "SANSIMMATRICULATION", "NEANT", "NONIMMATRICULE", "ILLISIBLE",
]  # fmt: skip


def text(column: str) -> pl.Expr:
    """The column without the blanks around its values; null when nothing is left."""
    return pl.col(column).map_batches(_stripped, return_dtype=pl.String)


def _stripped(values: pl.Series) -> pl.Series:
    stripped = values.str.strip_chars()
    blank = stripped == ""
    return stripped.set(blank, None) if blank.any() else stripped


def number(value: pl.Expr) -> pl.Expr:
    """Float64 from a decimal point or comma, blanks around it or not; null where blank, NaN where it is no number."""
    return value.map_batches(_numbers, return_dtype=pl.Float64)


def _numbers(values: pl.Series) -> pl.Series:
    plain = values.cast(pl.Float64, strict=False)
    if plain.null_count() == values.null_count():
        return plain
    texts = _stripped(values)
    numbers = texts.str.replace(",", ".", literal=True).cast(pl.Float64, strict=False)
    return numbers.set(numbers.is_null() & texts.is_not_null(), float("nan"))


def coordinate(column: str) -> pl.Expr:
    """Float64; null where blank or one of the numbers that stand for unknown, NaN where it is no number."""
    return number(pl.col(column)).replace(UNKNOWN_COORDINATES, None)  # half the time of `is_in`


def place() -> tuple[pl.Expr, pl.Expr]:
    """Both of ``lon`` and ``lat``, or neither: a point of which half is unknown is unknown."""
    known = pl.col("lon").is_not_null() & pl.col("lat").is_not_null()
    return pl.when(known).then("lon"), pl.when(known).then("lat")


def whole(value: pl.Expr) -> pl.Expr:
    """Int64; null where the text is blank or no whole number. ``12.0`` is a whole number, ``12.5`` is not.

    Nor is ``12.000``, which is twelve or twelve thousand: :mod:`ingestion.formats.evidence` knows when it is the
    latter.
    """
    return value.map_batches(_whole_numbers, return_dtype=pl.Int64)


def _whole_numbers(values: pl.Series) -> pl.Series:
    plain = values.cast(pl.Int64, strict=False)
    if plain.null_count() == values.null_count():
        return plain
    return _stripped(values).str.replace(r"[.,](0{1,2}|0{4,})$", "").cast(pl.Int64, strict=False)


def day(value: pl.Expr, *formats: str) -> pl.Expr:
    """Date, from the first of ``formats`` (strptime) that explains the text; null where none does."""
    return pl.coalesce(value.str.to_date(layout, strict=False) for layout in formats)


def second_of_day_hhmm(value: pl.Expr) -> pl.Expr:
    """Seconds since midnight (Int32) from ``HHMM`` written as a number, without leading zeros: ``5`` is 00:05.

    Null where blank, :data:`UNREADABLE` where the text is no time of day.
    """
    number = whole(value)
    hours, minutes = number // 100, number % 100
    valid = hours.is_between(0, 23) & minutes.is_between(0, 59)
    seconds = pl.when(valid).then(hours * 3600 + minutes * 60).otherwise(UNREADABLE)
    return pl.when(value.is_not_null()).then(seconds.cast(pl.Int32))


def local_time(value: pl.Expr) -> pl.Expr:
    """A local date and time as a struct: ``day`` (Date), ``second`` (Int32) and ``at`` (Datetime in UTC).

    The text begins with the day, ``YYYY-MM-DD`` or ``DD/MM/YYYY``; after a blank or ``T`` follows the time, ``HH:MM``
    or ``HH:MM:SS`` with or without a fraction of a second. ``day`` is null where the text does not begin so. ``second``
    counts from midnight; it is null where nothing follows the day, or where that is null, and :data:`UNREADABLE` where
    what follows is no time of day. ``at`` is the instant, where the time ends with its UTC offset as in
    :func:`instant`: ``day`` and ``second`` are then those of a clock of that offset. Mostly it is null.
    """
    return value.map_batches(_local_times, return_dtype=_LOCAL_TIME)


def _local_times(values: pl.Series) -> pl.Series:
    whole = values.drop_nulls()
    if whole.str.contains(_USUAL_LOCAL_TIME).all():
        moments = values.str.to_datetime("%Y-%m-%d %H:%M:%S", time_unit="us", strict=False)
        if moments.null_count() == values.null_count():
            moment = pl.col("moment")
            return (
                pl.DataFrame({"moment": moments})
                .select(
                    pl.struct(
                        day=moment.dt.date(),
                        second=(moment.dt.epoch("s") % _SECONDS_OF_A_DAY).cast(pl.Int32),
                        at=pl.lit(None, pl.Datetime("us", "UTC")),
                    )
                )
                .to_series()
            )
    days = by_distinct(values.str.slice(0, 10), _local_days)
    times = values.str.slice(11)
    times = times.set((times == "") | days.is_null(), None)
    with_offset = times.str.contains(f"(?i){_OFFSET}")
    at = pl.Series([None], dtype=pl.Datetime("us", "UTC")).new_from_index(0, len(values))
    if with_offset.any():
        spelled = days.dt.strftime("%Y-%m-%dT") + times
        at = by_distinct(spelled.set(~with_offset.fill_null(False), None), _instants)
        times = times.str.replace(rf"(?i) ?{_OFFSET}", "").set(with_offset & at.is_null(), "?")
    return pl.DataFrame({"day": days, "second": by_distinct(times, _seconds), "at": at}).to_struct()


def _local_days(texts: pl.Series) -> pl.Series:
    return pl.DataFrame({"text": texts}).select(day(pl.col("text"), "%Y-%m-%d", "%d/%m/%Y")).to_series()


def _seconds(times: pl.Series) -> pl.Series:
    written = [times.str.to_time(layout, strict=False) for layout in ("%H:%M:%S%.f", "%H:%M")]
    nanoseconds = pl.select(pl.coalesce(written).cast(pl.Int64))
    return (nanoseconds.to_series() // 1_000_000_000).cast(pl.Int32).fill_null(UNREADABLE)


def local_moment(day_column: str, second_column: str) -> pl.Expr:
    """Naive datetime of a Date column and a column of seconds since midnight; null where either is."""
    return pl.col(day_column).cast(pl.Datetime("us")) + pl.duration(seconds=second_column, time_unit="us")


def on_clock(frame: pl.DataFrame, time_zone: str, at: str, day: str, second: str) -> pl.DataFrame:
    """``frame`` with ``day`` and ``second`` as clocks of ``time_zone`` showed them, where the instant ``at`` is told.

    The offset that it was told with may be another clock's.
    """
    if frame[at].null_count() == frame.height:
        return frame
    shown = pl.when(pl.col(at).is_not_null()).then(local(pl.col(at), time_zone))
    return frame.with_columns(
        pl.coalesce(shown.dt.date(), day).alias(day),
        pl.coalesce((shown.dt.epoch("s") % _SECONDS_OF_A_DAY).cast(pl.Int32), second).alias(second),
    )


def instant(value: pl.Expr) -> pl.Expr:
    """Datetime in UTC from ISO 8601 with a UTC offset (``Z``, ``UTC``, ``+02:00``, ``+0200``, ``+02``), with or without
    a fraction of a second; null where it is not that. Blanks around it, and before the offset, do not count.
    """
    # The records of a delivery share few instants: each is read once.
    return value.map_batches(lambda texts: by_distinct(texts, _instants), return_dtype=pl.Datetime("us", "UTC"))


def _instants(texts: pl.Series) -> pl.Series:
    spelled = (
        texts.str.strip_chars()
        .str.replace(r"(?i)^(\d{4}-\d\d-\d\d)[T ](.*?) ?(?:Z|UTC|GMT)$", "${1} ${2}+00:00")
        .str.replace(r"(?i)^(\d{4}-\d\d-\d\d)[T ](.*?) ?([+-]\d\d)(?::?(\d\d))?$", "${1} ${2}${3}:${4}")
        .str.replace(":$", ":00")
    )
    parsed = [
        spelled.str.to_datetime(layout, time_unit="us", strict=False).dt.convert_time_zone("UTC")
        for layout in _OFFSET_FORMATS
    ]
    return pl.select(pl.coalesce(parsed)).to_series()


def plate(value: pl.Expr) -> pl.Expr:
    """A registration plate as it is pseudonymised: upper case, without separators; null for what is no plate.

    Separators and case are the only differences it removes: ``O`` and ``0`` stay what they are.
    """
    return value.map_batches(_plates, return_dtype=pl.String)


def _plates(values: pl.Series) -> pl.Series:
    letters = values.str.to_uppercase().str.replace_all("-", "", literal=True)
    if letters.str.contains_any(_SEPARATORS).any():
        letters = letters.str.replace_many(_SEPARATORS, [""])
    return letters.set((letters.str.strip_chars("0X") == "") | letters.is_in(_NO_PLATE), None)


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


def spelled(column: str, words: Mapping[str, str], *, blank: str | None = None) -> pl.Expr:
    """The word that each value is a spelling of, as :func:`label` writes it; null where it is of none.

    Args:
        column: of few distinct values.
        words: what each label means.
        blank: what it means that there is nothing.
    """

    def meant(distinct: pl.Series) -> pl.Series:
        found = label(distinct).replace_strict(words, default=None, return_dtype=pl.String)
        return found.set(distinct.str.strip_chars() == "", blank)

    found = pl.col(column).map_batches(lambda values: by_distinct(values, meant), return_dtype=pl.String)
    return pl.when(pl.col(column).is_not_null()).then(found).otherwise(pl.lit(blank)) if blank else found


def by_distinct(values: pl.Series, function: Callable[[pl.Series], pl.Series]) -> pl.Series:
    """``function(values)``, worked out once per distinct value of a series of strings; null stays null."""
    categories = pl.Categories.random()
    encoded = values.cast(pl.Categorical(categories))  # keeps the categories alive
    return function(categories.to_series()).gather(encoded.to_physical()).alias(values.name)


def calendar(instant: pl.Expr, time_zone: str) -> pl.Expr:
    """What a clock of ``time_zone`` shows at an instant, as a struct: ``day`` (Date) and ``hour`` (Int32)."""

    def shown(instants: pl.Series) -> pl.Series:
        at = pl.col("at")  # the records of a delivery share few instants: each is looked up once
        clock = (
            instants.unique().to_frame("at").with_columns(day=local_date(at, time_zone), hour=local_hour(at, time_zone))
        )
        told = instants.to_frame("at").join(clock, on="at", how="left", maintain_order="left")
        return told.select(pl.struct("day", "hour")).to_series()

    return instant.map_batches(shown, return_dtype=pl.Struct({"day": pl.Date, "hour": pl.Int32}))


def first_rule(broken: Mapping[str, pl.Expr]) -> pl.Expr:
    """The name of the first rule whose condition holds, in the order given; null when none does."""
    rules = list(broken)

    def named(held: Sequence[pl.Series]) -> pl.Series:
        names = pl.repeat(None, max(map(len, held)), dtype=pl.String, eager=True)
        for rule, condition in reversed(list(zip(rules, held, strict=True))):
            if condition.any():  # mostly not
                names = pl.select(pl.when(condition).then(pl.lit(rule)).otherwise(names)).to_series()
        return names

    return pl.map_batches(list(broken.values()), named, return_dtype=pl.String)
