"""Candidate marts from the conformed tables, by dbt in a DuckDB file private to the build.

What is due is derived from the registry and the ledger, so nothing is lost when an event is: see
:mod:`publication.settling`.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import shutil
import subprocess
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import duckdb
import polars as pl
import psycopg
from minio import Minio

from infra import catalog, database, ledger, logs, object_store, registry
from infra.build_spec import REGISTERS, BuildSpec, CityReference, DayRange, Unit
from infra.city import load_city
from infra.keys import Keys, open_keys
from infra.known_keys import KnownKeys
from infra.privacy_plan import Plan, plan
from infra.settings import Settings
from publication import candidates, contracts, fingerprints, late, lineage_events, parquet, project, settling, utility
from publication.candidates import Build, BuiltMart, BuiltUnit, Mart, Problem
from publication.ledger import Book
from publication.project import Project

ROLE = "publisher"
LOCK = "build"
BATCH_ROWS = 64 * 1024
_MEMORY = "1500MB"
"""What DuckDB may take while candidates are read, as in dbt's profile: a build stays under 3 GB, Python included."""

log = logging.getLogger(__name__)


Published: TypeAlias = tuple[str, date]
"""A published unit: the name of its mart and its first day."""


class BuildError(RuntimeError):
    """The build as a whole stopped: dbt could not even start on the marts."""


@dataclass(frozen=True)
class Due:
    """What has to be built, and the state of the registry that says so.

    ``beside`` are units of other marts of the same silo and period, in the edition they have or will have: what was
    measured of them is part of what a unit of this silo and period is made from.
    """

    marts: tuple[Mart, ...]
    units: tuple[Unit, ...]
    beside: tuple[Unit, ...]
    commits: Mapping[str, int]
    coverage: Mapping[str, DayRange]
    datasets: Mapping[str, Collection[str]]
    compares: bool


def build(settings: Settings, *, full_refresh: bool = False, only: Collection[Published] | None = None) -> Build | None:
    """Build the candidates of every unit that is due; None, at once, when none is.

    ``full_refresh`` builds every published unit again, in the edition it was published in, from what the lake holds
    today: releasing that build publishes nothing, it compares; ``only`` these of them when given. A mart whose model,
    parents or tests fail is no candidate, keeps its last release, and does not stop the others: see ``Build.failed``. A
    build that is killed is repeated in place by the next call; two calls at once: the second waits. Rows that came too
    late for a published unit are counted first.

    Raises:
        BuildError: dbt stopped before building anything.
        infra.keys.KeyDamagedError: a key that noise was drawn with before is gone, or another one is in its place.
        infra.trusted_clock.ClockDoubtedError: the clock is not believed: it says which periods are over.
        infra.ledger.LedgerBrokenError: late rows were found, and cannot be recorded.
        publication.project.ProjectError: the dbt project cannot be parsed.
    """
    city = CityReference.of(load_city(settings))
    version = project.code_version(city)
    with (
        logs.stage(settings, "build"),
        database.connect(settings, ROLE, catalog.DATABASE, autocommit=True) as connection,
        registry.locked(connection, LOCK),
    ):
        if not registry.newest_commits(connection):
            return None  # and no need to let dbt parse the project for the first time
        late.count(settings, connection)
        declared = project.load(settings, version)
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
        if due and (expired := _expired(settings, due, declared)):
            due = find(expired=expired)
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


# --- what is due -----------------------------------------------------------------------------------------------------


def find_due(
    connection: psycopg.Connection,
    declared: Project,
    plan: Plan,
    *,
    today: date,
    destroyed: Collection[str] = (),
    expired: Collection[Unit] = (),
    full_refresh: bool = False,
    only: Collection[Published] | None = None,
) -> Due | None:
    """The units to build as of ``today``; None when there are none.

    Of ``destroyed`` months nothing can be built, nor anything of units whose rows are ``expired``.
    """
    commits = registry.newest_commits(connection)
    coverage = {
        silo: DayRange(first_day=first, last_day=last)
        for silo, (first, last) in registry.coverage(connection, REGISTERS).items()
    }
    book = Book(ledger.lines(connection))
    if full_refresh:
        units = [
            Unit(mart=each.mart, first_day=each.first_day, last_day=each.last_day, edition=each.edition)
            for each in book.published()
            if each.mart in declared.marts and declared.marts[each.mart].silo in coverage
        ]
        units = [unit for unit in units if settling.month(unit) not in destroyed]
        units = [unit for unit in units if only is None or (unit.mart, unit.first_day) in only]
    else:
        units = settling.due(plan, declared.marts.values(), coverage, book, today=today, destroyed=destroyed)
    units = [unit for unit in units if unit not in expired]
    if not units:
        return None
    marts = tuple(declared.marts[name] for name in sorted({unit.mart for unit in units}))
    silos = sorted({mart.silo for mart in marts})
    return Due(
        marts=marts,
        units=tuple(units),
        beside=_beside(units, declared, plan, book),
        commits={silo: commits[silo] for silo in silos},
        coverage={silo: coverage[silo] for silo in silos},
        datasets={silo: set(registry.datasets(connection, [silo])) - REGISTERS for silo in silos},
        compares=full_refresh,
    )


