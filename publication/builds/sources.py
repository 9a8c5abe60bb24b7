"""The conformed tables as dbt declares them: its sources, which are written from the register."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

import yaml

from privacy.plan import PROJECT_FILE

_STAGING = PROJECT_FILE.parent / "models" / "staging"


@dataclass(frozen=True)
class Source:
    """One conformed table: its columns with the types that dbt reads them as.

    A ``reference`` describes things rather than events: it is read whole, whatever the days.
    """

    name: str
    columns: Mapping[str, str]
    reference: bool


@cache
def conformed() -> Mapping[str, Source]:
    """Every conformed table by name."""
    declared = [yaml.safe_load(path.read_text()) for path in sorted(_STAGING.glob("*/_*__sources.yml"))]
    return {
        table["name"]: Source(
            name=table["name"],
            columns={column["name"]: column["data_type"] for column in table["columns"]},
            reference=table["config"]["meta"]["reference"],
        )
        for document in declared
        for source in document["sources"]
        if source.get("schema") == "conformed"
        for table in source["tables"]
    }


def registers() -> frozenset[str]:
    """The names of the reference tables."""
    return frozenset(table.name for table in conformed().values() if table.reference)
