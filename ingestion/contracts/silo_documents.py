"""The contracts of the register as documents, see :mod:`infra.contract_versions`."""

from __future__ import annotations

import hashlib
import json
from functools import cache
from importlib.metadata import version

import pandera.polars as pa
from pandera.engines import polars_engine

from infra.contract_versions import Column, Document, Layout, Side
from ingestion.contracts.columns import CLASSIFICATION
from ingestion.formats.format import Format
from ingestion.register import Dataset, Silo, silos


def of_register() -> list[Document]:
    """The contract of every dataset, by silo and dataset."""
    return [of(silo, dataset) for silo in silos().values() for dataset in silo.datasets]


def of_silo(silo: Silo) -> list[Document]:
    """The contracts of a silo's datasets."""
    return [of(silo, dataset) for dataset in silo.datasets]


def named(dataset: str) -> Document:
    """The contract of the dataset of that name.

    Raises:
        KeyError: there is none.
    """
    found = [document for document in of_register() if document.name == dataset]
    if not found:
        raise KeyError(f"there is no dataset {dataset!r}")
    return found[0]


def of(silo: Silo, dataset: Dataset) -> Document:
    """The contract of a dataset: what its senders are held to, and what readers of its table may rely on."""
    formats: dict[str, list[Layout]] = {}
    for accepted in silo.formats:
        if accepted.dataset == dataset.name:
            formats.setdefault(accepted.name, []).append(_layout(accepted))
    return Document(
        kind="dataset",
        name=dataset.name,
        version=dataset.version,
        description=dataset.description,
        key=dataset.key,
        facts={"belongs to": "no day" if dataset.reference else "a day"},
        formats={name: tuple(layouts) for name, layouts in formats.items()},
        delivered=_side(dataset.delivered),
        table=_side(dataset.conformed),
    )


def known_formats(silo: Silo) -> str:
    """A digest of what this release reads of a silo: another release, or another format, may read more."""
    layouts = [(accepted.name, _layout(accepted).model_dump(mode="json")) for accepted in silo.formats]
    return hashlib.sha256(json.dumps([version("calanque"), layouts]).encode()).hexdigest()


def _layout(accepted: Format) -> Layout:
    dialect = accepted.dialect
    return Layout(
        delimiter=dialect.delimiter,
        header=dialect.columns is None,
        required=accepted.required,
        optional=accepted.optional,
    )


@cache
def _side(model: type[pa.DataFrameModel]) -> Side:
    schema = model.to_schema()
    return Side(
        columns={
            name: Column(
                type=str(polars_engine.Engine.dtype(column.dtype)),
                nullable=column.nullable,
                classification=str((column.metadata or {}).get(CLASSIFICATION, "not told")),
                description=column.description or "",
            )
            for name, column in schema.columns.items()
        },
        rules=tuple(
            sorted({f"{name}: {check.name}" for name, column in schema.columns.items() for check in column.checks})
        ),
    )
