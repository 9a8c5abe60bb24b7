"""Candidate marts from the conformed tables, by dbt in a DuckDB file private to the build.

What is due (:mod:`publication.due`) is pinned in a spec, dbt runs on it (:mod:`publication.builds.dbt_run`), and what
it made is read out and stored (:mod:`publication.builds.results`).
"""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
import time
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import psycopg
from minio import Minio

from infra import catalog, database, logs, object_store, registry
from infra.build_spec import BuildSpec, CityReference, Unit
from infra.calendar import days
from infra.city.profile import load_city
from infra.keys.known_keys import KnownKeys
from infra.keys.store import Keys, open_keys
from infra.settings import Settings
from privacy import ledger
from privacy.plan import plan
from privacy.spending import Book
from publication import mart_lineage, settling
from publication.builds import candidates, dbt_run, month_totals, project, results
from publication.builds.candidates import Build, BuiltMart, BuiltUnit
from publication.builds.project import Project
from publication.due import Due, Published, find_due
from publication.releases import late_arriving, restored

ROLE = "publisher"
LOCK = "build"

log = logging.getLogger(__name__)


def build(settings: Settings, *, full_refresh: bool = False, only: Collection[Published] | None = None) -> Build | None:
    """Build the candidates of every unit that is due; None, at once, when none is.

    ``full_refresh`` builds every published unit again, in the edition it was published in, from what the lake holds
    today: releasing that build publishes nothing, it compares; ``only`` these of them when given. A mart whose model,
    parents or tests fail is no candidate, keeps its last release, and does not stop the others: see ``Build.failed``. A
    build that is killed is repeated in place by the next call; two calls at once: the second waits. Rows that came too
    late for a published unit are counted first.

    Raises:
        publication.builds.dbt_run.BuildError: dbt stopped before building anything.
        infra.keys.store.KeyDamagedError: a key that noise was drawn with before is gone, or another one is in its
            place.
        infra.calendar.trusted_clock.ClockDoubtedError: the clock is not believed: it says which periods are over.
        privacy.ledger.LedgerBrokenError: late rows were found, and cannot be recorded.
        publication.builds.project.ProjectError: the dbt project cannot be parsed.
    """
    city = CityReference.of(load_city(settings))
    with (
        logs.stage(settings, "build"),
        database.connect(settings, ROLE, catalog.DATABASE, autocommit=True) as connection,
        registry.locked(connection, LOCK),
    ):
        if not registry.newest_commits(connection):
            return None  # and no need to let dbt parse the project for the first time
        late_arriving.count(settings, connection)
        declared = project.load(settings, city)
        find = partial(
            find_due,
            connection,
            declared,
            plan(),
            today=settling.today(settings, city.time_zone),
            destroyed=settling.destroyed_months(settings),
            full_refresh=full_refresh,
            only=only,
        )
        due = find()
        if due and (left := _expired(settings, due, declared) | _held(connection, due, city)):
            due = find(expired=left)
        _tell_waiting(settings, connection, declared, city)
        if due is None:
            return None
        spec = _spec(settings, connection, due, declared, city)
        store = object_store.client(settings, ROLE)
        if not due.compares and (built := _built_before(store, spec.build_id)):
            return built
        _clean(settings, store)
        built = _run(settings, store, due, spec, declared)
        _log(built)
        for failed in built.failed:
            because = "; ".join(problem.sentence() for problem in failed.problems)
            log.error("mart %s could not be built and keeps its last release: %s", failed.mart.name, because)
            if not due.compares:
                registry.hold_mart(connection, failed.mart.name, failed.mart.silo, built.build_id, because)
        return built


def _tell_waiting(settings: Settings, connection: psycopg.Connection, declared: Project, city: CityReference) -> None:
    """Say which periods are over and settled and not built, and what they wait for."""
    marts = declared.marts.values()
    standings = settling.standings(connection, sorted({mart.silo for mart in marts}))
    today, destroyed = settling.today(settings, city.time_zone), settling.destroyed_months(settings)
    book = Book(ledger.lines(connection))
    for wait in settling.waits(plan(), marts, standings, book, today=today, destroyed=destroyed):
        log.info("%s", wait.sentence)


def _log(built: Build) -> None:
    """Say what was built from what, so that a delivery can be followed into it: by its commit and its days."""
    for mart in built.good:
        units = [each.unit for each in built.due_of(mart.mart.name)]
        logs.tell(
            log,
            f"{mart.mart.name}: {mart.rows} rows for {len(units)} periods",
            build_id=built.build_id,
            mart=mart.mart.name,
            silo=mart.mart.silo,
            commit_seq=built.commits[mart.mart.silo],
            days=[f"{unit.first_day}/{unit.last_day}" for unit in units],
            seconds=mart.seconds,
        )


def _expired(settings: Settings, due: Due, declared: Project) -> set[Unit]:
    """The units of which retention has deleted rows: what is left would be published as if it were all."""
    opened = catalog.open_catalog(settings, ROLE)
    kept_from = {silo: late_arriving.kept_from(opened, datasets) for silo, datasets in due.datasets.items()}
    found = set()
    for unit in due.units:
        silo = declared.marts[unit.mart].silo
        kept = kept_from[silo]
        if kept and any(day < kept for day in days.within(due.covered[silo], unit.first_day, unit.last_day)):
            found.add(unit)
    return found


