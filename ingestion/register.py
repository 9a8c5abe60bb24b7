"""The vocabulary of the silo register: what a silo, a dataset and a delivery format are.

Each module of :mod:`ingestion.silos` declares one ``SILO``. The register is at once the city's register of processing
(GDPR art. 30) and the source registry: DAGs, contracts, Iceberg tables, retention and documentation derive from it.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import cache

import pandera.polars as pa
import polars as pl

from infra.city import City
from ingestion.pseudonyms import Pseudonymiser


@dataclass(frozen=True)
class Sample:
    """What recognition may look at: the beginning of a delivery, decoded and split into lines."""

    lines: tuple[str, ...]


@dataclass(frozen=True)
class Dialect:
    """How a delimited text format is written.

    ``header`` is None for a format that has no header line; ``columns`` then names its columns in order.
    """

    delimiter: str
    quote: str | None = '"'
    columns: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Format:
    """One accepted way of delivering a dataset.

    ``required`` are the source columns without which a delivery is refused; ``optional`` ones are read when present;
    any other column is never read. ``to_delivered`` turns a batch of source columns (all strings, plus ``row``, the
    1-based record number) into the columns of the dataset's Delivered model, keeping ``row``.
    """

    name: str
    title: str
    dataset: str
    dialect: Dialect
    required: tuple[str, ...]
    recognise: Callable[[Sample], bool]
    to_delivered: Callable[[pl.DataFrame], pl.DataFrame]
    optional: tuple[str, ...] = ()


@dataclass(frozen=True)
class Dataset:
    """One conformed table of a silo.

    ``delivered`` and ``conformed`` are its contracts. ``key`` names the conformed columns that identify a record: a
    later delivery with the same key replaces the record. ``conform`` turns valid delivered rows into conformed ones:
    it keeps ``row`` (several conformed rows may share one delivered row) and adds ``reject`` and ``warn``, each the
    name of a rule or null.
    """

    name: str
    description: str
    delivered: type[pa.DataFrameModel]
    conformed: type[pa.DataFrameModel]
    key: tuple[str, ...]
    conform: Callable[[pl.DataFrame, Format, City, Pseudonymiser], pl.DataFrame]


@dataclass(frozen=True)
class Retention:
    """How long each zone may hold this silo's data."""

    landing: timedelta
    quarantine: timedelta
    conformed: timedelta | None  # None: not personal, kept


@dataclass(frozen=True)
class Silo:
    """Everything the city says about one source of data."""

    name: str
    title: str
    steward: str
    purpose: str
    legal_basis: str
    recipients: tuple[str, ...]
    retention: Retention
    privacy_unit: str
    freshness: timedelta
    datasets: tuple[Dataset, ...]
    formats: tuple[Format, ...]
    rules: Mapping[str, str]  # rule name -> what it means and what to do about it

    def dataset(self, name: str) -> Dataset:
        return next(dataset for dataset in self.datasets if dataset.name == name)

    def format(self, name: str) -> Format:
        """The format called ``name``.

        Raises:
            KeyError: this silo accepts no such format; the message lists those it does.
        """
        for candidate in self.formats:
            if candidate.name == name:
                return candidate
        known = ", ".join(accepted.name for accepted in self.formats)
        raise KeyError(f"silo {self.name} accepts no format {name!r}; it accepts: {known}")


@cache
def silos() -> Mapping[str, Silo]:
    """Every registered silo by name, in alphabetical order."""
    package = importlib.import_module("ingestion.silos")
    modules = sorted(module.name for module in pkgutil.iter_modules(package.__path__))
    found = (importlib.import_module(f"ingestion.silos.{module}") for module in modules if not module.startswith("_"))
    return {module.SILO.name: module.SILO for module in found}
