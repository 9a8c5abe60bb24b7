"""dbt's sources, one file per silo, written from the register: what dbt reads of the conformed tables, and as what."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import yaml

from ingestion.conformed.schemas import arrow_schema
from ingestion.conformed.tables import NAMESPACE
from ingestion.contracts.columns import conformed_classes
from ingestion.register import Dataset, Silo, silos

STAGING = Path(__file__).parents[2] / "dbt_project" / "models" / "staging"

_DUCKDB: Mapping[pa.DataType, str] = {
    pa.string(): "varchar",
    pa.binary(): "blob",
    pa.int32(): "integer",
    pa.int64(): "bigint",
    pa.float64(): "double",
    pa.date32(): "date",
    pa.timestamp("us", tz="UTC"): "timestamptz",
}


def files() -> Iterator[tuple[Path, str]]:
    """Where the sources of each silo are written, and what is to be in the file."""
    for silo in silos().values():
        yield STAGING / silo.name / f"_{silo.name}__sources.yml", text(silo)


def text(silo: Silo) -> str:
    """The sources of a silo, as dbt reads them."""
    source = {
        "name": silo.name,
        "schema": NAMESPACE,
        "description": f"{silo.title}: conformed tables, checked, pseudonymised, placed and timed.",
        "config": {"meta": {"steward": silo.steward}},
        "tables": [_table(silo, dataset) for dataset in silo.datasets],
    }
    written = yaml.safe_dump({"version": 2, "sources": [source]}, sort_keys=False, allow_unicode=True, width=120)
    return f"# Written by `calanque contract freeze` from ingestion/silos/{silo.name}: change it there.\n{written}"


def _table(silo: Silo, dataset: Dataset) -> dict[str, Any]:
    """Reference data belong to no day, so nothing of them is ever late."""
    classes = conformed_classes(dataset)
    columns = [
        {
            "name": field.name,
            "description": (field.metadata or {}).get(b"doc", b"").decode(),
            "data_type": _DUCKDB[field.type],
            "config": {"meta": {"classification": str(classes[field.name])}},
        }
        for field in arrow_schema(dataset)
    ]
    config: dict[str, Any] = {"meta": {"silo": silo.name, "steward": silo.steward, "reference": dataset.reference}}
    if not dataset.reference:
        config |= {
            "loaded_at_query": f"select cast(max(day) as timestamp) from reference.calendar where silo = '{silo.name}'",
            "freshness": {"warn_after": {"count": silo.freshness.days, "period": "day"}},
        }
    return {"name": dataset.name, "description": dataset.description, "config": config, "columns": columns}
