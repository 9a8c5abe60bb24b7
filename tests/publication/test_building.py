"""What is due comes from the registry alone; a build makes candidates of it, one mart's failure its own."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator
from datetime import date, timedelta
from pathlib import Path

import polars as pl
import psycopg
import pyarrow as pa
import pytest
from conformed_lake import SILOS, populate, tows
from conformed_lake import commit as commit_rows
from released import in_bi
from synthetic_marts import CITY, Q1, Q2, declared

from infra import database, object_store, registry
from infra.build_spec import CityReference
from infra.city import load_city
from infra.settings import Settings
from publication import building, candidates, project, release, report
from publication.candidates import Build
from publication.contracts import CONTRACTS
from publication.project import Project

pytestmark = pytest.mark.live

Q3, Q4 = date(2026, 7, 1), date(2026, 10, 1)
PROJECT = Project("v1", {mart: declared(contract) for mart, contract in CONTRACTS.items()}, Path())


@pytest.fixture
def desk(clean_lake: Settings) -> Iterator[psycopg.Connection]:
    with database.connect(clean_lake, "publisher", "lake", autocommit=True) as connection:
        yield connection


def commit(settings: Settings, silo: str, days: Iterable[date], dataset: str | None = None) -> None:
    """Only the line in the registry: what is due needs no more."""
    with database.connect(settings, "pipeline", "lake") as connection:
        delivery = f"{silo} {dataset} {time.monotonic_ns()}"
        registry.add_commit(
            connection, silo=silo, dataset=dataset or silo, delivery_id=delivery, days=list(days), snapshot_id=None
        )


def settle(connection: psycopg.Connection, due: building.Due, marts: Iterable[str] | None = None) -> None:
    """Record that what was due is released."""
    for mart in due.marts:
        if marts is None or mart.name in marts:
            covered = due.coverage[mart.silo]
            registry.advance_mart(
                connection,
                registry.MartRow(
                    mart=mart.name,
                    silo=mart.silo,
                    build_id="b",
                    code_version=PROJECT.version,
                    commit_seq=due.commits[mart.silo],
                    covered_from=covered.first_day,
                    covered_to=covered.last_day,
                ),
            )


def due(connection: psycopg.Connection) -> building.Due:
    found = building.find_due(connection, PROJECT)
    assert found is not None
    return found


def names(found: building.Due) -> set[str]:
    return {mart.name for mart in found.marts}


TOWS = {"tows_by_day", "tows_by_month", "tows_profile", "tows_delay"}


def test_nothing_is_due_in_an_empty_lake(desk: psycopg.Connection) -> None:
    assert building.find_due(desk, PROJECT) is None
    assert building.find_due(desk, PROJECT, full_refresh=True) is None


def test_only_the_marts_of_the_silo_that_changed_are_due_for_the_quarters_that_changed(
    clean_lake: Settings, desk: psycopg.Connection
) -> None:
    commit(clean_lake, "tows", [date(2026, 2, 1), date(2026, 8, 1)])
    commit(clean_lake, "verbalisations", [date(2026, 2, 1)])
    first = due(desk)
    assert names(first) == TOWS | {"fines_by_day", "fines_by_month", "fines_profile"}
    assert first.quarters == (Q1, Q2, Q3)
    settle(desk, first)
    assert building.find_due(desk, PROJECT) is None

    commit(clean_lake, "tows", [date(2026, 5, 1)])
    second = due(desk)
    assert names(second) == TOWS
    assert second.quarters == (Q2,)
    assert second.commits == {"tows": 3}


def test_quarters_that_coverage_grows_over_are_due_though_no_row_of_them_came(
    clean_lake: Settings, desk: psycopg.Connection
) -> None:
    commit(clean_lake, "tows", [date(2026, 5, 1)])
    settle(desk, due(desk))
    commit(clean_lake, "tows", [date(2026, 12, 1)])
    assert due(desk).quarters == (Q2, Q3, Q4)
    settle(desk, due(desk))
    commit(clean_lake, "tows", [date(2025, 12, 31)])
    assert due(desk).quarters == (date(2025, 10, 1), Q1, Q2)


def test_a_commit_that_changed_no_day_is_not_due(clean_lake: Settings, desk: psycopg.Connection) -> None:
    commit(clean_lake, "tows", [date(2026, 5, 1)])
    settle(desk, due(desk))
    commit(clean_lake, "tows", [])
    assert building.find_due(desk, PROJECT) is None


def test_a_register_that_changed_makes_every_quarter_due_and_covers_no_day(
    clean_lake: Settings, desk: psycopg.Connection
) -> None:
    commit(clean_lake, "crowd_flows", [date(2020, 1, 1)], "crowd_places")
    assert building.find_due(desk, PROJECT) is None
    commit(clean_lake, "crowd_flows", [date(2026, 2, 1), date(2026, 5, 1)])
    assert due(desk).quarters == (Q1, Q2)
    settle(desk, due(desk))
    commit(clean_lake, "crowd_flows", [date(2020, 1, 1)], "crowd_places")
    assert due(desk).quarters == (Q1, Q2)


def test_a_mart_that_was_not_released_stays_due_alone(clean_lake: Settings, desk: psycopg.Connection) -> None:
    commit(clean_lake, "tows", [date(2026, 2, 1)])
    settle(desk, due(desk), TOWS - {"tows_delay"})
    registry.hold_mart(desk, "tows_delay", "tows", "b", "grid_complete")
    assert names(due(desk)) == {"tows_delay"}


def test_a_new_version_of_the_project_makes_everything_due(clean_lake: Settings, desk: psycopg.Connection) -> None:
    commit(clean_lake, "tows", [date(2026, 2, 1), date(2026, 5, 1)])
    settle(desk, due(desk))
    newer = Project("v2", PROJECT.marts, Path())
    found = building.find_due(desk, newer)
    assert found is not None
    assert (names(found), found.quarters) == (TOWS, (Q1, Q2))


def test_the_version_follows_every_file_of_the_project_and_the_city(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "a.sql").write_text("select 1")
    versions = [project.code_version(CITY, tmp_path)]
    (tmp_path / "target").mkdir()
    (tmp_path / "target" / "manifest.json").write_text("{}")
    assert project.code_version(CITY, tmp_path) == versions[0]
    (tmp_path / "models" / "a.sql").write_text("select 2")
    versions.append(project.code_version(CITY, tmp_path))
    (tmp_path / "models" / "b.sql").write_text("select 1")
    versions.append(project.code_version(CITY, tmp_path))
    versions.append(project.code_version(CITY.model_copy(update={"time_zone": "UTC"}), tmp_path))
    assert len(set(versions)) == len(versions)


# --- with dbt --------------------------------------------------------------------------------------------------------

DAYS = [date(2026, 3, 20) + timedelta(days=number) for number in range(24)]


@pytest.fixture(scope="module")
def declared_marts(lake: Settings) -> Project:
    return project.load(lake, project.code_version(CityReference.of(load_city(lake))))


def test_every_mart_of_the_project_has_a_contract_and_they_agree(declared_marts: Project) -> None:
    assert set(declared_marts.marts) == set(CONTRACTS)
    for name, mart in declared_marts.marts.items():
        contract = CONTRACTS[name]
        assert [(column.name, column.type) for column in mart.columns] == list(contract.columns.items())
        assert mart.grain == contract.grain
        assert mart.description
        assert all(column.description for column in mart.columns)
        assert mart.silo in SILOS


@pytest.mark.parametrize(
    ("seed", "column", "mart"),
    [
        ("natures", "nature", "fines_by_month"),
        ("tow_reasons", "reason", "tows_by_month"),
        ("delay_bands", "delay_band", "tows_delay"),
        ("directions", "direction", "crowd_by_month"),
        ("footfall_categories", "category", "footfall_by_day"),
        ("hours", "time_band", "footfall_by_month"),
    ],
)
def test_contracts_and_seeds_list_the_same_categories(seed: str, column: str, mart: str) -> None:
    listed = pl.read_csv(project.PROJECT / "seeds" / f"{seed}.csv", infer_schema=False)[column]
    (dimension,) = (each for each in CONTRACTS[mart].dimensions if each.column == column)
    assert set(listed) == set(dimension.values(None))  # type: ignore[arg-type]


def _build(settings: Settings, **options: bool) -> Build:
    built = building.build(settings, **options)
    assert built is not None
    assert built.failed == ()
    return built


def digests(built: Build) -> dict[str, str | None]:
    return {each.mart.name: each.sha256 for each in built.good}


@pytest.mark.slow
def test_from_conformed_rows_to_marts_that_everybody_may_read(
    clean_lake: Settings, analyst: psycopg.Connection
) -> None:
    populate(clean_lake, DAYS, SILOS)
    first = _build(clean_lake)
    assert {built.mart.name for built in first.good} == set(CONTRACTS)
    released = release.release(clean_lake, first.build_id)
    assert {each.mart for each in released} == set(CONTRACTS)
    for mart in CONTRACTS:
        (rows,) = analyst.execute(f"select count(*) from {mart}").fetchone() or (0,)
        assert rows > 0
    assert building.build(clean_lake) is None
    assert release.release_latest(clean_lake) == []

    shown = report.marts(clean_lake)
    assert set(shown) == set(CONTRACTS)
    assert shown["fines_by_day"] == {
        "rows": in_bi(analyst, CONTRACTS["fines_by_day"]).height,
        "release": 1,
        "period_start": "2026-03-20",
        "period_end": "2026-04-12",
        "held_back": None,
    }

    # The same inputs, built anew, give the same bytes: nothing to release.
    again = _build(clean_lake, full_refresh=True)
    assert [(each.mart.name, each.sha256) for each in again.good] == [
        (each.mart.name, each.sha256) for each in first.good
    ]
    assert release.release(clean_lake, again.build_id) == []

    # One more day of one silo: its marts, that quarter; the quarter before is carried over as it is.
    store = object_store.client(clean_lake, "analyst")
    before = object_store.get_json(store, "lake", "releases/tows_by_day/v1.json")["quarters"]
    populate(clean_lake, [date(2026, 4, 13)], ["tows"], seed=5)
    second = _build(clean_lake)
    assert second.quarters == (Q2,)
    assert {each.mart for each in release.release(clean_lake, second.build_id)} == TOWS
    after = object_store.get_json(store, "lake", "releases/tows_by_day/v2.json")["quarters"]
    assert after[0] == before[0]
    assert after[1]["period_end"] == "2026-04-13"

    # And the increments together are what one build of everything would have made.
    whole = _build(clean_lake, full_refresh=True)
    assert release.release(clean_lake, whole.build_id) == []


@pytest.mark.slow
def test_a_mart_whose_test_fails_is_reported_and_stops_no_other(
    clean_lake: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    populate(clean_lake, DAYS, ["verbalisations"])
    rows = tows(clean_lake, DAYS, "d" * 64, 0)
    reasons = pa.array(["AB-123-CD"] * rows.num_rows)
    broken = rows.set_column(rows.schema.get_field_index("reason"), "reason", reasons)
    commit_rows(clean_lake, "tows", broken, "d" * 64)
    built = building.build(clean_lake)
    assert built is not None
    assert {each.mart.name for each in built.failed} == TOWS
    (problem, *_) = built.failed[0].problems
    assert "reason" in problem.node
    assert problem.compiled
    assert (clean_lake.home / problem.compiled).is_file()
    assert problem.node in caplog.text
    assert "AB-123-CD" not in caplog.text + built.model_dump_json()
    assert not list(clean_lake.work_dir.rglob("*.duckdb"))
    released = release.release(clean_lake, built.build_id)
    assert {each.mart for each in released} == {"fines_by_day", "fines_by_month", "fines_profile"}
    held = report.marts(clean_lake)["tows_by_day"]
    assert (held["release"], held["rows"]) == (None, 0)
    assert problem.node in held["held_back"]


@pytest.mark.slow
def test_two_builds_at_once_make_one(clean_lake: Settings) -> None:
    populate(clean_lake, DAYS[:3], ["tows"])
    built: list[Build | None] = []
    threads = [threading.Thread(target=lambda: built.append(building.build(clean_lake))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert built[0] == built[1] is not None
    assert len(list(candidates.builds(object_store.client(clean_lake, "publisher")))) == 1
