"""Lineage of marts: each build of a mart reads conformed tables and writes a candidate, each release of one writes what
people read.

What lies between is dbt's private database, which nobody can look at and which is gone by then: columns are followed
through it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from infra import object_store
from infra.lineage.classification import Classification
from infra.lineage.graph import Column, Lineage, Node
from infra.openlineage import columns, facets, names, outbox, runs
from infra.openlineage.facets import Facets
from infra.openlineage.names import Name
from infra.openlineage.runs import Dataset, Run
from infra.settings import Settings
from publication.builds import candidates
from publication.builds.candidates import Build, BuiltMart, Mart
from publication.builds.project import Project
from publication.releases import bi, iceberg
from publication.releases.manifest import BUCKET, PREFIX, Manifest

_CONFORMED = "conformed"
_Sources = dict[str, tuple[columns.Source, ...]]


# --- builds ----------------------------------------------------------------------------------------------------------


@contextmanager
def of_build(settings: Settings, declared: Project, marts: Sequence[Mart]) -> Iterator[Callable[[Build, Path], None]]:
    """Tell of one build, a run of each mart: call what this yields with the build and the folder of dbt's results."""
    told = {mart.name: Run(settings, f"build.{mart.name}", _job(mart, "DBT", "MODEL")) for mart in marts}
    for run in told.values():
        run.start()

    def tell(built: Build, target: Path) -> None:
        with runs.never_failing():
            lineage = declared.lineage()
            checked = _tested(target)
            snapshots = {table: _snapshot(settings, location) for table, location in built.spec.tables.items()}
            for mart in built.marts:
                checks = checked.get(mart.mart.name, [])
                _tell_built(told[mart.mart.name], lineage, built, mart, snapshots=snapshots, checked=checks)

    try:
        yield tell
    except Exception as error:
        for run in told.values():
            run.fail(type(error).__name__)
        raise
    outbox.send(settings)


def _tell_built(
    run: Run,
    lineage: Lineage,
    built: Build,
    mart: BuiltMart,
    *,
    snapshots: Mapping[str, int | None],
    checked: list[dict[str, Any]],
) -> None:
    name = mart.mart.name
    visible = {node.name for node in lineage.nodes if node.name.startswith(f"{_CONFORMED}.")}
    node = _node(lineage, name)
    found = columns.sources(lineage, node.name, visible)
    read = sorted({source.node.partition(".")[2] for sources in found.values() for source in sources})
    inputs = [
        Dataset(
            names.table(_CONFORMED, table),
            facets.iceberg(run.settings, _CONFORMED, table, snapshots.get(table)),
        )
        for table in read
    ]
    units = built.due_of(name)
    about: Facets = {
        "calanque_build": facets.own(
            buildId=built.build_id,
            codeVersion=mart.mart.version,
            compares=built.compares,
            commitSeq=built.commits.get(mart.mart.silo),
            periods=[f"{each.unit.first_day}/{each.unit.last_day}" for each in units],
            seconds=mart.seconds,
        )
    } | facets.engine("dbt-core")
    if not mart.good:
        run.fail("; ".join(problem.sentence() for problem in mart.problems), inputs, about)
        return
    output = Dataset(
        _candidate(built.build_id, name),
        {
            **_described(mart.mart),
            **facets.parquet(),
            **facets.tags(node.columns),
            **facets.column_lineage(_named(found)),
        },
        facets.written(mart.rows, files=1),
    )
    run.complete(inputs, [output], about)
    # The format has checks at what a run reads, so they are a run of their own, as with dbt's own events.
    tests = Run(run.settings, f"test.{name}", _job(mart.mart, "DBT", "TEST"), parent=run.as_parent())
    checks = [Dataset(output.name, {}, facets.read(mart.rows) | facets.assertions(checked))]
    tests.start(checks)
    tests.complete(checks)


def _node(lineage: Lineage, mart: str) -> Node:
    return next(node for node in lineage.nodes if node.is_mart and node.name.partition(".")[2] == mart)


def _named(found: _Sources) -> dict[str, list[tuple[Name, columns.Source]]]:
    return {
        column: [(names.table(_CONFORMED, source.node.partition(".")[2]), source) for source in sources]
        for column, sources in found.items()
    }


def _snapshot(settings: Settings, location: str | None) -> int | None:
    """The snapshot of a conformed table that a build read, from the metadata file that it pinned."""
    if location is None:
        return None
    bucket, _, key = location.removeprefix("s3://").partition("/")
    pinned = object_store.get_json(object_store.client(settings, "publisher"), bucket, key)
    return int(pinned["current-snapshot-id"])


