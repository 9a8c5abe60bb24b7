"""Kill -9 anywhere in a build or a release: the next run finishes it, nothing is lost, nothing is doubled."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path

import killing
import polars as pl
import psutil
import psycopg
import pytest
from conformed_lake import populate
from released import everything, in_bi, in_files, in_iceberg, wipe
from synthetic_marts import make, reference, spec, stage, units

from infra import object_store
from infra.build_spec import BuildSpec
from infra.calendar.days import DayRange
from infra.settings import Settings
from privacy.spending import RefusedError
from publication.builds import building, candidates
from publication.contracts import CONTRACTS
from publication.releases import release, verifying

pytestmark = [pytest.mark.live, pytest.mark.slow]
MARTS = ("fines_by_day", "tows_by_month")
COVERAGE = DayRange(first_day=date(2023, 1, 1), last_day=date(2026, 4, 30))


def month(number: int) -> BuildSpec:
    """The build of the ``number``-th month of two marts, counted from 1."""
    return spec(f"b{number}", [units(mart, COVERAGE)[number - 1] for mart in MARTS], COVERAGE)


def frames(number: int) -> dict[str, pl.DataFrame]:
    return {mart: make(CONTRACTS[mart], reference(CONTRACTS[mart], month(number)), number) for mart in MARTS}


@pytest.mark.long
def test_a_release_killed_before_any_write_is_finished_by_the_next(
    clean_lake: Settings, analyst: psycopg.Connection, tmp_path: Path
) -> None:
    """Build after build, each killed two writes later, until one lives; then the same builds without a kill.

    Every other write is enough: each kind of write is made for two marts.
    """
    lake = clean_lake.model_copy(update={"city": "elsewhere"})  # the quicker one to load
    builds: list[dict[str, pl.DataFrame]] = []
    killed = True
    while killed:
        version = len(builds) + 1
        builds.append(frames(version))
        stage(lake, month(version), builds[-1], tmp_path, commit_seq=version)
        exit_code, writes = killing.run(release.release, lake, f"b{version}", kill_at=2 * (version - 1))
        killed = exit_code == -signal.SIGKILL
        finished = release.release(lake, f"b{version}")
        assert killed or (exit_code == 0 and finished == [])
        for mart in MARTS:
            wanted = pl.concat(build[mart] for build in builds)
            assert in_bi(analyst, CONTRACTS[mart]).equals(wanted), f"{mart} after a kill before write {writes}"
        assert verifying.verify(lake).breaks == ()
    assert len(builds) > 10, "too few writes were watched to prove anything"

    after_crashes = everything(lake, analyst)
    for number in range(1, len(builds) + 1):
        for mart in MARTS:
            wanted = pl.concat(build[mart] for build in builds[:number])
            assert in_iceberg(lake, CONTRACTS[mart], number).equals(wanted)
            assert in_files(lake, CONTRACTS[mart], number).equals(wanted)
    wipe(lake)
    for number, build in enumerate(builds, 1):
        stage(lake, month(number), build, tmp_path, commit_seq=number)
        release.release(lake, f"b{number}")
    assert everything(lake, analyst) == after_crashes


@pytest.mark.long
def test_a_withdrawal_killed_before_any_write_is_finished_by_the_next_release(
    clean_lake: Settings, analyst: psycopg.Connection, tmp_path: Path
) -> None:
    name = "fines_by_day"
    contract = CONTRACTS[name]
    lake = clean_lake.model_copy(update={"city": "elsewhere"})
    first_days = [unit.first_day for unit in units(name, COVERAGE)[:14]]
    whole = spec("b1", units(name, COVERAGE)[:14], COVERAGE)
    left = make(contract, reference(contract, whole), 1)
    stage(lake, whole, {name: left}, tmp_path)
    release.release(lake, "b1")
    killed, number = True, 0
    while killed:
        first_day = first_days.pop(0)
        arguments = (lake, name, first_day, "a drill")
        exit_code, _ = killing.run(release.withdraw, *arguments, kill_at=4 * number)
        killed = exit_code == -signal.SIGKILL
        release.release_latest(lake)
        with contextlib.suppress(RefusedError):  # killed before it was recorded: it has to be asked for again
            release.withdraw(*arguments)
        left = left.filter(pl.col("period_start") >= first_days[0])
        assert in_bi(analyst, contract).equals(left)
        assert in_iceberg(lake, contract).equals(left)
        assert verifying.verify(lake).breaks == ()
        number += 1
    assert number > 3, "too few writes were watched to prove anything"


DAYS = [date(2026, 3, 25) + timedelta(days=number) for number in range(7)]


def candidates_of(settings: Settings) -> dict[str, dict[str, str | None]]:
    store = object_store.client(settings, "publisher")
    assert set(candidates.builds(store)) == candidates.stored(store), "half a build was left"
    return {
        build_id: {built.mart.name: built.sha256 for built in candidates.load(store, build_id).marts}
        for build_id in candidates.builds(store)
    }


@pytest.mark.long
def test_a_build_killed_before_any_write_is_repeated_in_place(clean_lake: Settings) -> None:
    populate(clean_lake, DAYS, ["tows"])
    assert building.build(clean_lake) is not None  # the first one also notes the keys that it drew noise with
    wanted = candidates_of(clean_lake)
    assert [set(marts) for marts in wanted.values()] == [{mart for mart in CONTRACTS if mart.startswith("tows_")}]
    store = object_store.client(clean_lake, "publisher")
    for build_id in wanted:
        candidates.discard(store, build_id)
    exit_code, writes = killing.run(building.build, clean_lake)
    assert (exit_code, candidates_of(clean_lake)) == (0, wanted)
    for kill_at in (0, writes // 2, writes - 1):
        for build_id in wanted:
            candidates.discard(store, build_id)
        exit_code, _ = killing.run(building.build, clean_lake, kill_at=kill_at)
        assert exit_code == -signal.SIGKILL
        assert building.build(clean_lake) is not None
        assert candidates_of(clean_lake) == wanted, f"after a kill before write {kill_at}"
        assert not list((clean_lake.work_dir / "builds").glob("*")), "a work folder was left"


def test_dbt_does_not_outlive_a_build_that_is_killed(clean_lake: Settings) -> None:
    populate(clean_lake, DAYS, ["tows"])
    child = killing.server().Process(target=building.build, args=(clean_lake,))
    child.start()
    dbt = wait_for(lambda: next(iter(psutil.Process(child.pid).children(recursive=True)), None))
    child.kill()
    child.join()
    gone, alive = psutil.wait_procs([dbt], timeout=30)
    assert (len(gone), alive) == (1, [])
    built = building.build(clean_lake)
    assert built is not None
    assert not built.failed


def wait_for(found: Callable[[], psutil.Process | None]) -> psutil.Process:
    while True:
        try:
            process = found()
        except psutil.NoSuchProcess:
            process = None
        if process is not None:
            return process
        time.sleep(0.05)