def _expired(settings: Settings, due: Due, declared: Project) -> set[Unit]:
    """The units of which retention has deleted rows: what is left would be published as if it were all."""
    opened = catalog.open_catalog(settings, ROLE)
    kept_from = {silo: late.kept_from(opened, datasets) for silo, datasets in due.datasets.items()}
    found = set()
    for unit in due.units:
        silo = declared.marts[unit.mart].silo
        day = kept_from[silo]
        if day and max(unit.first_day, due.coverage[silo].first_day) < day:
            found.add(unit)
    return found


def _beside(units: Sequence[Unit], declared: Project, plan: Plan, book: Book) -> tuple[Unit, ...]:
    """The units that the marts of the same silo and period have beside these."""
    built = {(unit.mart, unit.first_day) for unit in units}
    families = {mart: settling.family(plan, declared.marts.values(), mart) for mart, _ in built}
    beside: dict[tuple[str, date], Unit] = {}
    for unit in units:
        for mart in families[unit.mart]:
            if (mart, unit.first_day) not in built:
                history = book.unit(mart, unit.first_day)
                edition = history.newest.edition if history and history.newest else 1
                beside[mart, unit.first_day] = unit.model_copy(update={"mart": mart, "edition": edition})
    return tuple(beside.values())


# --- the inputs ------------------------------------------------------------------------------------------------------


def _spec(
    settings: Settings, connection: psycopg.Connection, due: Due, declared: Project, city: CityReference
) -> BuildSpec:
    """The inputs of the build, pinned: each table as it is now, which is no older than the commits that were read."""
    opened = catalog.open_catalog(settings, ROLE)
    datasets = registry.datasets(connection, list(due.coverage))
    tables = {dataset: late.location(opened, dataset) for dataset in datasets}
    inputs = {
        "code_version": declared.version,
        "units": [unit.model_dump(mode="json") for unit in due.units],
        "beside": [unit.model_dump(mode="json") for unit in due.beside],
        "tables": tables,
        "commits": due.commits,
        "coverage": {silo: days.model_dump(mode="json") for silo, days in due.coverage.items()},
    }
    digest = hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()
    return BuildSpec(
        build_id=f"{candidates.COMPARING}{digest[:16]}" if due.compares else digest[:16],
        tables=tables,
        units=(*due.units, *due.beside),
        coverage=dict(due.coverage),
        city=city,
    )


def _built_before(store: Minio, build_id: str) -> Build | None:
    """The same build, when it is there and nothing failed: the same inputs would give the same candidates."""
    try:
        built = candidates.load(store, build_id)
    except candidates.UnknownBuildError:
        return None
    return None if built.failed else built


# --- running dbt -----------------------------------------------------------------------------------------------------


def _run(settings: Settings, store: Minio, due: Due, spec: BuildSpec, declared: Project) -> Build:
    started = time.monotonic()
    work = settings.work_dir / "builds" / spec.build_id
    work.mkdir(parents=True)
    spec.save(work / "spec.json")
    with lineage_events.of_build(settings, declared, due.marts) as tell:
        built = _build(settings, store, due, spec, declared, work=work, started=started)
        tell(built, work / "target")
    _leave_only_compiled(work, built.failed)
    return built


def _build(
    settings: Settings, store: Minio, due: Due, spec: BuildSpec, declared: Project, *, work: Path, started: float
) -> Build:
    keys = _noise_keys(settings, spec)
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="beside") as beside:
        counting = beside.submit(_rows_by_day, settings, due, declared, spec)  # while dbt starts, which takes one core
        _dbt(settings, work, due, declared)
        problems = _problems(work, due)
        for mart in due.marts:
            problems[mart.name] = problems[mart.name] or _not_measured(work, mart)
        good = [mart for mart in due.marts if not problems[mart.name]]
        marts: Sequence[BuiltMart] = ()
        places: Mapping[str, str] = {}
        units: tuple[BuiltUnit, ...] = ()
        rows = counting.result()
        if good:
            exporting = beside.submit(_export, store, good, spec.build_id, work)
            units = _measured(due, declared, spec, keys, rows, work=work, good={mart.name for mart in good})
            marts, places = exporting.result()
    built = Build(
        build_id=spec.build_id,
        code_version=declared.version,
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
        sql_seconds=round(_sql_seconds(work), 3),
    )
    candidates.save(store, built)
    return built


