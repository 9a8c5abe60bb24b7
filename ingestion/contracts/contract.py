"""The contract of a dataset: what its senders are held to, what its table promises, and the way between."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import pandera.polars as pa
import polars as pl

from infra.city.profile import City
from ingestion.contracts.rules import CONFORMED_RULES
from ingestion.formats.format import Format
from ingestion.rows.pseudonyms import Pseudonymiser


@dataclass(frozen=True)
class Contract:
    """``delivered`` and ``conformed`` are models of pandera.

    ``conform`` turns valid delivered rows into conformed ones: it keeps ``row`` (several conformed rows may share one
    delivered row) and adds ``reject`` and ``warn``, each the name of a rule or null, and ``moved`` where records bear
    numbers, see :meth:`Pseudonymiser.records`. ``rules`` says of the rules that it applies, and of those that a format
    applies to a whole delivery, what they mean and what to do; a rule of a model says so itself.
    """

    delivered: type[pa.DataFrameModel]
    conformed: type[pa.DataFrameModel]
    conform: Callable[[pl.DataFrame, Format, City, Pseudonymiser], pl.DataFrame]
    rules: Mapping[str, str] = field(default_factory=dict)

    def sentences(self) -> Mapping[str, str]:
        """Every rule by name: what it means and what to do about it."""
        return {**dict(_said(self.delivered)), **self.rules, **dict(_said(self.conformed)), **CONFORMED_RULES}


def _said(model: type[pa.DataFrameModel]) -> Iterator[tuple[str, str]]:
    for column in model.to_schema().columns.values():
        yield from ((str(check.name), check.description or "") for check in column.checks)
