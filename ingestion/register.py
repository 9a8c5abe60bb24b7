"""The vocabulary of the silo register: what a silo, a dataset and a delivery format are.

Each module of :mod:`ingestion.silos` declares one ``SILO``. The register is at once the city's register of processing
(GDPR art. 30) and the source registry: DAGs, contracts, Iceberg tables, retention and documentation derive from it.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from enum import Enum
from functools import cache

import pandera.polars as pa
import polars as pl

from infra.calendar.days import DayRange
from infra.city.profile import City
from ingestion.rows.pseudonyms import Pseudonymiser


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

    A format written in several layouts is several ``Format`` of the same name, see :meth:`Silo.format`.

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


REFERENCE_DAY = date(1970, 1, 1)
"""The ``event_date`` of reference data, which belongs to no day."""


@dataclass(frozen=True)
class Dataset:
    """One conformed table of a silo.

    ``delivered`` and ``conformed`` are its contracts. ``key`` names the conformed columns that identify a record: a
    later delivery with the same key replaces the record. ``conform`` turns valid delivered rows into conformed ones:
    it keeps ``row`` (several conformed rows may share one delivered row) and adds ``reject`` and ``warn``, each the
    name of a rule or null, and ``moved`` where records bear numbers, see :meth:`Pseudonymiser.records`.

    ``reference`` says that the records are not events: their ``event_date`` is :data:`REFERENCE_DAY` and no period of a
    mart is due because of them.

    ``places`` names the reference dataset of the silo whose places are known beside those of the city profile.

    ``version`` is that of its contract, senders' and readers' side together, by the rules of
    :mod:`infra.contract_versions`; ``docs/contracts`` holds every version there was.
    """

    name: str
    description: str
    delivered: type[pa.DataFrameModel]
    conformed: type[pa.DataFrameModel]
    key: tuple[str, ...]
    conform: Callable[[pl.DataFrame, Format, City, Pseudonymiser], pl.DataFrame]
    reference: bool = False
    places: str | None = None
    version: str = "1.0.0"


@dataclass(frozen=True)
class Retention:
    """How long each zone may hold this silo's data."""

    landing: timedelta
    quarantine: timedelta
    conformed_months: int | None  # by event day; None: not personal, kept


@dataclass(frozen=True)
class Expectations:
    """What deliveries of a silo are like when nothing is wrong: whoever owns it is told when they are not.

    A day's rows are compared with the median of the same weekday over ``weeks`` weeks; fewer than ``least_days`` such
    days say nothing. ``low`` and ``high`` are the shares of the median that are still usual. The silo delivers nothing
    on its days of ``rest`` (1 is Monday, 7 Sunday), nor on public holidays when it ``rests_on_holidays``.

    A quarantined share, or one with the same warning, is unusual beyond ``share`` and beyond ``times`` what it was in
    the median delivery before, if it is at least ``rows`` rows.
    """

    weeks: int = 8
    least_days: int = 4
    low: float = 0.4
    high: float = 2.5
    rest: tuple[int, ...] = ()
    rests_on_holidays: bool = False
    share: float = 0.02
    times: float = 3.0
    rows: int = 20


@dataclass(frozen=True)
class Silo:
    """Everything the city says about one source of data.

    ``cadence`` is when its drop folder is looked into even if nothing announced a file: five fields of cron, in the
    city's time zone. A file that arrives in between is announced within seconds; this is the net below.
    """

    name: str
    title: str
    steward: str
    purpose: str
    legal_basis: str
    recipients: tuple[str, ...]
    retention: Retention
    privacy_unit: str
    freshness: timedelta
    cadence: str
    datasets: tuple[Dataset, ...]
    formats: tuple[Format, ...]
    rules: Mapping[str, str]  # rule name -> what it means and what to do about it
    expectations: Expectations = Expectations()

    def dataset(self, name: str) -> Dataset:
        return next(dataset for dataset in self.datasets if dataset.name == name)

    def format(self, name: str, sample: Sample | None = None) -> Format:
        """The format called ``name``; of several layouts of it, the one that recognises ``sample``, else the first.

        Raises:
            KeyError: this silo accepts no such format; the message lists those it does.
        """
        layouts = [candidate for candidate in self.formats if candidate.name == name]
        if layouts:
            recognised = (layout for layout in layouts if sample is not None and layout.recognise(sample))
            return next(recognised, layouts[0])
        known = ", ".join(dict.fromkeys(accepted.name for accepted in self.formats))
        raise KeyError(f"silo {self.name} accepts no format {name!r}; it accepts: {known}")


@cache
def silos() -> Mapping[str, Silo]:
    """Every registered silo by name, in alphabetical order."""
    package = importlib.import_module("ingestion.silos")
    modules = sorted(module.name for module in pkgutil.iter_modules(package.__path__))
    found = (importlib.import_module(f"ingestion.silos.{module}") for module in modules if not module.startswith("_"))
    return {module.SILO.name: module.SILO for module in found}