def _noise_keys(settings: Settings, spec: BuildSpec) -> Keys:
    """The keys of the noise that dbt is about to draw, each the one it was drawn with before; and so afterwards.

    Raises:
        infra.keys.KeyDamagedError: one is gone, or another one is in its place: nothing is drawn.
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


def _dbt(settings: Settings, work: Path, due: Due, declared: Project) -> None:
    """Run dbt on the marts that are due and their parents. Whether they passed is in its run results."""
    target = work / "target"
    target.mkdir()
    shutil.copy(declared.folder / "partial_parse.msgpack", target)  # spares dbt parsing every file again
    done = subprocess.run(
        project.dbt_command(
            "build",
            project.PROJECT,
            target,
            "--indirect-selection",
            "buildable",
            "--exclude-resource-type",
            "unit_test",  # they test the project, not the data: `make test` runs them
            "--exclude",
            "resource_type:test,path:seeds",  # and so do the tests of seeds
            "--select",
            *(f"+{mart.name}" for mart in due.marts),
        ),
        env={
            **os.environ,
            **settings.environment(),
            "CALANQUE_BUILD_SPEC": str(work / "spec.json"),
            "CALANQUE_PARENT_PID": str(os.getpid()),
        },
        cwd=work,  # where the profile puts build.duckdb
        capture_output=True,
        text=True,
        check=False,
    )
    if not (target / "run_results.json").exists():
        raise BuildError(f"dbt stopped before building anything: {_without_values(done.stdout.strip()[-2000:])}")


def _sql_seconds(work: Path) -> float:
    """How long any model was running, those that ran side by side counted once."""
    busy, until = 0.0, 0.0
    spans = []
    for result in json.loads((work / "target" / "run_results.json").read_text())["results"]:
        if result["unique_id"].startswith("model."):
            spans += [
                tuple(datetime.fromisoformat(timing[end]).timestamp() for end in ("started_at", "completed_at"))
                for timing in result["timing"]
                if timing["name"] == "execute"
            ]
    for began, ended in sorted(spans):
        busy += max(ended - max(began, until), 0.0)
        until = max(until, ended)
    return busy


def _problems(work: Path, due: Due) -> dict[str, tuple[Problem, ...]]:
    """By mart, the models and tests among its parents and its own that did not pass, the first cause first."""
    manifest = json.loads((work / "target" / "manifest.json").read_text())
    results = {
        result["unique_id"]: result
        for result in json.loads((work / "target" / "run_results.json").read_text())["results"]
    }
    parents: Mapping[str, list[str]] = manifest["parent_map"]
    by_name = {node["name"]: key for key, node in manifest["nodes"].items() if node["resource_type"] == "model"}
    found: dict[str, tuple[Problem, ...]] = {}
    for mart in due.marts:
        lineage = _lineage(by_name[mart.name], parents)
        concerned = lineage | {test for test, tested in _tests(manifest) if tested in lineage}
        causes = [
            _problem(work, manifest, result)
            for key, result in results.items()
            if key in concerned and result["status"] in {"error", "fail", "runtime error", "partial success"}
        ]
        if not causes and results.get(by_name[mart.name], {}).get("status") != "success":
            causes = [Problem(node=mart.name, status="was not built", message="dbt skipped it or never came to it")]
        found[mart.name] = tuple(causes)
    return found


def _lineage(model: str, parents: Mapping[str, list[str]]) -> set[str]:
    lineage: set[str] = set()
    waiting = [model]
    while waiting:
        node = waiting.pop()
        if node not in lineage:
            lineage.add(node)
            waiting += parents.get(node, [])
    return lineage


def _tests(manifest: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Every test with each node it is about: the one it is attached to, or all that it reads."""
    for key, node in manifest["nodes"].items():
        if node["resource_type"] == "test":
            attached = node.get("attached_node")
            for tested in [attached] if attached else node["depends_on"]["nodes"]:
                yield key, tested
    for key, unit_test in manifest["unit_tests"].items():
        for tested in unit_test["depends_on"]["nodes"]:
            yield key, tested


def _problem(work: Path, manifest: Mapping[str, Any], result: Mapping[str, Any]) -> Problem:
    key = result["unique_id"]
    node = manifest["nodes"].get(key) or manifest["unit_tests"].get(key) or {}
    compiled = node.get("compiled_path")
    path = work / compiled if compiled else None  # dbt runs in the work folder, and says paths from there
    return Problem(
        node=node.get("name", key),
        status="failed" if result["status"] == "fail" else "stopped",
        message=_without_values(result.get("message") or "no message"),
        compiled=str(path.relative_to(work.parents[2])) if path and path.exists() else None,
    )


