"""From candidates to published marts: judge, store, then show in Iceberg and in BI, exactly once.

A release is first *prepared*: its files are stored and its manifest is in the registry. From then on it is finished,
whatever happens: the next call finishes what a killed one had prepared. Readers of one store see a version whole or not
at all; all marts of a build change in BI in the same instant.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
from minio import Minio

from infra import catalog, contract_versions, database, logs, object_store, registry
from infra.build_spec import Edition, Unit
from infra.calendar import clock, days, trusted_clock
from infra.city.profile import load_city
from infra.openlineage import outbox
from infra.settings import Settings
from privacy import ledger
from privacy.plan import plan
from privacy.signed_copies import Copies
from privacy.spending import WITHDRAWAL, Book, Published, RefusedError, period, release_line, withdrawal_line
from publication import mart_lineage
from publication.builds import candidates, utility
from publication.builds.candidates import Build, BuiltMart, BuiltUnit, Column, Mart
from publication.contracts import Contract, Violation
from publication.releases import bi, files, iceberg, mart_documents, restored
from publication.releases.manifest import BUCKET, PREFIX, Inputs, Manifest, Part, folder, merge
from publication.releases.validation import Verdict, judge

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
    period_start: date | None
    period_end: date | None
    sha256: str
    manifest_key: str


@dataclass(frozen=True)
class _ReleaseSession:
    """What a release works with."""

    registry: psycopg.Connection
    store: Minio
    settings: Settings
    scratch: Path
    copies: Copies

    def history(self, mart: str, version: int) -> Manifest | None:
        row = registry.release(self.registry, mart, version)
        return Manifest.model_validate(row.manifest) if row else None


def release(settings: Settings, build_id: str) -> list[Release]:
    """Release every mart of a build that passes contract, gate and ledger, and finish what an earlier call left.

    A mart that is held back keeps its last release; why is in the log, in its receipt and in ``registry.mart``. A unit
    that was published before is not published again; when nothing else is left of a mart, it gets no new version. Two
    calls at once: the second waits. Safe to repeat.

    Raises:
        publication.builds.candidates.UnknownBuildError: no such candidates.
        privacy.ledger.LedgerBrokenError: the ledger is broken, or the clock went back; nothing was released.
    """
    with _session(settings) as session:
        finished = _finish(session)
        build = candidates.load(session.store, build_id)
        _prepare(session, build)
        finished += _finish(session)
        _clean(session, build_id)
        return finished


def release_latest(settings: Settings) -> list[Release]:
    """Release the newest build whose candidates are stored; with none, only finish what an earlier call left."""
    with _session(settings) as session:
        newest = list(candidates.builds(session.store))[-1:]
    with suppress(candidates.UnknownBuildError):  # of older code: what is due is built again
        if newest:
            return release(settings, newest[0])
    with _session(settings) as session:
        return _finish(session)


def withdraw(settings: Settings, mart: str, first_day: date, reason: str) -> list[Release]:
    """Take a published unit back: a version of the mart without it, and its files deleted. What it spent stays spent.

    Raises:
        privacy.spending.RefusedError: it is not published, or no reason is given.
        privacy.ledger.LedgerBrokenError: the ledger is broken, or the clock went back.
    """
    with _session(settings) as session:
        finished = _finish(session)
        newest = registry.newest_releases(session.registry)
        with ledger.locked(session.registry) as chain:
            session.copies.check_head(chain)
            version = newest[mart].version + 1 if mart in newest else 1
            line = withdrawal_line(Book(chain), mart, first_day, version, reason)
            ledger.append(session.registry, chain[-1], trusted_clock.now(settings, ROLE), [line])
            previous = Manifest.model_validate(newest[mart].manifest)
            parts = merge(previous, [first_day], ())
            registry.prepare_release(
                session.registry, _row(previous.model_copy(update={"version": version, "parts": parts}))
            )
            registry.drop_unit(session.registry, mart, first_day)
        return finished + _finish(session)


def compare(settings: Settings, build_id: str) -> list[Published]:
    """Whether the units of a build that compares are what was published; those that other code makes otherwise.

    Raises:
        privacy.spending.RefusedError: some are not, though the same version of their mart made them, or could not be
            made; each is named.
    """
    otherwise: list[Published] = []
    with _session(settings) as session:
        build = candidates.load(session.store, build_id)
        city = load_city(settings)
        book = Book(ledger.lines(session.registry))
        refusals = [
            f"mart {failed.mart.name} could not be built: {failed.problems[0].sentence()}" for failed in build.failed
        ]
        for built in build.good:
            verdict = judge(session.store, city, build, built, session.scratch)
            if verdict.contract is None or verdict.frame is None:
                refusals.append(f"mart {built.mart.name}: {_Held(built.mart, verdict.violations).sentence}")
                continue
            due = {each.unit: each.fingerprint for each in build.due_of(built.mart.name)}
            units = {unit.first_day: unit for unit in due}
            for part, path in files.make_parts(verdict.contract, due, verdict.frame, session.scratch):
                path.unlink()
                unit = units[part.first_day]
                before = book.edition(unit)
                if before is not None and before.code_version != built.mart.version:
                    if before.sha256 != part.sha256:
                        otherwise.append(before)
                    continue
                try:
                    book.is_new(plan(), unit, part.fingerprint, part.sha256)
                except RefusedError as reason:
                    refusals.append(str(reason))
        candidates.discard(session.store, build.build_id)
    if refusals:
        raise RefusedError("\n".join(refusals))
    return otherwise


@contextmanager
def _session(settings: Settings) -> Iterator[_ReleaseSession]:
    """One release at a time, in a scratch folder that the one before may have left behind."""
    with (
        logs.stage(settings, "release"),
        database.connect(settings, ROLE, catalog.DATABASE, autocommit=True) as connection,
        registry.locked(connection, LOCK),
    ):
        scratch = settings.work_dir / "release"
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir(parents=True)
        try:
            store = object_store.client(settings, ROLE)
            yield _ReleaseSession(connection, store, settings, scratch, Copies(settings, store))
        finally:
            shutil.rmtree(scratch, ignore_errors=True)


# --- preparing -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Held:
    """A candidate that is not released, and why."""

    mart: Mart
    violations: tuple[Violation, ...] = ()
    refusal: str | None = None

    @property
    def sentence(self) -> str:
        return self.refusal or "; ".join(violation.sentence() for violation in self.violations)


@dataclass(frozen=True)
class _Draft:
    """A candidate that may be released: the next version of its mart, and which of its units are new."""

    built: BuiltMart
    manifest: Manifest
    added: tuple[BuiltUnit, ...]


def _prepare(session: _ReleaseSession, build: Build) -> None:
    """Store the files of every unit that passes and is new, then record all of them as prepared at once."""
    seen = registry.marts(session.registry)
    waiting = [
        built for built in build.good if built.mart.name not in seen or seen[built.mart.name].build_id != build.build_id
    ]
    if not waiting:
        return
    city = load_city(session.settings)
    book = Book(ledger.lines(session.registry))
    newest = registry.newest_releases(session.registry)
    covered = registry.covered_days(session.registry, sorted({built.mart.silo for built in waiting}))
    drafts: list[_Draft] = []
    held: list[_Held] = []
    parts = {mart: _parts(Manifest.model_validate(row.manifest)) for mart, row in newest.items()}
    for built in sorted(waiting, key=lambda built: bool(built.mart.fitted_to)):  # quarters after their months
        if not build.spec.covered_days(built.mart.silo) <= covered[built.mart.silo]:
            log.warning("%s: days were taken back since it was built: it is not released", built.mart.name)
            continue
        row = newest.get(built.mart.name)
        verdict = judge(session.store, city, build, built, session.scratch)
        previous = Manifest.model_validate(row.manifest) if row else None
        found = _draft(session, build, verdict, book, previous=previous, parts=parts)
        if isinstance(found, _Held):
            held.append(found)
        else:
            drafts.append(found)
            parts[built.mart.name] = _parts(found.manifest)
    _refresh_descriptions(session, [draft.manifest for draft in drafts if not draft.added])
    now = trusted_clock.now(session.settings, ROLE)
    with ledger.locked(session.registry) as chain:
        session.copies.check_head(chain)
        book = Book(chain)
        for draft in drafts:
            try:
                lines = _lines(book, draft)
            except RefusedError as reason:
                held.append(_Held(draft.built.mart, refusal=str(reason)))
                continue
            if lines:
                added = ledger.append(session.registry, chain[-1] if chain else None, now, lines)
                chain.extend(added)
                book.add(added)
                registry.prepare_release(session.registry, _row(draft.manifest))
                registry.put_units(session.registry, [_unit_row(build, each) for each in draft.added])
            else:
                registry.advance_mart(session.registry, draft.manifest.mart, draft.manifest.silo, build.build_id)
        for each in held:
            registry.hold_mart(session.registry, each.mart.name, each.mart.silo, build.build_id, each.sentence)
    for each in held:
        _report(session, build, each)


def _draft(
    session: _ReleaseSession,
    build: Build,
    verdict: Verdict,
    book: Book,
    *,
    previous: Manifest | None,
    parts: Mapping[str, Mapping[date, Part]],
) -> _Draft | _Held:
    """The next version of a mart, its new files stored; or why there is none. ``parts``: of each mart as published or
    drafted.
    """
    mart = verdict.built.mart
    if verdict.contract is None or verdict.frame is None:
        return _Held(mart, verdict.violations)
    if previous and previous.contract:
        unannounced = contract_versions.unannounced(previous.contract, mart_documents.of(verdict.contract))
        if unannounced is not None:
            return _Held(mart, refusal=unannounced)
    due = {each.unit: each for each in build.due_of(mart.name)}
    made = files.make_parts(
        verdict.contract, {unit: each.fingerprint for unit, each in due.items()}, verdict.frame, session.scratch
    )
    units = {unit.first_day: unit for unit in due}
    try:
        new = [
            (part, path)
            for part, path in made
            if book.is_new(plan(), units[part.first_day], part.fingerprint, part.sha256)
        ]
        added = tuple(due[units[part.first_day]] for part, _ in new)
        for each in added:
            _refuse_other_family(book, build, each)
        new = [
            (part.model_copy(update={"fitted_to": _fitted_to(mart, each, build, parts)}), path)
            for (part, path), each in zip(new, added, strict=True)
        ]
        _refuse_published_elsewhere(session, build, [each.unit for each in added])
    except RefusedError as reason:
        return _Held(mart, refusal=str(reason))
    manifest = _manifest(build, verdict.built, verdict.contract, [part for part, _ in new], previous)
    if new and previous and previous.shape != manifest.shape and len(new) < len(manifest.parts):
        carried = sum(part.rows for part in manifest.parts) - sum(part.rows for part, _ in new)
        return _Held(
            mart,
            refusal=f"the columns of {mart.name} changed, but {carried:,} rows of periods published before have those "
            f"of then: correct these periods too (`calanque correct {mart.name} ...`), or give the table another name",
        )
    for part, path in new:
        files.store(session.store, part, path)
    for each in added:
        if each.utility is not None:
            object_store.put_json(session.store, RECEIPTS, utility.key(each.unit), each.utility)
    for _, path in made:
        path.unlink()
    return _Draft(verdict.built, manifest, added)


def _parts(manifest: Manifest) -> dict[date, Part]:
    return {part.first_day: part for part in manifest.parts}


def _fitted_to(
    mart: Mart, one: BuiltUnit, build: Build, parts: Mapping[str, Mapping[date, Part]]
) -> tuple[Edition, ...]:
    """The published months that a unit was fitted to, named: those of before, else those that are built beside it.

    Raises:
        RefusedError: one of them is held back.
    """
    before = {each.first_day for each in one.fitted_to}
    beside = [
        each.unit
        for each in build.units
        if each.due
        and each.unit.mart in mart.fitted_to
        and one.unit.first_day <= each.unit.first_day <= one.unit.last_day
        and each.unit.first_day not in before
    ]
    named = []
    for unit in beside:
        part = parts.get(unit.mart, {}).get(unit.first_day)
        if part is None or part.edition != unit.edition:
            raise RefusedError(_waits(one.unit, unit.mart, unit.first_day))
        named.append(Edition(mart=unit.mart, first_day=unit.first_day, edition=unit.edition, sha256=part.sha256))
    return (*one.fitted_to, *named)


def _waits(unit: Unit, mart: str, month: date) -> str:
    return (
        f"{unit.mart} of {period(unit.first_day, unit.last_day)} adds up to its months, and {mart} of {month:%Y-%m} is "
        "held back: it waits for it"
    )


def _refuse_other_family(book: Book, build: Build, one: BuiltUnit) -> None:
    """Refuse a unit that was measured beside others than those that are published of its silo and period.

    It was made to agree with what was measured of them. From a changed input, with the noise of the edition that is
    published, that would tell what changed.
    """
    for other in build.family_of(one):
        history = book.unit(other.unit.mart, other.unit.first_day)
        before = history.editions.get(other.unit.edition) if history else None
        if before and before.fingerprint != other.fingerprint:
            raise RefusedError(
                f"{one.unit.mart} of {period(one.unit.first_day, one.unit.last_day)}: the input changed since "
                f"{other.unit.mart} was published, with which it must agree; `calanque correct {other.unit.mart} "
                f"{one.unit.first_day} --reason ...` asks for a correction, after which both are published"
            )


def _refuse_published_elsewhere(session: _ReleaseSession, build: Build, units: Sequence[Unit]) -> None:
    """Refuse units that the lake before this one may have published; a build of today has none of them."""
    if restored.held(session.registry, plan(), units, build.spec.city.time_zone):
        raise RefusedError(restored.sentence(registry.open_restorations(session.registry)[-1]))


def _lines(book: Book, draft: _Draft) -> list[tuple[str, Mapping[str, Any]]]:
    """The ledger lines of what a draft adds.

    Raises:
        RefusedError: the budget does not allow it beside what other marts of the same build spend.
    """
    parts = _parts(draft.manifest)
    for each in draft.added:
        for named in parts[each.unit.first_day].fitted_to:
            history = book.unit(named.mart, named.first_day)
            if history is None or named.edition not in history.editions:
                raise RefusedError(_waits(each.unit, named.mart, named.first_day))
    lines = []
    for each in draft.added:
        part = parts[each.unit.first_day]
        if book.is_new(plan(), each.unit, part.fingerprint, part.sha256):
            history = book.unit(each.unit.mart, each.unit.first_day)
            lines.append(
                release_line(
                    plan(),
                    each.unit,
                    release=draft.manifest.version,
                    fingerprint=part.fingerprint,
                    sha256=part.sha256,
                    code_version=draft.built.mart.version,
                    reason=history.correction if history else None,
                )
            )
    return lines


def _manifest(
    build: Build, built: BuiltMart, contract: Contract, parts: Sequence[Part], previous: Manifest | None
) -> Manifest:
    """The manifest of the next version: ``parts`` beside those published before."""
    descriptions = {column.name: column.description for column in built.mart.columns}
    covered = build.spec.covered_days(built.mart.silo)
    parts = [
        part.model_copy(update={"days_covered": len(days.within(covered, part.first_day, part.last_day))})
        for part in parts
    ]
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
        parts=merge(previous, [part.first_day for part in parts], parts),
        inputs=Inputs(
            build_id=build.build_id,
            code_version=built.mart.version,
            commit_seq=build.commits[built.mart.silo],
        ),
        contract=mart_documents.of(contract),
    )


def _unit_row(build: Build, each: BuiltUnit) -> registry.UnitRow:
    return registry.UnitRow(
        mart=each.unit.mart,
        first_day=each.unit.first_day,
        last_day=each.unit.last_day,
        edition=each.unit.edition,
        silo=each.silo,
        rows=each.rows,
        late_rows=0,
        commit_seq=build.commits[each.silo],
        missing=sorted(
            set(clock.days(each.unit.first_day, each.unit.last_day)) - build.spec.covered_days(each.silo),
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


def _report(session: _ReleaseSession, build: Build, held: _Held) -> None:
    """Tell whoever reads logs or receipts that a mart was held back, by which rules."""
    with logs.context(mart=held.mart.name, silo=held.mart.silo, build_id=build.build_id):
        log.error("mart %s is held back and keeps its last release: %s", held.mart.name, held.sentence)
    mart_lineage.held(session.settings, held.mart, build.build_id, held.sentence)
    receipt = {
        "mart": held.mart.name,
        "build_id": build.build_id,
        "code_version": held.mart.version,
        "violations": [
            {"rule": violation.rule, "column": violation.column, "rows": violation.rows}
            for violation in held.violations
        ],
        "refusal": held.refusal,
    }
    object_store.put_json(session.store, RECEIPTS, f"releases/{held.mart.name}/held-{build.build_id}.json", receipt)


def _refresh_descriptions(session: _ReleaseSession, manifests: Sequence[Manifest]) -> None:
    """A mart whose rows did not change may be described better than before."""
    if not manifests:
        return
    with database.connect(session.settings, ROLE, bi.DATABASE, autocommit=True) as connection, connection.transaction():
        shown = bi.versions(connection)
        for manifest in manifests:
            if manifest.mart in shown:
                bi.describe(connection, manifest)


# --- finishing -------------------------------------------------------------------------------------------------------


def _finish(session: _ReleaseSession) -> list[Release]:
    """Show every prepared version, and bring a BI database that was emptied or restored back to what was released."""
    with ledger.locked(session.registry) as chain:  # nothing becomes visible before the signed copies of its lines
        session.copies.catch_up(chain)
    _write_again(session)
    newest = registry.newest_releases(session.registry)
    manifests = {mart: Manifest.model_validate(row.manifest) for mart, row in newest.items()}
    prepared = [manifests[mart] for mart, row in newest.items() if row.status == "prepared"]
    rows = partial(files.read, session.store)
    with database.connect(session.settings, ROLE, bi.DATABASE, autocommit=True) as connection:
        shown = bi.versions(connection)
        behind = [manifest for mart, manifest in manifests.items() if shown.get(mart) != manifest.version]
        if not prepared and not behind:
            return []
        snapshots = _commit(session, prepared)
        _remove_withdrawn(session, prepared, chain)
        released_at = bi.publish(connection, behind, rows, session.history)
    for manifest in prepared:
        _write_receipt(session, manifest, snapshots[manifest.mart], released_at[manifest.mart])
    with session.registry.transaction():
        for manifest in prepared:
            registry.settle_release(
                session.registry,
                manifest.mart,
                manifest.version,
                snapshots[manifest.mart],
                released_at[manifest.mart],
            )
            registry.advance_mart(session.registry, manifest.mart, manifest.silo, manifest.inputs.build_id)
    for manifest in prepared:
        _tell(session, manifest, snapshots[manifest.mart])
    outbox.send(session.settings)
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


def _write_again(session: _ReleaseSession) -> None:
    """Write what readers have of marts that an older release of Calanque published again: it told too much.

    Digests of exact counts stood in manifests and snapshots. Only the newest version stays, with the same figures.
    """
    newest = registry.newest_releases(session.registry)
    told = [mart for mart, row in registry.marts(session.registry).items() if row.tells_exact]
    rows = partial(files.read, session.store)
    for mart, row in newest.items():
        if mart not in told or row.status != "released" or row.released_at is None:
            continue
        manifest = Manifest.model_validate(row.manifest)
        snapshot = iceberg.renew(catalog.open_catalog(session.settings, ROLE), manifest, rows)
        object_store.put_json(session.store, BUCKET, manifest.key, manifest.document())
        _leave_newest(session, manifest)
        with database.connect(session.settings, ROLE, bi.DATABASE, autocommit=True) as connection:
            bi.renew(connection, manifest, rows)
        with session.registry.transaction():
            registry.settle_release(session.registry, mart, row.version, snapshot, row.released_at)
            registry.forget_exact(session.registry, mart)


def _tell(session: _ReleaseSession, manifest: Manifest, snapshot_id: int) -> None:
    """Say in log and lineage that a version is out."""
    previous = session.history(manifest.mart, manifest.version - 1)
    added = manifest.changed_since(previous).added
    logs.tell(
        log,
        f"{manifest.mart} v{manifest.version} is out: {manifest.rows} rows",
        mart=manifest.mart,
        version=manifest.version,
        build_id=manifest.inputs.build_id,
        silo=manifest.silo,
        commit_seq=manifest.inputs.commit_seq,
        days=[f"{part.first_day}/{part.last_day}" for part in added],
    )
    mart_lineage.released(session.settings, manifest, previous, snapshot_id)


def _commit(session: _ReleaseSession, manifests: Sequence[Manifest]) -> dict[str, int]:
    """Publish the manifests and commit the Iceberg tables; the snapshot of each, by mart."""
    if not manifests:
        return {}
    tables = catalog.open_catalog(session.settings, ROLE)
    snapshots = {}
    for manifest in manifests:
        object_store.put_json(session.store, BUCKET, manifest.key, manifest.document())
        snapshots[manifest.mart] = iceberg.commit(tables, manifest, partial(files.read, session.store), session.history)
    return snapshots


def _remove_withdrawn(session: _ReleaseSession, manifests: Sequence[Manifest], chain: Sequence[ledger.Line]) -> None:
    """Delete the files of withdrawn units, and the versions of their marts that still show or name them."""
    book = Book(chain)
    withdrawn = {(unit.mart, unit.first_day) for unit, _ in book.withdrawn()}
    withdrawals = {(line.body["mart"], line.body["release"]) for line in chain if line.kind == WITHDRAWAL}
    for manifest in manifests:
        for mart, first_day in withdrawn:
            if mart == manifest.mart:
                _delete(session, folder(mart, first_day), kept=())
        if (manifest.mart, manifest.version) in withdrawals:
            _leave_newest(session, manifest)


def _leave_newest(session: _ReleaseSession, manifest: Manifest) -> None:
    """Of the versions of a mart, leave the newest only: in Iceberg, and of the manifests that may be read."""
    kept = iceberg.forget_history(catalog.open_catalog(session.settings, ROLE), manifest.mart)
    _delete(session, f"{iceberg.NAMESPACE}/{manifest.mart}/", kept)
    _delete(session, f"{PREFIX}{manifest.mart}/v", {f"s3://{BUCKET}/{manifest.key}"})


def _delete(session: _ReleaseSession, prefix: str, kept: Collection[str]) -> None:
    """Delete what bucket ``lake`` holds below ``prefix``, but for these ``s3://`` addresses."""
    for name in list(object_store.list_keys(session.store, BUCKET, prefix)):
        if f"s3://{BUCKET}/{name}" not in kept:
            session.store.remove_object(BUCKET, name)


def _write_receipt(session: _ReleaseSession, manifest: Manifest, snapshot_id: int, released_at: datetime) -> None:
    receipt = {
        "mart": manifest.mart,
        "version": manifest.version,
        "build_id": manifest.inputs.build_id,
        "code_version": manifest.inputs.code_version,
        "commit_seq": manifest.inputs.commit_seq,
        "rows": manifest.rows,
        "period_start": manifest.period_start.isoformat() if manifest.period_start else None,
        "period_end": manifest.period_end.isoformat() if manifest.period_end else None,
        "sha256": manifest.sha256,
        "manifest_key": manifest.key,
        "files": {part.first_day.isoformat(): part.sha256 for part in manifest.parts},
        "snapshot_id": snapshot_id,
        "released_at": released_at.astimezone(UTC).isoformat(),
    }
    object_store.put_json(session.store, RECEIPTS, f"releases/{manifest.mart}/v{manifest.version}.json", receipt)


def _clean(session: _ReleaseSession, build_id: str) -> None:
    """Delete the candidates of builds older than the one just released."""
    for older in candidates.builds(session.store):
        if older == build_id:
            return
        candidates.discard(session.store, older)
