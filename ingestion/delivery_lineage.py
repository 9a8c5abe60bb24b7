"""Lineage of deliveries: each is a run that reads the delivered object and writes the conformed table."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from infra.openlineage import columns, facets, names, runs
from infra.openlineage.facets import Facets
from infra.openlineage.runs import Dataset as Told
from infra.openlineage.runs import Run
from infra.registry import DeliveryRow
from infra.settings import Settings
from ingestion.conformed import tables
from ingestion.conformed.schemas import arrow_schema
from ingestion.contracts.declared_lineage import of_dataset
from ingestion.delivery import landing
from ingestion.receipts import Receipt
from ingestion.register import Dataset, Silo
from ingestion.rows import quarantine


@contextmanager
def of_delivery(
    settings: Settings, silo: Silo, delivery: DeliveryRow, why: Callable[[Exception], str]
) -> Iterator[Callable[[Receipt], None]]:
    """Tell of what becomes of one delivery: call what this yields with its receipt.

    A failure inside is told with the words that ``why`` finds for it, which may quote no value, and raised on. Telling
    itself never fails the work.
    """
    run = Run(
        settings,
        f"ingest.{silo.name}",
        facets.job_type("CALANQUE", "DELIVERY") | facets.job_documentation(f"{silo.title}. {silo.purpose}"),
    )
    source = Told(names.stored(landing.BUCKET, delivery.object_key))
    run.start([source])
    receipts: list[Receipt] = []
    try:
        yield receipts.append
    except Exception as error:
        run.fail(why(error), [source], _delivery_facets(delivery, None))
        raise
    with runs.never_failing():
        for receipt in receipts:
            _tell(run, silo, delivery, receipt)


def _tell(run: Run, silo: Silo, delivery: DeliveryRow, receipt: Receipt) -> None:
    figures = _delivery_facets(delivery, receipt)
    dataset = silo.dataset(receipt.dataset) if receipt.dataset is not None else None
    delivered = [_delivered(silo, dataset, delivery, receipt)]
    if dataset is not None and receipt.status == "committed":
        outputs = [_conformed(run.settings, silo, dataset, delivery, receipt), *_quarantined(receipt)]
        run.complete(delivered, outputs, figures)
    else:
        # By which rule, not with which words: those may name the file.
        run.fail(f"{receipt.status}: {receipt.rule}" if receipt.rule else receipt.status, delivered, figures)


def _delivery_facets(delivery: DeliveryRow, receipt: Receipt | None) -> Facets:
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


def _delivered(silo: Silo, dataset: Dataset | None, delivery: DeliveryRow, receipt: Receipt) -> Told:
    """The delivered object; once it was read, its columns and what was found of them."""
    name = names.stored(landing.BUCKET, delivery.object_key)
    if dataset is None:
        return Told(name)
    tally = receipt.tally
    results = [*_results(tally.by_rule, "error"), *_results(tally.warnings, "warn")]
    of_run = facets.read(tally.rows_in, delivery.bytes)
    return Told(name, _delivered_columns(silo.name, dataset), of_run | facets.assertions(results))


def _results(broken: dict[str, int], severity: str) -> Iterator[dict[str, Any]]:
    """The rules that rows broke, and how many rows did. Rules that none broke are not listed: there are dozens."""
    for rule, rows in sorted(broken.items()):
        yield {"assertion": rule, "success": False, "severity": severity, "expected": "0", "actual": str(rows)}


def _conformed(settings: Settings, silo: Silo, dataset: Dataset, delivery: DeliveryRow, receipt: Receipt) -> Told:
    table = names.table(tables.NAMESPACE, dataset.name)
    delivered = names.stored(landing.BUCKET, delivery.object_key)
    made_from = {
        name: [(delivered, source) for source in found] for name, found in _sources(silo.name, dataset).items()
    }
    return Told(
        table,
        _conformed_columns(silo.name, dataset)
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
def _delivered_columns(silo: str, dataset: Dataset) -> Facets:
    described = dataset.delivered.to_schema().columns
    delivered, _ = of_dataset(silo, dataset).nodes
    return facets.fields(
        (name, str(field.dtype), field.description or "") for name, field in described.items()
    ) | facets.tags(delivered.columns)


@cache
def _conformed_columns(silo: str, dataset: Dataset) -> Facets:
    _, conformed = of_dataset(silo, dataset).nodes
    described = (
        (field.name, str(field.type), (field.metadata or {}).get(b"doc", b"").decode())
        for field in arrow_schema(dataset)
    )
    return facets.fields(described) | facets.tags(conformed.columns) | facets.documentation(dataset.description)


@cache
def _sources(silo: str, dataset: Dataset) -> dict[str, tuple[columns.Source, ...]]:
    lineage = of_dataset(silo, dataset)
    delivered, conformed = lineage.nodes
    return columns.sources(lineage, conformed.name, {delivered.name})
