"""What is due comes from the registry alone; a build makes candidates of it, one mart's failure its own."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
import psycopg
import pyarrow as pa
import pytest
from conformed_lake import SILOS, crowd_flows, crowd_places, declare, populate, tows
from conformed_lake import commit as commit_rows
from released import everything, in_bi
from synthetic_marts import CITY, declared, release_row

from infra import catalog, database, object_store, registry
from infra.build_spec import CityReference
from infra.calendar import clock
from infra.city.profile import load_city, profile_path
from infra.keys.store import KeyDamagedError
from infra.settings import Settings
from privacy import ledger
from privacy.plan import plan
from privacy.spending import LATE_ROWS, Book, RefusedError, release_line
from publication import report, settling
from publication.builds import building, candidates, project
from publication.builds.candidates import Build
from publication.builds.project import Project
from publication.builds.rebuilding import LATE, Rebuilt, rebuild
from publication.contracts import CONTRACTS
from publication.due import Due, find_due
from publication.releases import release, verifying
from stewardship import corrections

pytestmark = pytest.mark.live

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


def cover(settings: Settings, silo: str, first: date, last: date, *others: date) -> None:
    """Declare the days from the first to the last, and others."""
    with database.connect(settings, "pipeline", "lake") as connection:
        declare(connection, silo, [*clock.days(first, last), *others])


LATER = date(2027, 1, 1)
FINES = {"fines_by_day", "fines_by_month", "fines_by_nature"}
TOWS = {mart for mart in CONTRACTS if mart.startswith("tows_")}
BY_MONTH = {mart for mart in TOWS if plan().marts[mart].release == "month"}


def due(connection: psycopg.Connection, today: date = LATER, **options: bool) -> Due | None:
    return find_due(connection, PROJECT, plan(), today=today, **options)


def publish(settings: Settings, found: Due, marts: Iterable[str]) -> None:
    """Record in the ledger that what was due of some marts is published."""
    lines = [
        release_line(plan(), unit, release=1, fingerprint="f", sha256=f"{unit}", code_version="v1", reason=None)
        for unit in found.units
        if unit.mart in marts
    ]
    with (
        database.connect(settings, "publisher", "lake", autocommit=True) as connection,
        ledger.locked(connection) as chain,
    ):
        ledger.append(connection, chain[-1] if chain else None, datetime.now(UTC), lines)


def names(found: Due | None) -> set[str]:
    return {mart.name for mart in found.marts} if found else set()


def days(found: Due | None, mart: str) -> list[tuple[date, date]]:
    return [(unit.first_day, unit.last_day) for unit in found.units if unit.mart == mart] if found else []


JANUARY, FEBRUARY = (date(2026, 1, 1), date(2026, 1, 31)), (date(2026, 2, 1), date(2026, 2, 28))
MARCH = (date(2026, 3, 1), date(2026, 3, 31))


def test_nothing_is_due_in_an_empty_lake(desk: psycopg.Connection) -> None:
    assert due(desk) is None
    assert due(desk, full_refresh=True) is None


def test_whole_periods_of_the_silos_that_have_data_are_due(clean_lake: Settings, desk: psycopg.Connection) -> None:
    cover(clean_lake, "tows", date(2026, 2, 10), date(2026, 8, 30))
    commit(clean_lake, "tows", [date(2025, 7, 5), date(2026, 2, 10), date(2026, 2, 11), date(2026, 12, 31)])
    found = due(desk)
    assert names(found) == TOWS
    # The first and the last period are not whole, whatever rows there are of them.
    assert [first for first, _ in days(found, "tows_by_month")] == [date(2026, month, 1) for month in range(3, 8)]
    assert [first for first, _ in days(found, "tows_profile")] == [date(2026, 4, 1)]
    assert found is not None
    assert found.commits == {"tows": 1}
    assert found.beside == ()


def test_a_period_is_due_once_it_has_settled(clean_lake: Settings, desk: psycopg.Connection) -> None:
    cover(clean_lake, "verbalisations", date(2026, 1, 1), date(2026, 5, 1))
    cover(clean_lake, "crowd_flows", date(2026, 2, 1), date(2026, 5, 1))
    # Seven days after its last day; and the mart of a quarter after that of the quarter.
    assert days(due(desk, date(2026, 3, 7)), "fines_by_day") == [JANUARY]
    assert days(due(desk, date(2026, 3, 8)), "fines_by_day") == [JANUARY, FEBRUARY]
    assert names(due(desk, date(2026, 4, 7))) & {"fines_profile"} == set()
    assert days(due(desk, date(2026, 4, 8)), "fines_profile") == [(date(2026, 1, 1), date(2026, 3, 31))]
    # Crowds two days after.
    assert days(due(desk, date(2026, 2, 4)), "crowd_by_day") == [(date(2026, 2, 1), date(2026, 2, 1))]
    assert days(due(desk, date(2026, 2, 3)), "crowd_by_day") == []


def test_the_day_is_that_of_the_city(clean_lake: Settings) -> None:
    """Half an hour before midnight in London is the day after in Marseille."""
    settings = clean_lake.model_copy(update={"now": datetime(2026, 7, 7, 23, 30, tzinfo=UTC)})
    assert settling.today(settings, "Europe/Paris") == date(2026, 7, 8)
    assert settling.today(settings, "America/Chicago") == date(2026, 7, 7)


def test_what_the_ledger_has_is_never_due_again(clean_lake: Settings, desk: psycopg.Connection) -> None:
    cover(clean_lake, "verbalisations", FEBRUARY[0], date(2026, 4, 29))
    first = due(desk)
    assert first is not None
    publish(clean_lake, first, names(first))
    assert due(desk) is None
    commit(clean_lake, "verbalisations", [date(2026, 2, 2)])  # late rows
    assert due(desk) is None
    cover(clean_lake, "verbalisations", date(2026, 4, 30), date(2026, 4, 30))
    assert days(due(desk), "fines_by_day") == [(date(2026, 4, 1), date(2026, 4, 30))]


def test_a_mart_that_was_not_released_stays_due_beside_those_that_were(
    clean_lake: Settings, desk: psycopg.Connection
) -> None:
    cover(clean_lake, "verbalisations", FEBRUARY[0], MARCH[1])
    first = due(desk)
    assert first is not None
    publish(clean_lake, first, names(first) - {"fines_by_nature"})
    second = due(desk)
    assert second is not None
    assert names(second) == {"fines_by_nature"}
    assert {unit.mart for unit in second.beside} == FINES - {"fines_by_nature"}
    assert {(unit.first_day, unit.last_day) for unit in second.beside} == {FEBRUARY, MARCH}


def test_a_correction_that_was_asked_for_is_due_with_its_family(clean_lake: Settings, desk: psycopg.Connection) -> None:
    cover(clean_lake, "verbalisations", FEBRUARY[0], MARCH[1])
    first = due(desk)
    assert first is not None
    publish(clean_lake, first, names(first))
    with database.connect(clean_lake, "publisher", "lake") as connection:
        for mart in names(first):
            registry.prepare_release(connection, release_row(mart))
    assert set(corrections.correct(clean_lake, "fines_by_day", FEBRUARY[0], "a file was missing")) == FINES
    second = due(desk)
    assert second is not None
    assert {(unit.mart, unit.first_day, unit.edition) for unit in second.units} == {
        (mart, FEBRUARY[0], 2) for mart in FINES
    }
    publish(clean_lake, second, FINES)
    assert due(desk) is None
    with pytest.raises(RefusedError, match=r"its one correction was made already: a file was missing"):
        corrections.correct(clean_lake, "fines_by_day", FEBRUARY[0], "once more")
    with pytest.raises(RefusedError, match="no unit of fines_by_day that begins on 2026-02-02"):
        corrections.correct(clean_lake, "fines_by_day", date(2026, 2, 2), "that never was")
    with pytest.raises(RefusedError, match="a reason is needed"):
        corrections.correct(clean_lake, "fines_by_day", MARCH[0], " ")


def test_what_has_no_noise_any_more_is_not_due(clean_lake: Settings, desk: psycopg.Connection) -> None:
    cover(clean_lake, "verbalisations", FEBRUARY[0], MARCH[1])
    found = find_due(desk, PROJECT, plan(), today=LATER, destroyed={"2026-02"})
    assert days(found, "fines_by_day") == [MARCH]


def test_what_retention_has_deleted_rows_of_is_not_built_from_the_rest(
    clean_lake: Settings, desk: psycopg.Connection
) -> None:
    populate(clean_lake, [date(2026, 2, 1) + timedelta(days=number) for number in range(28)], ["tows"])
    assert days(due(desk), "tows_by_month") == [JANUARY, FEBRUARY]
    table = catalog.open_catalog(clean_lake, "pipeline").load_table("conformed.tows")
    table.delete("event_date < '2026-02-15'", snapshot_properties={catalog.KEPT_FROM: "2026-02-15"})
    assert building.build(clean_lake) is None


def test_a_full_refresh_builds_what_is_published_and_nothing_else(
    clean_lake: Settings, desk: psycopg.Connection
) -> None:
    cover(clean_lake, "verbalisations", FEBRUARY[0], MARCH[1])
    first = due(desk)
    assert first is not None
    publish(clean_lake, first, FINES)
    again = due(desk, full_refresh=True)
    assert again is not None
    assert again.compares
    assert set(again.units) == {unit for unit in first.units if unit.mart in FINES}


def test_a_register_that_changed_covers_no_day(clean_lake: Settings, desk: psycopg.Connection) -> None:
    commit(clean_lake, "crowd_flows", [date(2020, 1, 1)], "crowd_places")
    assert due(desk) is None


def test_rows_alone_make_nothing_due(clean_lake: Settings, desk: psycopg.Connection) -> None:
    """One fine of 31 October published all October, one of July 2025 twelve months of noise."""
    commit(clean_lake, "verbalisations", [*clock.days(*FEBRUARY), date(2025, 7, 5), date(2026, 10, 31)])
    assert due(desk) is None


def test_what_fills_a_gap_is_published_once_it_is_declared(clean_lake: Settings, desk: psycopg.Connection) -> None:
    cover(clean_lake, "verbalisations", *JANUARY, *clock.days(*MARCH))
    found = due(desk)
    assert days(found, "fines_by_day") == [JANUARY, MARCH]
    assert days(found, "fines_profile") == []
    assert found is not None
    publish(clean_lake, found, names(found))
    cover(clean_lake, "verbalisations", *FEBRUARY)
    assert days(due(desk), "fines_by_day") == [FEBRUARY]
    assert days(due(desk), "fines_profile") == [(JANUARY[0], MARCH[1])]


def test_a_day_that_was_taken_back_is_not_covered(clean_lake: Settings, desk: psycopg.Connection) -> None:
    cover(clean_lake, "verbalisations", *FEBRUARY)
    with database.connect(clean_lake, "publisher", "lake") as connection:
        registry.declare(
            connection,
            "verbalisations",
            [date(2026, 2, 14)],
            source="steward",
            said_by="tests",
            said_at=datetime.now(UTC),
            covers=False,
        )
    assert due(desk) is None
    cover(clean_lake, "verbalisations", date(2026, 2, 14), date(2026, 2, 14))
    assert days(due(desk), "fines_by_day") == [FEBRUARY]


@pytest.mark.parametrize("status", ["landed", "parked"])
def test_nothing_is_due_while_a_delivery_of_the_silo_waits(
    clean_lake: Settings, desk: psycopg.Connection, status: str
) -> None:
    """1,336 rows of 2,371 were published while the others waited, and the others were late for ever."""
    cover(clean_lake, "verbalisations", *FEBRUARY)
    cover(clean_lake, "tows", *FEBRUARY)
    with database.connect(clean_lake, "pipeline", "lake") as connection:
        registry.add_delivery(
            connection,
            silo="verbalisations",
            delivery_id="f" * 64,
            object_key="k",
            file_name="fines.tsv",
            size=1,
            format_name=None,
            corrects=None,
        )
        connection.execute("update registry.delivery set status = %s", [status])
    assert names(due(desk)) == BY_MONTH
    standings = settling.standings(desk, ["verbalisations", "tows"])
    waits = settling.waits(plan(), PROJECT.marts.values(), standings, Book([]), today=LATER)
    (said,) = (wait.sentence for wait in waits if (wait.silo, wait.last_day) == ("verbalisations", FEBRUARY[1]))
    assert said.startswith("verbalisations 2026-02-01 to 2026-02-28 waits: fines.tsv (delivery ffffffffffff) was not")
    # A steward may say that it need not be waited for.
    with database.connect(clean_lake, "publisher", "lake") as connection:
        registry.add_go_ahead(
            connection,
            registry.GoAheadRow(
                "verbalisations", [], None, None, "f" * 64, "tests", datetime.now(UTC), "it will never be mended"
            ),
        )
    assert names(due(desk)) == {*BY_MONTH, *FINES}


def test_a_period_with_missing_days_is_due_when_a_steward_says_so(
    clean_lake: Settings, desk: psycopg.Connection
) -> None:
    cover(clean_lake, "verbalisations", FEBRUARY[0], date(2026, 2, 26))
    missing = [date(2026, 2, 27), date(2026, 2, 28)]
    assert due(desk) is None

    def let_go(first: date, last: date, days: list[date]) -> None:
        row = registry.GoAheadRow("verbalisations", days, first, last, None, "tests", datetime.now(UTC), "a strike")
        with database.connect(clean_lake, "publisher", "lake") as connection:
            registry.add_go_ahead(connection, row)

    let_go(JANUARY[0], MARCH[1], missing)  # of another period
    let_go(*FEBRUARY, missing[:1])  # not of all
    assert due(desk) is None
    let_go(*FEBRUARY, missing)
    found = due(desk)
    assert days(found, "fines_by_day") == [FEBRUARY]
    assert found is not None
    assert max(found.covered["verbalisations"]) == date(2026, 2, 26)


# --- with dbt --------------------------------------------------------------------------------------------------------

DAYS = [date(2026, 3, 20) + timedelta(days=number) for number in range(14)]


@pytest.fixture(scope="module")
def declared_marts(lake: Settings) -> Project:
    return project.load(lake, CityReference.of(load_city(lake)))


@pytest.mark.slow
def test_the_version_of_a_mart_follows_what_decides_its_content_and_nothing_else(tmp_path: Path) -> None:
    copy = tmp_path / "dbt_project"
    shutil.copytree(project.PROJECT, copy, ignore=shutil.ignore_patterns("target", "logs"))

    def versions() -> dict[str, str]:
        loaded = project.load(Settings(home=tmp_path), CITY, copy)
        return {name: mart.version for name, mart in loaded.marts.items()}

    def rewrite(path: str, before: str, after: str) -> None:
        text = (copy / path).read_text()
        assert before in text
        (copy / path).write_text(text.replace(before, after, 1))

    before = versions()
    assert len(set(before.values())) == len(CONTRACTS)
    rewrite("models/marts/tows/_tows__marts.yml", "description: ", "description: In other words, ")
    (copy / "models" / "marts" / "tows").rename(copy / "models" / "marts" / "pound")
    assert versions() == before
    rewrite("macros/bound_contributions.sql", "= 1", "<= 1")
    rewrite("seeds/directions.csv", "out", "outwards")
    now = versions()
    changed = {name for name in before if now[name] != before[name]}
    assert changed >= {*FINES, "fines_profile", *TOWS, "crowd_by_month"}
    assert not any(name.startswith("footfall_") for name in changed)


def test_every_mart_of_the_project_has_a_contract_and_they_agree(declared_marts: Project) -> None:
    assert set(declared_marts.marts) == set(CONTRACTS) == set(plan().marts)
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
        ("natures", "nature_group", "fines_by_nature"),
        ("tow_reasons", "reason_group", "tows_by_reason"),
        ("delay_bands", "delay_group", "tows_delay"),
        ("directions", "direction", "crowd_by_month"),
        ("footfall_categories", "category", "footfall_by_day"),
        ("hours", "time_band", "footfall_by_month"),
        ("weekdays", "day_type", "fines_profile"),
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
        "period_start": "2026-01-01",
        "period_end": "2026-03-31",
        "late_rows": 0,
        "held_back": None,
    }
    assert verifying.verify(clean_lake).breaks == ()

    # The same inputs, built anew, give the same bytes, and nothing is released.
    before = everything(clean_lake, analyst)
    again = _build(clean_lake, full_refresh=True)
    assert digests(again) == digests(first)
    assert [each.fingerprint for each in again.units] == [each.fingerprint for each in first.units]
    assert release.compare(clean_lake, again.build_id) == []
    assert everything(clean_lake, analyst) == before

    # With another noise key than before, or none, nothing is drawn, and none is made in its place.
    key = clean_lake.keys_dir / "noise" / "2026-03.key"
    right = key.read_bytes()
    key.write_bytes(bytes(32))
    with pytest.raises(KeyDamagedError, match="of silo noise for 2026-03 is not the one that was used before"):
        building.build(clean_lake, full_refresh=True)
    key.unlink()
    with pytest.raises(KeyDamagedError, match="of silo noise for 2026-03 was used before and is gone"):
        building.build(clean_lake, full_refresh=True)
    assert not key.exists()
    key.write_bytes(right)
    key.chmod(0o600)


@pytest.mark.slow
@pytest.mark.long
def test_late_rows_are_counted_and_told_and_published_by_a_correction_only(
    clean_lake: Settings, analyst: psycopg.Connection
) -> None:
    contract = CONTRACTS["tows_by_month"]
    populate(clean_lake, DAYS, ["tows"])
    release.release(clean_lake, _build(clean_lake).build_id)
    before = in_bi(analyst, contract)

    populate(clean_lake, [date(2026, 3, 25)], ["tows"], seed=5)
    assert building.build(clean_lake) is None
    assert release.release_latest(clean_lake) == []
    assert in_bi(analyst, contract).equals(before)
    late_of = {mart: shown["late_rows"] for mart, shown in report.marts(clean_lake).items()}
    assert late_of == {mart: 200 if mart in TOWS else 0 for mart in CONTRACTS}
    assert building.build(clean_lake) is None  # and they are told once
    with database.connect(clean_lake, "steward", "lake") as connection:
        told = [line.body for line in ledger.lines(connection) if line.kind == LATE_ROWS]
    assert sorted((body["mart"], body["rows"]) for body in told) == [(mart, 200) for mart in sorted(TOWS)]

    # Built again, it would be something else: refused, for every mart.
    again = _build(clean_lake, full_refresh=True)
    with pytest.raises(RefusedError, match="the input changed since edition 1 was published") as refused:
        release.compare(clean_lake, again.build_id)
    assert all(mart in str(refused.value) for mart in TOWS)

    corrections.correct(clean_lake, "tows_by_month", date(2026, 3, 1), "a file that was delivered late")
    corrected = _build(clean_lake)
    assert {(each.unit.mart, each.unit.edition) for each in corrected.units if each.due} == {
        (mart, 2) for mart in BY_MONTH
    }
    released = release.release(clean_lake, corrected.build_id)
    assert {(each.mart, each.version) for each in released} == {(mart, 2) for mart in BY_MONTH}
    assert report.marts(clean_lake)["tows_by_month"]["late_rows"] == 0
    assert verifying.verify(clean_lake).breaks == ()


@pytest.mark.slow
@pytest.mark.long
def test_what_is_published_is_compared_whatever_version_made_it(clean_lake: Settings, tmp_path: Path) -> None:
    populate(clean_lake, DAYS, ["tows"])
    release.release(clean_lake, _build(clean_lake).build_id)
    published = 3 * len(BY_MONTH) + len(TOWS - BY_MONTH)  # three months of a quarter, and the quarter
    assert rebuild(clean_lake) == Rebuilt(published, (), {})

    for name in ("marseille.toml", "marseille_quartiers.csv"):  # a city by another name: every mart has another version
        text = (profile_path("marseille").parent / name).read_text()
        (tmp_path / name).write_text(text.replace("1er arrondissement", "First arrondissement"))
    found = rebuild(clean_lake.model_copy(update={"city": str(tmp_path / "marseille.toml")}))
    assert (found.same, [each.mart for each in found.other_code], found.left_out) == (
        published - 1,
        ["tows_by_area"],  # the only one that shows the name
        {},
    )

    tables = catalog.open_catalog(clean_lake, "pipeline")
    table, rows = tables.load_table("conformed.tows"), tows(clean_lake, DAYS[:1], "e" * 64, 1)
    table.append(rows)  # past the registry: nobody accounts for it
    with pytest.raises(RefusedError, match=r"tows_by_month of .* the input changed since edition 1 was published"):
        rebuild(clean_lake)

    commit_rows(clean_lake, "tows", rows, "f" * 64)
    assert set(rebuild(clean_lake, first=DAYS[0]).left_out.values()) == {LATE}
    with pytest.raises(RefusedError, match=r"says too little: 4 published .* 6 left out: rows came for it after"):
        rebuild(clean_lake)


@pytest.mark.slow
@pytest.mark.long
def test_a_register_that_is_delivered_later_is_no_breach_of_what_is_published(clean_lake: Settings) -> None:
    populate(clean_lake, [date(2026, 1, 1)], ["crowd_flows"])
    release.release(clean_lake, _build(clean_lake).build_id)
    assert rebuild(clean_lake) == Rebuilt(1, (), {})
    commit_rows(clean_lake, "crowd_places", crowd_places("new-1"), "c" * 64, covers=[])
    found = rebuild(clean_lake, first=date(2026, 1, 1))
    assert (found.same, [each.mart for each in found.other_code], found.left_out) == (0, ["crowd_by_day"], {})

    catalog.open_catalog(clean_lake, "pipeline").load_table("conformed.crowd_flows").append(
        crowd_flows(clean_lake, [date(2026, 1, 1)], "e" * 64, 1)  # past the registry, of the same places
    )
    corrections.correct(clean_lake, "crowd_by_day", date(2026, 1, 1), "with the places that were delivered")
    release.release(clean_lake, _build(clean_lake).build_id)
    catalog.open_catalog(clean_lake, "pipeline").load_table("conformed.crowd_flows").append(
        crowd_flows(clean_lake, [date(2026, 1, 1)], "d" * 64, 2)
    )
    with pytest.raises(RefusedError, match=r"crowd_by_day of .* the input changed since edition 2 was published"):
        rebuild(clean_lake, first=date(2026, 1, 1))


@pytest.mark.slow
def test_a_mart_whose_test_fails_is_reported_and_stops_no_other(
    clean_lake: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    populate(clean_lake, DAYS, ["verbalisations"])
    rows = tows(clean_lake, DAYS, "d" * 64, 0)
    reasons = pa.array(["AB-123-CD"] * rows.num_rows)
    broken = rows.set_column(rows.schema.get_field_index("reason"), "reason", reasons)
    commit_rows(clean_lake, "tows", broken, "d" * 64, list(clock.days(clock.quarter_start(DAYS[0]), DAYS[-1])))
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
    assert {each.mart for each in released} == {*FINES, "fines_profile"}
    held = report.marts(clean_lake)["tows_by_month"]
    assert (held["release"], held["rows"]) == (None, 0)
    assert problem.node in held["held_back"]


@pytest.mark.slow
def test_two_builds_at_once_make_one(clean_lake: Settings) -> None:
    populate(clean_lake, DAYS, ["tows"])
    built: list[Build | None] = []
    threads = [threading.Thread(target=lambda: built.append(building.build(clean_lake))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert built[0] == built[1] is not None
    assert len(list(candidates.builds(object_store.client(clean_lake, "publisher")))) == 1
