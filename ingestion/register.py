"""The register: what a silo and its datasets are.

Each folder of :mod:`ingestion.silos` declares one ``SILO``. The register is at once the city's register of processing
(GDPR art. 30) and the source registry: DAGs, contracts, Iceberg tables, retention and documentation derive from it.
Whoever reads its words waits for nothing: contracts and formats, and the engine they need, are imported when asked for.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cache
from typing import TYPE_CHECKING, Any

from ingestion import silos as _folders

if TYPE_CHECKING:
    from pandera.polars import DataFrameModel

    from ingestion.contracts.contract import Contract
    from ingestion.formats.format import Format, Sample
    from ingestion.synthetic.demo import Demo

REFERENCE_DAY = date(1970, 1, 1)
"""The ``event_date`` of reference data, which belongs to no day."""


def on_demand(reference: str) -> Callable[[], Any]:
    """What ``module:name`` names, imported when it is called."""
    module, _, name = reference.partition(":")
    return lambda: getattr(importlib.import_module(module), name)


@dataclass(frozen=True)
class Dataset:
    """One conformed table of a silo.

    ``key`` names the conformed columns that identify a record: a later delivery with the same key replaces the record.
    ``contract`` gives its models and the way between them.

    ``reference`` says that the records are not events: their ``event_date`` is :data:`REFERENCE_DAY` and no period of a
    mart is due because of them.

    ``places`` names the reference dataset of the silo whose places are known beside those of the city profile.

    ``version`` is that of its contract, senders' and readers' side together, by the rules of
    :mod:`infra.contract_versions`; ``docs/contracts`` holds every version there was.
    """

    name: str
    description: str
    key: tuple[str, ...]
    contract: Callable[[], Contract]
    reference: bool = False
    places: str | None = None
    version: str = "1.0.0"

    @property
    def delivered(self) -> type[DataFrameModel]:
        return self.contract().delivered

    @property
    def conformed(self) -> type[DataFrameModel]:
        return self.contract().conformed


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
    city's time zone. A file that arrives in between is announced within seconds; this is the net below. ``accepts``
    gives the formats, ``demo`` what the silo adds to the demo city.
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
    accepts: Callable[[], tuple[Format, ...]]
    demo: Callable[[], Demo]
    expectations: Expectations = Expectations()

    @property
    def formats(self) -> tuple[Format, ...]:
        return self.accepts()

    @property
    def rules(self) -> Mapping[str, str]:
        """What each rule of the silo means and what to do about it, by name."""
        return {name: said for dataset in self.datasets for name, said in dataset.contract().sentences().items()}

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


def references() -> frozenset[str]:
    """The names of the datasets that describe things rather than events."""
    return frozenset(dataset.name for silo in silos().values() for dataset in silo.datasets if dataset.reference)


@cache
def silos() -> Mapping[str, Silo]:
    """Every registered silo by name, in alphabetical order."""
    folders = sorted(folder.name for folder in pkgutil.iter_modules(_folders.__path__))
    found = (importlib.import_module(f"{_folders.__name__}.{folder}") for folder in folders)
    return {module.SILO.name: module.SILO for module in found}