def _tested(target: Path) -> dict[str, list[dict[str, Any]]]:
    """By model, the results of dbt's tests of it."""
    manifest = json.loads((target / "manifest.json").read_text())
    results = json.loads((target / "run_results.json").read_text())["results"]
    found: dict[str, list[dict[str, Any]]] = {}
    for result in results:
        test = manifest["nodes"].get(result["unique_id"], {})
        if test.get("resource_type") != "test" or result["status"] == "skipped":
            continue
        kind = (test.get("test_metadata") or {}).get("name", "custom_sql")
        outcome = {"assertion": kind, "name": test["name"], "success": result["status"] in {"pass", "warn"}}
        if test.get("column_name"):
            outcome["column"] = test["column_name"]
        severity = str(test.get("config", {}).get("severity", "error")).lower()
        for model in {test.get("attached_node")} if test.get("attached_node") else test["depends_on"]["nodes"]:
            name = manifest["nodes"].get(model, {}).get("name")
            if name is not None:
                found.setdefault(name, []).append(outcome | {"severity": severity})
    return found


# --- releases --------------------------------------------------------------------------------------------------------


def released(settings: Settings, manifest: Manifest, previous: Manifest | None, snapshot_id: int) -> None:
    """Tell that a version of a mart is out: as an Iceberg table, as files, in PostgreSQL."""
    with runs.never_failing():
        _tell_released(settings, manifest, previous, snapshot_id)


def _tell_released(settings: Settings, manifest: Manifest, previous: Manifest | None, snapshot_id: int) -> None:
    run = _release_run(settings, manifest.mart, manifest.description)
    candidate = _candidate(manifest.inputs.build_id, manifest.mart)
    # A version that only takes a unit back is made from no new candidate.
    made = previous is None or previous.inputs.build_id != manifest.inputs.build_id
    inputs = [Dataset(candidate)] if made else []
    described = facets.fields((column.name, column.type, column.description) for column in manifest.columns)
    described |= facets.documentation(manifest.description)
    # A project with a mart that shows anything else is refused before it is built: see publication.builds.project.load.
    described |= facets.tags(Column(name=each.name, classification=Classification.PUBLIC) for each in manifest.columns)
    if made:
        copied = columns.copied(candidate.name, [column.name for column in manifest.columns])
        described |= facets.column_lineage(
            {column: [(candidate, source) for source in sources] for column, sources in copied.items()}
        )
    version = facets.version_of(str(manifest.version))
    table = facets.iceberg(settings, iceberg.NAMESPACE, manifest.mart, snapshot_id)
    added = manifest.changed_since(previous).added
    rows = sum(part.rows for part in added)
    outputs = [
        Dataset(names.table(iceberg.NAMESPACE, manifest.mart), described | table, facets.written(rows)),
        Dataset(
            names.stored(BUCKET, f"{PREFIX}{manifest.mart}"),
            described | facets.parquet() | version,
            facets.written(rows, files=len(added)),
        ),
        Dataset(
            names.relation(settings, bi.DATABASE, bi.SCHEMA, manifest.mart), described | version, facets.written(rows)
        ),
    ]
    run.start(inputs)
    run.complete(inputs, outputs, _release_facet(manifest))


def held(settings: Settings, mart: Mart, build_id: str, because: str) -> None:
    """Tell that a candidate was not released, and why."""
    with runs.never_failing():
        run = _release_run(settings, mart.name, mart.description)
        candidate = [Dataset(_candidate(build_id, mart.name))]
        run.start(candidate)
        run.fail(because, candidate)


def _release_run(settings: Settings, mart: str, description: str) -> Run:
    return Run(
        settings,
        f"release.{mart}",
        facets.job_type("CALANQUE", "RELEASE") | facets.job_documentation(description),
    )


def _release_facet(manifest: Manifest) -> Facets:
    return {
        "calanque_release": facets.own(
            mart=manifest.mart,
            version=manifest.version,
            buildId=manifest.inputs.build_id,
            codeVersion=manifest.inputs.code_version,
            commitSeq=manifest.inputs.commit_seq,
            rows=manifest.rows,
            periodStart=str(manifest.period_start) if manifest.period_start else None,
            periodEnd=str(manifest.period_end) if manifest.period_end else None,
            sha256=manifest.sha256,
        )
    }


# --- what is said of a mart ------------------------------------------------------------------------------------------


def _job(mart: Mart, integration: str, kind: str) -> Facets:
    return facets.job_type(integration, kind) | facets.job_documentation(mart.description)


def _candidate(build_id: str, mart: str) -> Name:
    return names.stored(candidates.BUCKET, candidates.key(build_id, mart))


def _described(mart: Mart) -> Facets:
    described = facets.fields((column.name, column.type, column.description) for column in mart.columns)
    return described | facets.documentation(mart.description)
