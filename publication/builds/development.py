"""dbt for whoever changes models: any of its verbs, on the newest quarter of a lake, in a database of its own."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import psycopg

from infra import catalog, database, registry
from infra.build_spec import BuildSpec, CityReference
from infra.calendar import clock, days
from infra.calendar.days import DayRange
from infra.city.profile import load_city
from infra.errors import ExpectedError
from infra.settings import Settings
from privacy.plan import plan
from publication import settling
from publication.builds import sources
from publication.builds.project import PROJECT, dbt_command
from publication.releases import late_arriving

ROLE = "publisher"


class NothingToReadError(ExpectedError):
    """The lake holds no day that any silo is complete for."""


def run(settings: Settings, verb: str, options: Sequence[str]) -> tuple[Path, int]:
    """Run dbt; the folder with its database ``build.duckdb`` and its artifacts, and the code that it ends with.

    Nothing of it is published or kept. Its noise comes from keys of the folder, which no published figure was drawn
    with: the same cell counted by other code would give the noise of a published one away.

    Raises:
        NothingToReadError: no silo was declared complete for any day.
    """
    folder = Path(tempfile.mkdtemp(prefix="dbt-", dir=_work(settings)))
    with database.connect(settings, ROLE, catalog.DATABASE, autocommit=True) as connection:
        _newest_quarter(settings, connection).save(folder / "spec.json")
    environment = {
        **os.environ,
        **settings.environment(),
        "CALANQUE_BUILD_SPEC": str(folder / "spec.json"),
        "CALANQUE_KEYS": str(folder / "keys"),
        "CALANQUE_KEYS_BACKEND": "files",
    }
    # Tests of what was not selected, and so is not there, are left out.
    selection = ("--indirect-selection", "buildable") if verb in {"build", "test"} else ()
    command = dbt_command(verb, PROJECT, folder / "target", *selection, *options, development=True)
    done = subprocess.run(command, env=environment, cwd=folder, check=False)
    return folder, done.returncode


def _work(settings: Settings) -> Path:
    settings.work_dir.mkdir(parents=True, exist_ok=True)
    return settings.work_dir


def _newest_quarter(settings: Settings, connection: psycopg.Connection) -> BuildSpec:
    """What dbt reads: of every silo, the days of the newest quarter with any that it is complete for."""
    silos = sorted({mart.silo for mart in plan().marts.values()})
    covered = registry.covered_days(connection, silos)
    newest = max((day for found in covered.values() for day in found), default=None)
    if newest is None:
        raise NothingToReadError("no silo was declared complete for any day: deliver something, or `calanque cover`")
    within = DayRange(first_day=clock.quarter_start(newest), last_day=clock.quarter_end(newest))
    opened = catalog.open_catalog(settings, ROLE)
    return BuildSpec(
        build_id="development",
        tables={name: late_arriving.location(opened, name) for name in sources.conformed()},
        units=tuple(unit for name, mart in plan().marts.items() for unit in settling.units(name, mart.release, within)),
        coverage={
            silo: days.ranges(days.within(found, within.first_day, within.last_day)) for silo, found in covered.items()
        },
        city=CityReference.of(load_city(settings)),
    )
