"""Columns of contracts: how a field of a Delivered or Conformed model says what it can tell about a person.

The class stands next to the field itself, and so does what a conformed field is made from: there is no second list.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandera.polars as pa

from infra.lineage.classification import Classification
from ingestion.register import Dataset

CLASSIFICATION = "classification"
DERIVES_FROM = "derives_from"

PROVENANCE: Mapping[str, Classification] = {
    "format": Classification.PROVENANCE,
    "delivery_id": Classification.PROVENANCE,
}
"""The columns that the engine adds to every conformed table."""


class UnclassifiedError(RuntimeError):
    """A field of a contract has no class."""


def column(
    classification: Classification,
    *,
    derives_from: tuple[str, ...] = (),
    nullable: bool = False,
    description: str | None = None,
) -> Any:
    """A field of a contract: ``pandera.Field`` with its class.

    ``derives_from``, of a conformed field, names the delivered fields whose values decide its own; none for what only
    depends on the format.
    """
    metadata = {CLASSIFICATION: classification, DERIVES_FROM: derives_from}
    return pa.Field(nullable=nullable, description=description, metadata=metadata)


def classes(model: type[pa.DataFrameModel]) -> dict[str, Classification]:
    """The class of each field of a model, in order.

    Raises:
        UnclassifiedError: a field has none; the message names it.
    """
    found: dict[str, Classification] = {}
    for name, field in model.to_schema().columns.items():
        classification = (field.metadata or {}).get(CLASSIFICATION)
        if classification is None:
            raise UnclassifiedError(
                f"{model.__module__}.{model.__name__}.{name} has no class: declare it with ingestion.contracts.columns"
            )
        found[name] = Classification(classification)
    return found


def conformed_classes(dataset: Dataset) -> dict[str, Classification]:
    """The class of each column of a conformed table, in the table's order."""
    return {**classes(dataset.conformed), **PROVENANCE}


def derivations(dataset: Dataset) -> dict[str, tuple[str, ...]]:
    """The delivered fields that each conformed field is made from."""
    columns = dataset.conformed.to_schema().columns
    return {name: tuple((field.metadata or {}).get(DERIVES_FROM, ())) for name, field in columns.items()}
