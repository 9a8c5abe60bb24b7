"""Facets: what an event says of a run, a job or a dataset, each with the version of the schema it follows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib.metadata import version
from typing import Any

from infra import catalog
from infra.lineage.graph import ROWS, Column
from infra.openlineage import names
from infra.openlineage.columns import Source
from infra.openlineage.names import Name
from infra.settings import Settings

EVENT_SCHEMA = "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent"
PRODUCER = f"urn:calanque:{version('calanque')}"

Facet = dict[str, Any]
Facets = dict[str, Facet]

_CUSTOM_RUN = "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunFacet"


def _facet(schema: str, **content: Any) -> Facet:
    name, _, _ = schema.rpartition("/")[2].partition(".json")
    url = f"https://openlineage.io/spec/facets/{schema}.json#/$defs/{name}"
    return {"_producer": PRODUCER, "_schemaURL": url, **content}


# --- runs and jobs ---------------------------------------------------------------------------------------------------


def own(**content: Any) -> Facet:
    """A run facet of our own: figures of the run that the format has no place for."""
    return {"_producer": PRODUCER, "_schemaURL": _CUSTOM_RUN, **content}


def parent(job: Name, run_id: str, root_job: Name, root_run_id: str) -> Facets:
    """The run that started this one, and the run at the very beginning."""
    return {
        "parent": _facet(
            "1-2-0/ParentRunFacet",
            run={"runId": run_id},
            job=job._asdict(),
            root={"run": {"runId": root_run_id}, "job": root_job._asdict()},
        )
    }


def error(sentence: str) -> Facets:
    """Why a run failed; the sentence must quote no value of the data."""
    return {"errorMessage": _facet("1-0-1/ErrorMessageRunFacet", message=sentence, programmingLanguage="PYTHON")}


def engine(package: str) -> Facets:
    """The program that did the work, by the name of its package."""
    return {"processing_engine": _facet("1-1-1/ProcessingEngineRunFacet", name=package, version=version(package))}


def job_type(integration: str, kind: str) -> Facets:
    """What kind of job it is, such as TASK of AIRFLOW or MODEL of DBT."""
    return {
        "jobType": _facet("2-0-4/JobTypeJobFacet", processingType="BATCH", integration=integration, jobType=kind),
    }


def job_documentation(text: str) -> Facets:
    """What a job is for, in a sentence."""
    return {"documentation": _facet("1-1-0/DocumentationJobFacet", description=text)}


# --- datasets --------------------------------------------------------------------------------------------------------


def fields(columns: Iterable[tuple[str, str, str]]) -> Facets:
    """The columns of a dataset: name, type and description of each."""
    told = [
        {"name": name, "type": kind} | ({"description": description} if description else {})
        for name, kind, description in columns
    ]
    return {"schema": _facet("1-2-0/SchemaDatasetFacet", fields=told)}


def tags(columns: Iterable[Column]) -> Facets:
    """What each column can tell of a person, see :mod:`infra.lineage.classification`, and whether any does."""
    known = [column for column in columns if column.name != ROWS]
    personal = any(not column.classification.is_public for column in known)
    told: list[dict[str, str]] = [{"key": "personal_data", "value": str(personal).lower(), "source": "CALANQUE"}]
    told += [
        {"key": "classification", "value": column.classification.value, "source": "CALANQUE", "field": column.name}
        for column in known
    ]
    return {"tags": _facet("1-0-0/TagsDatasetFacet", tags=told)}


def column_lineage(made_from: Mapping[str, Iterable[tuple[Name, Source]]]) -> Facets:
    """What each column is made from; under :data:`infra.lineage.graph.ROWS`, what decides which rows there are.

    That rows come from rows has no place in the format: it follows from the inputs.
    """
    told = {
        name: [_input(dataset, source) for dataset, source in sources if source.column != ROWS]
        for name, sources in made_from.items()
    }
    rows = told.pop(ROWS, [])
    return {
        "columnLineage": _facet(
            "1-2-0/ColumnLineageDatasetFacet",
            fields={name: {"inputFields": sources} for name, sources in told.items()},
            dataset=rows,
        )
    }


def _input(dataset: Name, source: Source) -> dict[str, Any]:
    transformation = {
        "type": "DIRECT" if source.direct else "INDIRECT",
        "subtype": source.subtype,
        "description": source.description,
        "masking": source.masked,
    }
    return {**dataset._asdict(), "field": source.column, "transformations": [transformation]}


def iceberg(settings: Settings, namespace: str, name: str, snapshot_id: int | str | None) -> Facets:
    """That a dataset is an Iceberg table: its catalog, its name there, and which version of it is meant."""
    server = names.server(settings)
    told = {
        "symlinks": _facet(
            "1-0-1/SymlinksDatasetFacet",
            identifiers=[{"namespace": server, "name": f"{catalog.NAME}.{namespace}.{name}", "type": "TABLE"}],
        ),
        "catalog": _facet(
            "1-1-0/CatalogDatasetFacet",
            framework="iceberg",
            type="jdbc",
            name=catalog.NAME,
            metadataUri=f"{server}/{catalog.DATABASE}",
            warehouseUri=catalog.WAREHOUSE,
            source="pyiceberg",
        ),
        "storage": _facet("1-0-1/StorageDatasetFacet", storageLayer="iceberg", fileFormat="parquet"),
    }
    return told | (version_of(str(snapshot_id)) if snapshot_id is not None else {})


def version_of(version: str) -> Facets:
    """Which version of a dataset is meant."""
    return {"version": _facet("1-0-1/DatasetVersionDatasetFacet", datasetVersion=version)}


def parquet() -> Facets:
    """That a dataset is Parquet files."""
    return {"storage": _facet("1-0-1/StorageDatasetFacet", storageLayer="s3", fileFormat="parquet")}


def documentation(text: str) -> Facets:
    """What a dataset is, in a sentence."""
    return {"documentation": _facet("1-1-0/DocumentationDatasetFacet", description=text)}


def read(rows: int, size: int | None = None) -> Facets:
    """How much of an input was read, and that much was looked at."""
    sized: dict[str, Any] = {} if size is None else {"bytes": size}
    return {
        "dataQualityMetrics": _facet(
            "1-0-3/DataQualityMetricsInputDatasetFacet", rowCount=rows, fileCount=1, columnMetrics={}, **sized
        )
    }


def assertions(results: Iterable[Mapping[str, Any]]) -> Facets:
    """What was checked of a dataset and what came out: ``assertion``, ``success`` and what else the schema has."""
    return {"dataQualityAssertions": _facet("1-1-0/DataQualityAssertionsDatasetFacet", assertions=list(results))}


def written(rows: int, *, size: int | None = None, files: int | None = None) -> Facets:
    """How much was written to an output."""
    known = {"rowCount": rows, "size": size, "fileCount": files}
    given = {name: value for name, value in known.items() if value is not None}
    return {"outputStatistics": _facet("1-0-2/OutputStatisticsOutputDatasetFacet", **given)}