def _without_values(message: str) -> str:
    """What DuckDB says, in one line, without what it quotes: that may be a value of the data."""
    return " ".join(re.sub(r"'[^']*'|\"[^\"]*\"", "…", message).split())


# --- candidates ------------------------------------------------------------------------------------------------------


@contextmanager
def _database(work: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """The database that dbt made, to be read."""
    file, spill = str(work / "build.duckdb"), str(work / "spill")
    with duckdb.connect(file, read_only=True, config={"temp_directory": spill}) as connection:
        connection.execute(f"set memory_limit = '{_MEMORY}'")
        yield connection


def _not_measured(work: Path, mart: Mart) -> tuple[Problem, ...]:
    """What is wrong with a mart that would be published without a fingerprint."""
    with _database(work) as connection:
        try:
            fingerprints.cells(connection, mart.name)
        except fingerprints.NotMeasuredError as reason:
            return (Problem(node=fingerprints.table(mart.name), status="is missing", message=str(reason)),)
    return ()


def _rows_by_day(settings: Settings, due: Due, declared: Project, spec: BuildSpec) -> Mapping[str, pl.DataFrame]:
    """By silo, how many conformed rows each day has, from the first day that is due to the last."""
    return {
        silo: late.rows_by_day(
            settings,
            [at for dataset in due.datasets[silo] if (at := spec.tables[dataset])],
            late.hull((unit.first_day, unit.last_day) for unit in due.units if declared.marts[unit.mart].silo == silo),
        )
        for silo in due.coverage
    }


def _measured(
    due: Due,
    declared: Project,
    spec: BuildSpec,
    keys: Keys,
    rows: Mapping[str, pl.DataFrame],
    *,
    work: Path,
    good: Collection[str],
) -> tuple[BuiltUnit, ...]:
    """Every unit whose cells were measured, with its fingerprint, and what more to know of those that are due."""
    found = []
    with _database(work) as connection:
        for name in sorted({unit.mart for unit in spec.units}):
            mart = declared.marts[name]
            units = spec.units_of(name)
            try:
                prints = fingerprints.of(connection, keys, name, units)
            except fingerprints.NotMeasuredError:  # its model did not pass
                continue
            counted = {
                unit.first_day: late.rows_between(rows[mart.silo], unit.first_day, unit.last_day)
                for unit in units
                if unit in due.units
            }
            contract = contracts.CONTRACTS.get(name) if name in good else None  # others are not released
            reports = utility.reports(connection, plan(), mart, contract, counted) if contract else {}
            found += [
                BuiltUnit(
                    unit=unit,
                    silo=mart.silo,
                    fingerprint=prints[unit],
                    due=unit in due.units,
                    rows=counted.get(unit.first_day, 0),
                    utility=reports.get(unit.first_day),
                )
                for unit in units
            ]
    return tuple(found)


def _export(store: Minio, marts: Sequence[Mart], build_id: str, work: Path) -> tuple[list[BuiltMart], dict[str, str]]:
    """Store marts exactly as dbt made them, all columns, by quarter and grain; with them, the names of places by id."""
    with _database(work) as connection:
        places = dict(connection.execute("select place_id, place_name from reference.places order by 1").fetchall())
        return [_export_mart(connection, store, mart, build_id, work) for mart in marts], places


def _export_mart(
    connection: duckdb.DuckDBPyConnection, store: Minio, mart: Mart, build_id: str, work: Path
) -> BuiltMart:
    started = time.monotonic()
    order = ", ".join(f'"{column}"' for column in ("quarter_start", *mart.grain))
    reader = connection.execute(f"from {mart.relation} order by {order}").to_arrow_reader(BATCH_ROWS)
    path = work / f"{mart.name}.parquet"
    rows = parquet.write(path, reader.schema, reader)
    sha256 = object_store.put_file(store, candidates.BUCKET, candidates.key(build_id, mart.name), path)
    path.unlink()
    return BuiltMart(mart=mart, rows=rows, sha256=sha256, seconds=round(time.monotonic() - started, 3))


def _clean(settings: Settings, store: Minio) -> None:
    """Remove what earlier builds left: work folders, and candidates without a ``build.json``. Only one build runs."""
    shutil.rmtree(settings.work_dir / "builds", ignore_errors=True)
    complete = set(candidates.builds(store))
    for build_id in candidates.stored(store) - complete:
        candidates.discard(store, build_id)
