"""Builds of the real dbt project, or of a copy broken on purpose, on rows in a folder: no services, the same engine."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

import duckdb
import polars as pl
import pyarrow as pa
from pyiceberg.catalog.sql import SqlCatalog

from infra.build_spec import BuildSpec, CityReference, Unit
from infra.calendar.clock import add_months, days, month_start, quarter_start
from infra.calendar.days import DayRange, ranges
from infra.keys.store import KeyState
from infra.settings import Settings
from privacy.plan import plan
from publication.builds import sources
from publication.builds.project import PROJECT, dbt_command
from tests.attacks.published import Table

SILOS = sorted({mart.silo for mart in plan().marts.values()})
TABLES = tuple(sources.conformed())


class NotBrokenError(AssertionError):
    """What a control wanted to break is no longer written like that: the control has to be brought up to date."""


class BuildFailedError(RuntimeError):
    """dbt did not build what an attack needs."""


@dataclass(frozen=True)
class Breakage:
    """One line of the project replaced by a wrong one. ``pattern`` is a regular expression that must be found."""

    name: str
    file: str
    pattern: str
    wrong: str


NO_NOISE = Breakage("exact counts", "macros/measure_counts.sql", r"\+ grid\.noise as measured", "as measured")
NO_BOUNDING = Breakage("no contribution bounding", "macros/bound_contributions.sql", r"(?s)    qualify.*?\) = 1\n", "")
NO_EDITION = Breakage(
    "noise of the cell alone", "macros/public_grid.sql", r"noise\(mart, 'lots\.edition'", "noise(mart, '1'"
)
NOT_FITTED = Breakage(
    "no consistency",
    "macros/publish_counts.sql",
    r"(\{%- set shown = )",
    r"{%- set value = 'measured' if value == 'fitted' else value -%}\n    \1",
)
EXACT_TOTALS = Breakage(
    "exact totals", "macros/fit_to_totals.sql", r"sum\(measured\) as estimate", "sum(exact) as estimate"
)
EMPTY_DROPPED = Breakage(
    "empty rows dropped", "macros/publish_counts.sql", r"from \{\{ cells \}\}", "from {{ cells }} where {{ value }} > 0"
)


def threshold(value: int) -> Breakage:
    """Every count of ``value`` and more is shown."""
    return Breakage("low threshold", "dbt_project.yml", r"threshold: \d+", f"threshold: {value}")


def spending(mart: str, rho: str) -> Breakage:
    """One mart spends far more than its share."""
    return Breakage(f"{mart} spends {rho}", "dbt_project.yml", rf'(?s)({mart}: .*?spends: )"[^"]+"', rf'\1"{rho}"')


def broken(folder: Path, *breakages: Breakage) -> Path:
    """A copy of the project with something wrong with it.

    Raises:
        NotBrokenError: a breakage found nothing to break.
    """
    ignored = shutil.ignore_patterns("target", "logs", "__pycache__", ".*")
    project = Path(shutil.copytree(PROJECT, folder, ignore=ignored))
    for each in breakages:
        path = project / each.file
        text, count = re.subn(each.pattern, each.wrong, path.read_text())
        if not count:
            raise NotBrokenError(f"{each.name}: {each.file} has nothing like {each.pattern!r}")
        path.write_text(text)
    return project


KEYS_BACKEND = "files"
"""Random keys, as in a real lake. The quick form takes :func:`seeded_keys`: its few trials must not fail by chance."""


@dataclass(frozen=True)
class SeededKeys:
    """Keys that are the same on each run, one set for each name: of use to tests only."""

    name: str

    def get_or_create(self, silo: str, month: str) -> bytes:
        return hashlib.sha256(f"{self.name}/{silo}/{month}".encode()).digest()

    def destroy(self, silo: str, month: str) -> None:
        raise NotImplementedError(f"the key of {silo} for {month} is derived, and stays")

    def states(self) -> list[KeyState]:
        return []

    def erase(self, silo: str, month: str, pseudonym: bytes) -> None:
        raise NotImplementedError(f"nothing is erased from {silo} of {month} in a lake that is attacked")

    def erased(self, _silo: str) -> Mapping[str, frozenset[bytes]]:
        return {}


def seeded_keys(settings: Settings) -> SeededKeys:
    """The backend ``tests.attacks.local:seeded_keys``; the folder that would hold the keys names the set."""
    return SeededKeys(settings.keys_dir.name)


@dataclass(frozen=True)
class Lake:
    """Conformed rows as Iceberg tables in a folder, and the city they are of."""

    folder: Path
    locations: Mapping[str, str | None]
    city: CityReference
    coverage: DayRange
    keys: Path
    parsed: dict[Path, Path] = field(default_factory=dict)


def make(
    folder: Path, rows: Mapping[str, pl.DataFrame], city: CityReference, coverage: DayRange, *, parts: int = 1
) -> Lake:
    """Write ``rows`` as tables of ``parts`` commits each."""
    folder.mkdir(parents=True)
    catalog = SqlCatalog("attacks", uri=f"sqlite:///{folder}/catalog.db", warehouse=f"file://{folder}/warehouse")
    catalog.create_namespace("conformed")
    locations: dict[str, str | None] = dict.fromkeys(TABLES)
    for name, frame in rows.items():
        whole = _arrow(frame)
        table = catalog.create_table(f"conformed.{name}", schema=whole.schema)
        step = max(-(-whole.num_rows // parts), 1)
        for start in range(0, whole.num_rows, step):
            table.append(whole.slice(start, step))
        locations[name] = table.metadata_location if table.current_snapshot() else None
    return Lake(folder, locations, city, coverage, folder / "keys")


def units_of(marts: Iterable[str], coverage: DayRange, edition: int = 1) -> tuple[Unit, ...]:
    """Every release unit of ``marts`` that the coverage reaches, due or not."""
    found = []
    for mart in marts:
        release, first = plan().marts[mart].release, coverage.first_day
        while first <= coverage.last_day:
            start, following = _span(release, first)
            found.append(
                Unit(mart=mart, first_day=start, last_day=date.fromordinal(following.toordinal() - 1), edition=edition)
            )
            first = following
    return tuple(found)


def _span(release: str, day: date) -> tuple[date, date]:
    if release == "day":
        return day, date.fromordinal(day.toordinal() + 1)
    if release == "month":
        return month_start(day), add_months(month_start(day), 1)
    return quarter_start(day), add_months(quarter_start(day), 3)


def build(
    lake: Lake,
    marts: Sequence[str],
    *,
    project: Path = PROJECT,
    units: Sequence[Unit] | None = None,
    edition: int = 1,
    threads: int = 1,
    keys: Path | None = None,
    read: Sequence[str] = (),
    memory: str = "2GB",
) -> dict[str, pl.DataFrame]:
    """Run dbt and return the marts (schema marts, all columns in order) and the tables named by ``read``.

    Raises:
        BuildFailedError: some model failed; the message is dbt's.
    """
    run = lake.folder / f"run-{secrets.token_hex(4)}"
    target = run / "target"
    target.mkdir(parents=True)
    if project in lake.parsed:
        shutil.copy(lake.parsed[project], target)
    built = tuple(units or units_of(marts, lake.coverage, edition))
    covered = {day for unit in built for day in days(unit.first_day, unit.last_day)}.intersection(lake.coverage.days)
    spec = BuildSpec(
        build_id="attack",
        tables=dict(lake.locations),
        units=built,
        coverage=dict.fromkeys(SILOS, ranges(covered)),
        city=lake.city,
    )
    spec.save(run / "spec.json")
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("CALANQUE_")},
        "CALANQUE_HOME": str(lake.folder),
        "CALANQUE_KEYS": str(keys or lake.keys),
        "CALANQUE_KEYS_BACKEND": KEYS_BACKEND,
        "CALANQUE_BUILD_SPEC": str(run / "spec.json"),
        "CALANQUE_BUILD_THREADS": str(threads),
        "CALANQUE_BUILD_MEMORY": memory,
        "CALANQUE_PARENT_PID": str(os.getpid()),
    }
    options = ("--exclude-resource-type", "test", "--exclude-resource-type", "unit_test", "--threads", str(threads))
    done = subprocess.run(
        dbt_command("build", project, target, *options, "--select", *(f"+{mart}" for mart in marts)),
        cwd=run,
        env={**environment, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise BuildFailedError(done.stdout[-3000:] + done.stderr[-1000:])
    if project not in lake.parsed:  # spares the next run parsing every file again
        kept = lake.folder / f"parsed-{len(lake.parsed)}"
        kept.mkdir()
        lake.parsed[project] = Path(shutil.copy(target / "partial_parse.msgpack", kept))
    with duckdb.connect(str(run / "build.duckdb"), read_only=True) as connection:
        made = {mart: connection.execute(f"from marts.{mart}").pl() for mart in marts}
        made |= {name: connection.execute(f"from {name}").pl() for name in read}
    shutil.rmtree(run)
    return {name: frame.sort(Table(frame).key) if name in marts else frame for name, frame in made.items()}


def tables(made: Mapping[str, pl.DataFrame]) -> dict[str, Table]:
    return {mart: Table(frame) for mart, frame in made.items()}


def _arrow(frame: pl.DataFrame) -> pa.Table:
    """Arrow as PyIceberg takes it: no view types."""
    table = frame.to_arrow()
    plain = {pa.string_view(): pa.string(), pa.binary_view(): pa.binary()}
    return table.cast(pa.schema([each.with_type(plain.get(each.type, each.type)) for each in table.schema]))
