"""From candidates to published marts: judge, store, then show in Iceberg and in BI, exactly once.

A release is first *prepared*: its files are stored and its manifest is in the registry. From then on it is finished,
whatever happens: the next call finishes what a killed one had prepared. Readers of one store see a version whole or not
at all; all marts of a build change in BI in the same instant.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import partial
from pathlib import Path

import psycopg
from minio import Minio

from infra import catalog, database, object_store, registry
from infra.city import load_city
from infra.settings import Settings
from publication import bi, candidates, files, iceberg
from publication.candidates import Build, BuiltMart, Column
from publication.contracts import Contract, Violation
from publication.judging import Verdict, judge
from publication.manifest import BUCKET, Inputs, Manifest, Quarter, merge

ROLE = "publisher"
RECEIPTS = "receipts"
LOCK = "release"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Release:
    """One version of a mart that this call made visible."""

    mart: str
    version: int
    rows: int
    period_start: date
    period_end: date
    sha256: str
    manifest_key: str


@dataclass(frozen=True)
class _Desk:
    """What a release works with."""

    registry: psycopg.Connection
    store: Minio
    settings: Settings
    scratch: Path

    def history(self, mart: str, version: int) -> Manifest | None:
        row = registry.release(self.registry, mart, version)
        return Manifest.model_validate(row.manifest) if row else None


def release(settings: Settings, build_id: str) -> list[Release]:
    """Release every mart of a build that passes its contract and the gate, and finish what an earlier call left.

    A mart that is held back keeps its last release; why is in the log, in its receipt and in ``registry.mart``. A mart
    whose content did not change gets no new version. Two calls at once: the second waits. Safe to repeat.

    Raises:
        publication.candidates.UnknownBuildError: no such candidates.
    """
    with _desk(settings) as desk:
        finished = _finish(desk)
        build = candidates.load(desk.store, build_id)
        _prepare(desk, build)
        finished += _finish(desk)
        _clean(desk, build_id)
        return finished


def release_latest(settings: Settings) -> list[Release]:
    """Release the newest build whose candidates are stored; with none, only finish what an earlier call left."""
    with _desk(settings) as desk:
        newest = list(candidates.builds(desk.store))[-1:]
    if newest:
        return release(settings, newest[0])
    with _desk(settings) as desk:
        return _finish(desk)


@contextmanager
def _desk(settings: Settings) -> Iterator[_Desk]:
    """One release at a time, in a scratch folder that the one before may have left behind."""
    with (
        database.connect(settings, ROLE, catalog.DATABASE, autocommit=True) as connection,
        registry.locked(connection, LOCK),
    ):
        scratch = settings.work_dir / "release"
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir(parents=True)
        try:
            yield _Desk(connection, object_store.client(settings, ROLE), settings, scratch)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)


# --- preparing -------------------------------------------------------------------------------------------------------


def _prepare(desk: _Desk, build: Build) -> None:
    """Store the files of every candidate that passes and changed, then record all of them as prepared at once."""
    up_to_date = registry.marts(desk.registry)
    newest = registry.newest_releases(desk.registry)
    prepared: list[Manifest] = []
    unchanged: list[Manifest] = []
    held: list[_Held] = []
    waiting = [built for built in build.good if not _is_settled(up_to_date.get(built.mart.name), build, built)]
    if not waiting:
        return
    city = load_city(desk.settings)
    for built in waiting:
        mart = built.mart.name
        verdict = judge(desk.store, city, build, built, desk.scratch)
        previous = Manifest.model_validate(newest[mart].manifest) if mart in newest else None
        violations = verdict.violations or _unreplaced(verdict, build, previous)
        if violations or verdict.contract is None or verdict.frame is None:
            held.append(_Held(mart, built.mart.silo, tuple(violations)))
            continue
        quarters = files.store_quarters(desk.store, verdict.contract, verdict.frame, desk.scratch)
        manifest = _draft(build, built, verdict.contract, quarters, previous)
        if previous and manifest.sha256 == previous.sha256:
            unchanged.append(manifest)
        else:
            prepared.append(manifest)
    for each in held:
        _report(desk, build, each)
    _refresh_descriptions(desk, unchanged)
    with desk.registry.transaction():
        for manifest in prepared:
            registry.prepare_release(desk.registry, _row(manifest))
        for manifest in unchanged:
            registry.advance_mart(desk.registry, _state(manifest))
        for each in held:
            registry.hold_mart(desk.registry, each.mart, each.silo, build.build_id, each.sentence)


def _is_settled(seen: registry.MartRow | None, build: Build, built: BuiltMart) -> bool:
    """Whether a candidate was released already, or overtaken by a newer build."""
    if seen is None:
        return False
    return seen.build_id == build.build_id or (seen.commit_seq or 0) > build.commits[built.mart.silo]


@dataclass(frozen=True)
class _Held:
    """A candidate that is not released, and why."""

    mart: str
    silo: str
    violations: tuple[Violation, ...]

    @property
    def sentence(self) -> str:
        return "; ".join(violation.sentence() for violation in self.violations)


def _unreplaced(verdict: Verdict, build: Build, previous: Manifest | None) -> tuple[Violation, ...]:
    """A mart whose columns changed must be built whole: files of two shapes do not make one table."""
    if verdict.contract is None or previous is None:
        return ()
    carried = merge(previous, build.quarters, ())
    if not carried or previous.shape == tuple(verdict.contract.columns.items()):
        return ()
    return (Violation("columns_changed_but_quarters_carried_over", None, sum(quarter.rows for quarter in carried)),)


def _draft(
    build: Build, built: BuiltMart, contract: Contract, quarters: Sequence[Quarter], previous: Manifest | None
) -> Manifest:
    """The manifest of the next version: ``quarters`` in the place of those rebuilt."""
    descriptions = {column.name: column.description for column in built.mart.columns}
    covered = build.spec.coverage[built.mart.silo]
    return Manifest(
        mart=contract.mart,
        silo=built.mart.silo,
        version=previous.version + 1 if previous else 1,
        description=built.mart.description,
        grain=contract.grain,
        columns=tuple(
            Column(name=name, type=kind, description=descriptions.get(name, ""))
            for name, kind in contract.columns.items()
        ),
        quarters=merge(previous, build.quarters, quarters),
        inputs=Inputs(
            build_id=build.build_id,
            code_version=build.code_version,
            commit_seq=build.commits[built.mart.silo],
            covered_from=covered.first_day,
            covered_to=covered.last_day,
        ),
    )


def _row(manifest: Manifest) -> registry.ReleaseRow:
    return registry.ReleaseRow(
        mart=manifest.mart,
        version=manifest.version,
        build_id=manifest.inputs.build_id,
        code_version=manifest.inputs.code_version,
        commit_seq=manifest.inputs.commit_seq,
        rows=manifest.rows,
        period_start=manifest.period_start,
        period_end=manifest.period_end,
        sha256=manifest.sha256,
        manifest_key=manifest.key,
        manifest=manifest.model_dump(mode="json"),
        snapshot_id=None,
        status="prepared",
        released_at=None,
    )


def _state(manifest: Manifest) -> registry.MartRow:
    return registry.MartRow(
        mart=manifest.mart,
        silo=manifest.silo,
        build_id=manifest.inputs.build_id,
        code_version=manifest.inputs.code_version,
        commit_seq=manifest.inputs.commit_seq,
        covered_from=manifest.inputs.covered_from,
        covered_to=manifest.inputs.covered_to,
    )


def _report(desk: _Desk, build: Build, held: _Held) -> None:
    """Tell whoever reads logs or receipts that a mart was held back, by which rules."""
    log.error("mart %s is held back and keeps its last release: %s", held.mart, held.sentence)
    receipt = {
        "mart": held.mart,
        "build_id": build.build_id,
        "code_version": build.code_version,
        "violations": [
            {"rule": violation.rule, "column": violation.column, "rows": violation.rows}
            for violation in held.violations
        ],
    }
    object_store.put_json(desk.store, RECEIPTS, f"releases/{held.mart}/held-{build.build_id}.json", receipt)


def _refresh_descriptions(desk: _Desk, manifests: Sequence[Manifest]) -> None:
    """A mart whose rows did not change may be described better than before."""
    if not manifests:
        return
    with database.connect(desk.settings, ROLE, bi.DATABASE, autocommit=True) as connection, connection.transaction():
        shown = bi.versions(connection)
        for manifest in manifests:
            if manifest.mart in shown:
                bi.describe(connection, manifest)


# --- finishing -------------------------------------------------------------------------------------------------------


def _finish(desk: _Desk) -> list[Release]:
    """Show every prepared version, and bring a BI database that was emptied or restored back to what was released."""
    newest = registry.newest_releases(desk.registry)
    manifests = {mart: Manifest.model_validate(row.manifest) for mart, row in newest.items()}
    prepared = [manifests[mart] for mart, row in newest.items() if row.status == "prepared"]
    rows = partial(files.read, desk.store)
    with database.connect(desk.settings, ROLE, bi.DATABASE, autocommit=True) as connection:
        shown = bi.versions(connection)
        behind = [manifest for mart, manifest in manifests.items() if shown.get(mart) != manifest.version]
        if not prepared and not behind:
            return []
        snapshots = _commit(desk, prepared)
        released_at = bi.publish(connection, behind, rows, desk.history)
    for manifest in prepared:
        _write_receipt(desk, manifest, snapshots[manifest.mart], released_at[manifest.mart])
    with desk.registry.transaction():
        for manifest in prepared:
            registry.settle_release(
                desk.registry,
                manifest.mart,
                manifest.version,
                snapshots[manifest.mart],
                released_at[manifest.mart],
            )
            registry.advance_mart(desk.registry, _state(manifest))
    return [
        Release(
            mart=manifest.mart,
            version=manifest.version,
            rows=manifest.rows,
            period_start=manifest.period_start,
            period_end=manifest.period_end,
            sha256=manifest.sha256,
            manifest_key=manifest.key,
        )
        for manifest in prepared
    ]


def _commit(desk: _Desk, manifests: Sequence[Manifest]) -> dict[str, int]:
    """Publish the manifests and commit the Iceberg tables; the snapshot of each, by mart."""
    if not manifests:
        return {}
    tables = catalog.open_catalog(desk.settings, ROLE)
    snapshots = {}
    for manifest in manifests:
        object_store.put_json(desk.store, BUCKET, manifest.key, manifest.document())
        snapshots[manifest.mart] = iceberg.commit(tables, manifest, partial(files.read, desk.store), desk.history)
    return snapshots


def _write_receipt(desk: _Desk, manifest: Manifest, snapshot_id: int, released_at: datetime) -> None:
    receipt = {
        "mart": manifest.mart,
        "version": manifest.version,
        "build_id": manifest.inputs.build_id,
        "code_version": manifest.inputs.code_version,
        "commit_seq": manifest.inputs.commit_seq,
        "rows": manifest.rows,
        "period_start": manifest.period_start.isoformat(),
        "period_end": manifest.period_end.isoformat(),
        "sha256": manifest.sha256,
        "manifest_key": manifest.key,
        "files": {quarter.quarter.isoformat(): quarter.sha256 for quarter in manifest.quarters},
        "snapshot_id": snapshot_id,
        "released_at": released_at.astimezone(UTC).isoformat(),
    }
    object_store.put_json(desk.store, RECEIPTS, f"releases/{manifest.mart}/v{manifest.version}.json", receipt)


def _clean(desk: _Desk, build_id: str) -> None:
    """Delete the candidates of builds older than the one just released."""
    for older in candidates.builds(desk.store):
        if older == build_id:
            return
        candidates.discard(desk.store, older)
