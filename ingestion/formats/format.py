"""The vocabulary of delivery formats: what a format of a silo declares of itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum

import polars as pl

from infra.calendar.days import DayRange
from infra.city.profile import City


@dataclass(frozen=True)
class Sample:
    """What recognition may look at: the beginning of a delivery, decoded and split into lines.

    ``first`` is the number in the file, from 1, of the first of them.
    """

    lines: tuple[str, ...]
    first: int = 1


@dataclass(frozen=True)
class Dialect:
    """How a delimited text format is written.

    ``columns`` names the columns in order, for a format that has no header line. Where ``quote`` is None a quote is a
    character like another, but around a whole value, where a spreadsheet put it.
    """

    delimiter: str
    quote: str | None = '"'
    columns: tuple[str, ...] | None = None


class Kind(Enum):
    """What the values of a source column are, where they can be read in two ways or beyond reading."""

    COUNT = "a number, perhaps with separators of thousands"
    DAY_FIRST = "a date; written with slashes, the day comes first"
    MONTH_FIRST = "a date; written with slashes, the month comes first"
    NUMBER = "a number that identifies something, and may not be rounded"
    WRITTEN = "a coordinate or a plate, which a spreadsheet may have taken for a number and rewritten"
    NAME = "a name that becomes a category of its own"


@dataclass(frozen=True)
class Format:
    """One accepted way of delivering a dataset.

    ``required`` are the source columns without which a delivery is refused; ``optional`` ones are read when present;
    any other column is never read. ``to_delivered`` turns a batch of source columns (all strings, plus ``row``, the
    1-based record number) into the columns of the dataset's Delivered model, keeping ``row``. One record may become
    several delivered rows; they share its ``row``, and a rule that one of them breaks rejects the record.

    A format written in several layouts is several ``Format`` of the same name, see
    :meth:`ingestion.register.Silo.format`.

    ``occurrence_columns``, for a format whose identical records are distinct events, are the source columns whose
    repetition within the delivery is counted: the engine then adds ``occurrence`` to each batch, 1 for the first record
    with these values, 2 for the next, and so on over the whole delivery.

    ``may_be_blank`` are those required columns of which a record need not say anything: a record that ends before them
    is a whole one. ``layout`` has all columns in order where the format fixes them, to tell a delivery that lost its
    header. ``kinds`` says of which source columns :mod:`ingestion.formats.evidence` has to judge the values first.
    ``told_in`` says in which source columns a column of the Delivered model is delivered, for rejects to name those.

    ``forbidden``, when declared, is asked about the complete header before any record is read: it answers with the name
    of a rule of the silo when the columns show that the delivery must be refused as a whole, else with None.

    ``time_zone`` is that in which the format tells times without a UTC offset, where its authors are not the city's.

    ``covers``, for a format whose file is all there is of a day or a month that its name tells, answers with these days
    when given the name, else with None: a delivery of it declares its silo complete for them
    (:mod:`ingestion.delivery.naming`).
    """

    name: str
    title: str
    dataset: str
    dialect: Dialect
    required: tuple[str, ...]
    recognise: Callable[[Sample], bool]
    to_delivered: Callable[[pl.DataFrame], pl.DataFrame]
    optional: tuple[str, ...] = ()
    occurrence_columns: tuple[str, ...] = ()
    may_be_blank: tuple[str, ...] = ()
    layout: tuple[str, ...] = ()
    kinds: Mapping[str, Kind] = field(default_factory=dict)
    told_in: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    forbidden: Callable[[tuple[str, ...]], str | None] | None = None
    time_zone: str | None = None
    covers: Callable[[str], DayRange | None] | None = None

    def clock(self, city: City) -> str:
        """The time zone of times that carry no UTC offset, in deliveries to a city."""
        return self.time_zone or city.time_zone

    @property
    def first_row(self) -> int:
        """The number, in a spreadsheet, of the first record: a header is row 1."""
        return 2 if self.dialect.columns is None else 1
