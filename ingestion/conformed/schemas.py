"""Arrow schemas of the conformed tables, from the Conformed models: the one place where their types are decided."""

from __future__ import annotations

import polars as pl
import pyarrow as pa

from ingestion.register import Dataset

_ARROW: dict[pl.DataType, pa.DataType] = {
    pl.String(): pa.string(),
    pl.Binary(): pa.binary(),
    pl.Int32(): pa.int32(),
    pl.Int64(): pa.int64(),
    pl.Float64(): pa.float64(),
    pl.Date(): pa.date32(),
    pl.Datetime("us", "UTC"): pa.timestamp("us", tz="UTC"),
}


def polars_schema(dataset: Dataset) -> pl.Schema:
    """Columns and types of what ``dataset.conform`` gives, ``row``, ``reject`` and ``warn`` aside."""
    return pl.Schema({name: column.dtype.type for name, column in dataset.conformed.to_schema().columns.items()})


def arrow_schema(dataset: Dataset) -> pa.Schema:
    """Columns of the conformed table in order, ``format`` and ``delivery_id`` included.

    Nullability is the model's; each description is the field's metadata ``doc``.
    """
    columns = dataset.conformed.to_schema().columns
    fields = [
        pa.field(
            name,
            _ARROW[column.dtype.type],
            nullable=column.nullable,
            metadata={"doc": column.description} if column.description else None,
        )
        for name, column in columns.items()
    ]
    provenance = [
        pa.field("format", pa.string(), nullable=False, metadata={"doc": "Format of the delivery."}),
        pa.field("delivery_id", pa.string(), nullable=False, metadata={"doc": "SHA-256 of the delivered bytes."}),
    ]
    return pa.schema([*fields, *provenance])


def file_schema(dataset: Dataset) -> pa.Schema:
    """The columns of :func:`arrow_schema` in the types that Polars writes, without Iceberg field ids: of no table."""
    views = {pa.string(): pa.string_view(), pa.binary(): pa.binary_view()}
    return pa.schema(
        field.with_type(views.get(field.type, field.type)).with_nullable(True) for field in arrow_schema(dataset)
    )