def _held(connection: psycopg.Connection, due: Due, city: CityReference) -> set[Unit]:
    """The units that a lake before this one may have published; what is compared is known to be published."""
    found = set() if due.compares else restored.held(connection, plan(), due.units, city.time_zone)
    if found:
        log.warning("%d periods wait: %s", len(found), restored.sentence(registry.open_restorations(connection)[-1]))
    return found


def _spec(
    settings: Settings, connection: psycopg.Connection, due: Due, declared: Project, city: CityReference
) -> BuildSpec:
    """The inputs of the build, pinned: each table as it is now, which is no older than the commits that were read."""
    opened = catalog.open_catalog(settings, ROLE)
    datasets = registry.datasets(connection, list(due.covered))
    tables = {dataset: late_arriving.location(opened, dataset) for dataset in datasets}
    coverage = {silo: days.ranges(covered) for silo, covered in due.covered.items()}
    inputs = {
        "project": declared.files,
        "units": [unit.model_dump(mode="json") for unit in due.units],
        "beside": [unit.model_dump(mode="json") for unit in due.beside],
        "fitted_to": [[each.model_dump(mode="json") for each in due.fitted_to[unit]] for unit in due.units],
        "tables": tables,
        "commits": due.commits,
        "coverage": {silo: [str(each) for each in found] for silo, found in coverage.items()},
    }
    digest = hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()
    return BuildSpec(
        build_id=f"{candidates.COMPARING}{digest[:16]}" if due.compares else digest[:16],
        tables=tables,
        units=(*due.units, *due.beside),
        coverage=coverage,
        city=city,
        month_totals=tuple(
            month_totals.read(
                object_store.client(settings, ROLE),
                city,
                declared.marts,
                {each for unit in due.units for each in due.fitted_to[unit]},
            )
        ),
    )


def _built_before(store: Minio, build_id: str) -> Build | None:
    """The same build, when it is there and nothing failed: the same inputs would give the same candidates."""
    try:
        built = candidates.load(store, build_id)
    except candidates.UnknownBuildError:
        return None
    return None if built.failed else built


def _run(settings: Settings, store: Minio, due: Due, spec: BuildSpec, declared: Project) -> Build:
    started = time.monotonic()
    work = settings.work_dir / "builds" / spec.build_id
    work.mkdir(parents=True)
    spec.save(work / "spec.json")
    with mart_lineage.of_build(settings, declared, due.marts) as tell:
        built = _build(settings, store, due, spec, declared, work=work, started=started)
        tell(built, work / "target")
    _leave_only_compiled(work, built.failed)
    return built


def _build(
    settings: Settings, store: Minio, due: Due, spec: BuildSpec, declared: Project, *, work: Path, started: float
) -> Build:
    keys = _noise_keys(settings, spec)
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="beside") as beside:
        # While dbt starts, which takes one core.
        counting = beside.submit(results.rows_by_day, settings, due, declared, spec)
        dbt_run.run(settings, work, due.marts, declared)
        problems = dbt_run.problems(work, due.marts)
        for mart in due.marts:
            problems[mart.name] = problems[mart.name] or results.not_measured(work, mart)
        good = results.with_places(work, [mart for mart in due.marts if not problems[mart.name]])
        marts: Sequence[BuiltMart] = ()
        places: Mapping[str, str] = {}
        units: tuple[BuiltUnit, ...] = ()
        rows = counting.result()
        if good:
            exporting = beside.submit(results.export, store, good, spec.build_id, work)
            units = results.measured(due, declared, spec, keys, rows, work=work, good={mart.name for mart in good})
            marts, places = exporting.result()
    built = Build(
        build_id=spec.build_id,
        commits=dict(due.commits),
        spec=spec,
        places=dict(places),
        marts=(
            *marts,
            *(BuiltMart(mart=mart, problems=problems[mart.name]) for mart in due.marts if problems[mart.name]),
        ),
        units=units,
        compares=due.compares,
        seconds=round(time.monotonic() - started, 3),
        sql_seconds=round(dbt_run.sql_seconds(work), 3),
    )
    candidates.save(store, built)
    return built


def _noise_keys(settings: Settings, spec: BuildSpec) -> Keys:
    """The keys of the noise that dbt is about to draw, each the one it was drawn with before; and so afterwards.

    Raises:
        infra.keys.store.KeyDamagedError: one is gone, or another one is in its place: nothing is drawn.
    """
    keys = KnownKeys(settings, open_keys(settings), ROLE)
    for month in sorted({settling.month(unit) for unit in spec.units}):
        keys.get_or_create(settling.NOISE, month)
    return keys


def _leave_only_compiled(work: Path, failed: Sequence[BuiltMart]) -> None:
    """Remove the work folder, but for the SQL that somebody has to look at: the rest may hold conformed values."""
    compiled = work / "target" / "compiled"
    kept = work.with_name(f"{work.name}.compiled")
    if failed and compiled.exists():
        compiled.rename(kept)
    shutil.rmtree(work)
    if kept.exists():
        compiled.parent.mkdir(parents=True)
        kept.rename(compiled)


def _clean(settings: Settings, store: Minio) -> None:
    """Remove what earlier builds left: work folders, and candidates without a ``build.json``. Only one build runs."""
    shutil.rmtree(settings.work_dir / "builds", ignore_errors=True)
    complete = set(candidates.builds(store))
    for build_id in candidates.stored(store) - complete:
        candidates.discard(store, build_id)
