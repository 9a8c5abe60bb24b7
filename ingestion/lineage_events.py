"""Lineage of deliveries: each is a run that reads the delivered object and writes the conformed table."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from infra.lineage import Column, Lineage, Node
from infra.openlineage import columns, facets, names
from infra.openlineage.facets import Facets
from infra.openlineage.runs import Dataset as Told
from infra.openlineage.runs import Run
from infra.registry import DeliveryRow
from infra.settings import Settings
from ingestion import landing, quarantine, tables
from ingestion.columns import conformed_classes
from ingestion.lineage import of_register
from ingestion.receipts import Receipt
from ingestion.register import Dataset, silos
from ingestion.schemas import arrow_schema


@contextmanager
def of_delivery(
    settings: Settings, delivery: DeliveryRow, why: Callable[[Exception], str]
) -> Iterator[Callable[[Receipt], None]]:
    """Tell of what becomes of one delivery: call what this yields with its receipt.

    A failure inside is told with the words that ``why`` finds for it, which may quote no value, and raised on.
    """
    declared = silos()[delivery.silo]
    run = Run(
        settings,
        f"ingest.{delivery.silo}",
        facets.job_type("CALANQUE", "DELIVERY") | facets.job_documentation(f"{declared.title}. {declared.purpose}"),
    )
    run.start([Told(names.stored(landing.BUCKET, delivery.object_key))])
    settled: list[Receipt] = []
    try:
        yield settled.append
    except Exception as error:
        run.fail(why(error), [Told(names.stored(landing.BUCKET, delivery.object_key))], _figures(delivery, None))
        raise
    for receipt in settled:
        figures = _figures(delivery, receipt)
        if receipt.dataset is None or receipt.status != "committed":
            # By which rule, not with which words: those may name the file.
            because = f"{receipt.status}: {receipt.rule}" if receipt.rule else receipt.status
            run.fail(because, [_delivered(delivery, receipt)], figures)
        else:
            dataset = declared.dataset(receipt.dataset)
            outputs = [_conformed(settings, dataset, delivery, receipt), *_quarantined(receipt)]
            run.complete([_delivered(delivery, receipt)], outputs, figures)


def _figures(delivery: DeliveryRow, receipt: Receipt | None) -> Facets:
    """What the receipt knows, as a facet of the run; never the name of the file, which is its sender's."""
    told: dict[str, Any] = {
        "deliveryId": delivery.delivery_id,
        "silo": delivery.silo,
        "corrects": delivery.corrects,
        "landedAt": delivery.landed_at.isoformat(),
    }
    if receipt is not None:
        tally = receipt.tally
        told |= {
            "status": receipt.status,
            "format": receipt.format,
            "rowsIn": tally.rows_in,
            "accepted": tally.accepted,
            "quarantined": tally.quarantined,
            "byRule": tally.by_rule,
            "warnings": tally.warnings,
            "days": [day.isoformat() for day in receipt.days],
            "seconds": dict(receipt.seconds),
        }
    return {"calanque_delivery": facets.own(**told)}


def _delivered(delivery: DeliveryRow, receipt: Receipt) -> Told:
    """The delivered object; once it was read, its columns and what was found of them."""
    name = names.stored(landing.BUCKET, delivery.object_key)
    if receipt.dataset is None:
        return Told(name)
    tally = receipt.tally
    results = [*_results(tally.by_rule, "error"), *_results(tally.warnings, "warn")]
    of_run = facets.read(tally.rows_in, delivery.bytes)
    return Told(name, _delivered_columns(delivery.silo, receipt.dataset), of_run | facets.assertions(results))


def _results(broken: dict[str, int], severity: str) -> Iterator[dict[str, Any]]:
    """The rules that rows broke, and how many rows did. Rules that none broke are not listed: there are dozens."""
    for rule, rows in sorted(broken.items()):
        yield {"assertion": rule, "success": False, "severity": severity, "expected": "0", "actual": str(rows)}


def _conformed(settings: Settings, dataset: Dataset, delivery: DeliveryRow, receipt: Receipt) -> Told:
    table = names.table(tables.NAMESPACE, dataset.name)
    delivered = names.stored(landing.BUCKET, delivery.object_key)
    made_from = {name: [(delivered, source) for source in found] for name, found in _sources(dataset.name).items()}
    return Told(
        table,
        _conformed_columns(delivery.silo, dataset.name)
        | facets.documentation(dataset.description)
        | facets.iceberg(settings, tables.NAMESPACE, dataset.name, receipt.snapshot_id)
        | facets.column_lineage(made_from),
        facets.written(receipt.lines, size=sum(output.bytes for output in receipt.outputs), files=len(receipt.outputs)),
    )


def _quarantined(receipt: Receipt) -> Iterator[Told]:
    if receipt.quarantine is not None:
        name = names.stored(quarantine.BUCKET, receipt.quarantine.key)
        yield Told(name, facets.parquet(), facets.written(receipt.tally.quarantined, files=1))


# --- what the register says of every delivery of a dataset, worked out once ------------------------------------------


@cache
def _delivered_columns(silo: str, name: str) -> Facets:
    dataset = silos()[silo].dataset(name)
    described = dataset.delivered.to_schema().columns
    return facets.fields(
        (column, str(field.dtype), field.description or "") for column, field in described.items()
    ) | facets.tags(_node(f"delivered.{name}").columns)


@cache
def _conformed_columns(silo: str, name: str) -> Facets:
    schema = arrow_schema(silos()[silo].dataset(name))
    return facets.fields(
        (field.name, str(field.type), (field.metadata or {}).get(b"doc", b"").decode()) for field in schema
    ) | facets.tags(_node(f"{tables.NAMESPACE}.{name}").columns)


@cache
def _sources(name: str) -> dict[str, tuple[columns.Source, ...]]:
    return columns.sources(_register(), f"{tables.NAMESPACE}.{name}", {f"delivered.{name}"})


def _node(name: str) -> Node:
    return next(node for node in _register().nodes if node.name == name)


@cache
def _register() -> Lineage:
    """The lineage of the way in, with the conformed tables at its end."""
    way_in = of_register()
    ends = tuple(
        Node(
            name=tables.identifier(dataset),
            kind="source",
            silo=silo.name,
            columns=tuple(Column(name=name, classification=each) for name, each in conformed_classes(dataset).items()),
        )
        for silo in silos().values()
        for dataset in silo.datasets
    )
    return Lineage(nodes=(*way_in.nodes, *ends), edges=way_in.edges)
