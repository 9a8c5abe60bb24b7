"""Releases on a live store and database: whole or not at all, exactly once, one mart's failure its own."""

from __future__ import annotations

import dataclasses
import io
import threading
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl
import psycopg
import pytest
from minio.error import S3Error
from released import everything, in_bi, in_files, in_iceberg
from synthetic_marts import make, reference, spec, stage, units

from infra import catalog, database, object_store, registry
from infra.build_spec import Unit
from infra.calendar.days import DayRange
from infra.contract_versions.numbers import Level, next_version
from infra.settings import Settings
from privacy.plan import plan
from privacy.spending import RefusedError
from publication import report
from publication.builds import candidates
from publication.contracts import CONTRACTS, Companion
from publication.releases import files, release, verifying
from publication.releases.manifest import Manifest
from stewardship import corrections

pytestmark = pytest.mark.live
DENIED = r"AccessDenied|Access Denied"

IN_FORCE = CONTRACTS["fines_by_day"].version
MINOR, MAJOR = next_version(IN_FORCE, Level.MINOR), next_version(IN_FORCE, Level.MAJOR)


def frames(seed: int = 0, of: object = None, marts: tuple[str, ...] = tuple(CONTRACTS)) -> dict[str, pl.DataFrame]:
    return {mart: make(CONTRACTS[mart], reference(CONTRACTS[mart], of), seed) for mart in marts}  # type: ignore[arg-type]


def some(marts: tuple[str, ...], unit: Unit) -> dict[str, pl.DataFrame]:
    """The rows of marts within the days of one unit."""
    return {
        mart: frame.filter(pl.col("period_start").is_between(unit.first_day, unit.last_day))
        for mart, frame in frames(marts=marts).items()
    }


def test_every_mart_is_the_same_in_bi_iceberg_and_files(
    clean_lake: Settings, analyst: psycopg.Connection, tmp_path: Path
) -> None:
    wanted = frames()
    stage(clean_lake, spec(), wanted, tmp_path)
    released = release.release(clean_lake, "b1")
    assert {(each.mart, each.version) for each in released} == {(mart, 1) for mart in CONTRACTS}
    for mart, contract in CONTRACTS.items():
        assert in_bi(analyst, contract).equals(wanted[mart])
        assert in_iceberg(clean_lake, contract, 1).equals(wanted[mart])
        assert in_files(clean_lake, contract, 1).equals(wanted[mart])
    for each in released:
        receipt = object_store.get_json(
            object_store.client(clean_lake, "steward"), "receipts", f"releases/{each.mart}/v1.json"
        )
        assert (receipt["rows"], receipt["sha256"]) == (each.rows, each.sha256)
        assert (each.period_start, each.period_end) == (
            wanted[each.mart]["period_start"].min(),
            wanted[each.mart]["period_end"].max(),
        )
    info = analyst.execute("select mart, version, rows, period_end, sha256 from marts.release_info").fetchall()
    assert sorted(info) == sorted((each.mart, 1, each.rows, each.period_end, each.sha256) for each in released)


def test_releasing_again_changes_nothing(clean_lake: Settings, analyst: psycopg.Connection, tmp_path: Path) -> None:
    stage(clean_lake, spec(), frames(), tmp_path)
    release.release(clean_lake, "b1")
    before = everything(clean_lake, analyst)
    assert release.release(clean_lake, "b1") == []
    assert release.release_latest(clean_lake) == []
    assert everything(clean_lake, analyst) == before


def test_what_was_published_is_not_published_again(clean_lake: Settings, tmp_path: Path) -> None:
    stage(clean_lake, spec("b1"), frames(), tmp_path, commit_seq=1)
    release.release(clean_lake, "b1")
    stage(clean_lake, spec("b2"), frames(), tmp_path, commit_seq=7)
    assert release.release(clean_lake, "b2") == []
    with database.connect(clean_lake, "publisher", "lake") as connection:
        assert {row.build_id for row in registry.marts(connection).values()} == {"b2"}
        assert {row.version for row in registry.newest_releases(connection).values()} == {1}


def test_a_changed_input_under_a_published_edition_is_refused(
    clean_lake: Settings, analyst: psycopg.Connection, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first = frames(1, marts=("fines_by_day",))
    stage(clean_lake, spec("b1"), first, tmp_path)
    release.release(clean_lake, "b1")
    stage(clean_lake, spec("b2"), frames(2, marts=("fines_by_day",)), tmp_path, commit_seq=2)
    assert release.release(clean_lake, "b2") == []
    assert in_bi(analyst, CONTRACTS["fines_by_day"]).equals(first["fines_by_day"])
    with database.connect(clean_lake, "publisher", "lake") as connection:
        because = registry.marts(connection)["fines_by_day"].held_because or ""
    assert "fines_by_day of 2026-03-01 to 2026-03-31: the input changed since edition 1 was published" in because
    assert "calanque correct fines_by_day 2026-03-01" in because
    assert because in caplog.text
    receipt = object_store.get_json(
        object_store.client(clean_lake, "steward"), "receipts", "releases/fines_by_day/held-b2.json"
    )
    assert receipt["refusal"] == because


def test_a_unit_is_added_and_the_others_are_carried_over(
    clean_lake: Settings, analyst: psycopg.Connection, tmp_path: Path
) -> None:
    contract = CONTRACTS["fines_by_day"]
    whole = frames(1, marts=("fines_by_day",))["fines_by_day"]
    march, april = units("fines_by_day")
    first = whole.filter(pl.col("period_start") <= march.last_day)
    stage(clean_lake, spec("b1", of=[march]), {"fines_by_day": first}, tmp_path)
    release.release(clean_lake, "b1")
    second = whole.filter(pl.col("period_start") > march.last_day)
    stage(clean_lake, spec("b2", of=[april]), {"fines_by_day": second}, tmp_path, commit_seq=2)
    (released,) = release.release(clean_lake, "b2")
    assert (released.version, released.rows, released.period_end) == (2, whole.height, april.last_day)
    assert in_bi(analyst, contract).equals(whole)
    assert in_iceberg(clean_lake, contract).equals(whole)
    assert in_files(clean_lake, contract, 2).equals(whole)
    # The version before is still there, whole, in Iceberg and in its files.
    assert in_iceberg(clean_lake, contract, 1).equals(first)
    assert in_files(clean_lake, contract, 1).equals(first)


def test_a_withdrawn_unit_is_gone_from_all_that_can_be_read_and_stays_spent(
    clean_lake: Settings, analyst: psycopg.Connection, tmp_path: Path
) -> None:
    name = "fines_by_day"
    contract = CONTRACTS[name]
    march, april = units(name)
    whole = frames(1, marts=(name,))[name]
    stage(clean_lake, spec("b1"), {name: whole}, tmp_path)
    release.release(clean_lake, "b1")
    with database.connect(clean_lake, "publisher", "bi", autocommit=True) as connection:
        connection.execute(f"analyze marts.{name}")  # as the server does by itself, sooner or later
    spent = verifying.verify(clean_lake).book.accounts()

    (withdrawn,) = release.withdraw(clean_lake, name, march.first_day, "a sensor that counted twice")
    left = whole.filter(pl.col("period_start") > march.last_day)
    assert (withdrawn.version, withdrawn.rows, withdrawn.period_start) == (2, left.height, april.first_day)
    assert in_bi(analyst, contract).equals(left)
    assert in_iceberg(clean_lake, contract).equals(left)
    assert in_files(clean_lake, contract, 2).equals(left)
    # Nor can it be had from the past: an analyst may read every byte that is left.
    store = object_store.client(clean_lake, "analyst")
    table = catalog.open_catalog(clean_lake, "publisher").load_table(f"marts.{name}")
    assert sorted(reference for reference in table.refs() if reference != "main") == ["v2"]
    for key in object_store.list_keys(store, "lake", f"marts/{name}/data/"):
        assert pl.read_parquet(io.BytesIO(object_store.get_bytes(store, "lake", key)))["period_start"].min() > (
            march.last_day
        )
    assert list(object_store.list_keys(store, "lake", f"releases/{name}/unit={march.first_day}/")) == []
    manifests = [key for key in object_store.list_keys(store, "lake", f"releases/{name}/") if key.endswith(".json")]
    assert manifests == [f"releases/{name}/v2.json"]
    remembered = analyst.execute(
        "select most_common_vals::text, histogram_bounds::text from pg_stats where tablename = %s", [name]
    ).fetchall()
    assert remembered
    assert "2026-03" not in str(remembered)

    found = verifying.verify(clean_lake)
    assert found.breaks == ()
    assert [(unit.first_day, why) for unit, why in found.book.withdrawn()] == [
        (march.first_day, "a sensor that counted twice")
    ]
    assert found.book.accounts() == spent
    with pytest.raises(RefusedError, match="is withdrawn already: a sensor that counted twice"):
        release.withdraw(clean_lake, name, march.first_day, "again")
    with pytest.raises(RefusedError, match="no unit of tows_delay that begins on 2026-03-01 was ever published"):
        release.withdraw(clean_lake, "tows_delay", march.first_day, "never published")
    # The same build again does not bring it back; a correction does.
    stage(clean_lake, spec("b2"), {name: whole}, tmp_path)
    assert release.release(clean_lake, "b2") == []
    assert in_bi(analyst, contract).equals(left)
    assert corrections.correct(clean_lake, name, march.first_day, "the sensor's rows were removed") == [name]
    again = spec("b3", of=[march.model_copy(update={"edition": 2})])
    mended = make(contract, reference(contract, again), 9)
    stage(clean_lake, again, {name: mended}, tmp_path)
    (released,) = release.release(clean_lake, "b3")
    assert released.version == 3
    assert in_bi(analyst, contract).equals(pl.concat([mended, left]))
    found = verifying.verify(clean_lake)
    assert found.breaks == ()
    (account,) = (each for each in found.book.accounts() if each.month == "2026-03")
    share = plan().marts[name].spends
    assert (account.spent, account.corrections) == (share, share)


def test_when_every_unit_is_withdrawn_the_mart_is_empty(
    clean_lake: Settings, analyst: psycopg.Connection, tmp_path: Path
) -> None:
    name = "tows_by_area"
    (unit,) = units(name)
    stage(clean_lake, spec("b1"), frames(1, marts=(name,)), tmp_path)
    release.release(clean_lake, "b1")
    with database.connect(clean_lake, "publisher", "bi", autocommit=True) as connection:
        connection.execute(f"analyze marts.{name}")
    (withdrawn,) = release.withdraw(clean_lake, name, unit.first_day, "a drill")
    assert (withdrawn.rows, withdrawn.period_start, withdrawn.period_end) == (0, None, None)
    assert in_bi(analyst, CONTRACTS[name]).is_empty()
    assert in_iceberg(clean_lake, CONTRACTS[name]).is_empty()
    assert analyst.execute("select from pg_stats where tablename = %s", [name]).fetchall() == []
    assert verifying.verify(clean_lake).breaks == ()


def test_what_an_older_release_of_calanque_told_is_written_again(
    clean_lake: Settings, analyst: psycopg.Connection, tmp_path: Path
) -> None:
    name = "fines_by_day"
    whole = frames(1, marts=(name,))[name]
    march, april = units(name)
    stage(clean_lake, spec("b1", of=[march]), {name: whole.filter(pl.col("period_start") <= march.last_day)}, tmp_path)
    release.release(clean_lake, "b1")
    stage(clean_lake, spec("b2", of=[april]), {name: whole.filter(pl.col("period_start") > march.last_day)}, tmp_path)
    release.release(clean_lake, "b2")
    store = object_store.client(clean_lake, "publisher")
    with database.connect(clean_lake, "admin", "lake") as connection:  # as it was left
        for version in (1, 2):
            row = registry.release(connection, name, version)
            assert row is not None
            object_store.put_json(store, "lake", row.manifest_key, row.manifest)
        connection.execute("update registry.mart set tells_exact = true")
    assert "fingerprint" in object_store.get_bytes(store, "lake", f"releases/{name}/v2.json").decode()

    assert release.release_latest(clean_lake) == []
    left = [key for key in object_store.list_keys(store, "lake", f"releases/{name}/") if key.endswith(".json")]
    assert left == [f"releases/{name}/v2.json"]
    assert "fingerprint" not in object_store.get_bytes(store, "lake", left[0]).decode()
    table = catalog.open_catalog(clean_lake, "publisher").load_table(f"marts.{name}")
    assert (sorted(table.refs()), len(table.snapshots())) == (["main", "v2"], 1)
    for copy in (in_bi(analyst, CONTRACTS[name]), in_iceberg(clean_lake, CONTRACTS[name], 2)):
        assert copy.equals(whole)
    assert in_files(clean_lake, CONTRACTS[name], 2).equals(whole)
    assert verifying.verify(clean_lake).breaks == ()
    before = everything(clean_lake, analyst)
    assert release.release_latest(clean_lake) == []
    assert everything(clean_lake, analyst) == before


def test_a_mart_that_breaks_its_contract_is_held_back_and_stops_no_other(
    clean_lake: Settings, analyst: psycopg.Connection, tmp_path: Path
) -> None:
    wanted = frames(1)
    broken = {**wanted, "fines_by_day": wanted["fines_by_day"].slice(1)}
    stage(clean_lake, spec("b1"), broken, tmp_path, commit_seq=1)
    released = release.release(clean_lake, "b1")
    assert {each.mart for each in released} == set(CONTRACTS) - {"fines_by_day"}
    assert analyst.execute("select to_regclass('marts.fines_by_day')").fetchone() == (None,)
    assert in_bi(analyst, CONTRACTS["tows_by_month"]).equals(wanted["tows_by_month"])
    receipt = object_store.get_json(
        object_store.client(clean_lake, "steward"), "receipts", "releases/fines_by_day/held-b1.json"
    )
    assert [each["rule"] for each in receipt["violations"]] == ["grid_complete"]
    with database.connect(clean_lake, "publisher", "lake") as connection:
        held = registry.marts(connection)["fines_by_day"]
    assert (held.build_id, held.held_build_id) == (None, "b1")
    assert "grid_complete" in (held.held_because or "")
    # Mended, it follows.
    stage(clean_lake, spec("b2"), wanted, tmp_path, commit_seq=2)
    assert {each.mart for each in release.release(clean_lake, "b2")} == {"fines_by_day"}
    with database.connect(clean_lake, "publisher", "lake") as connection:
        assert registry.marts(connection)["fines_by_day"].held_because is None


def test_a_candidate_with_a_plate_is_held_back_without_naming_it(
    clean_lake: Settings, analyst: psycopg.Connection, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tainted = frames(marts=("fines_by_day", "tows_by_month"))
    tainted["tows_by_month"] = tainted["tows_by_month"].with_columns(area_name=pl.lit("AB-123-CD"))
    stage(clean_lake, spec(), tainted, tmp_path)
    assert [each.mart for each in release.release(clean_lake, "b1")] == ["fines_by_day"]
    assert "plate" in caplog.text
    assert "AB-123-CD" not in caplog.text
    assert analyst.execute("select to_regclass('marts.tows_by_month')").fetchone() == (None,)


def test_a_candidate_that_changed_after_its_build_is_held_back(clean_lake: Settings, tmp_path: Path) -> None:
    stage(clean_lake, spec(), frames(marts=("fines_by_day", "tows_by_month")), tmp_path)
    store = object_store.client(clean_lake, "publisher")
    other = object_store.get_bytes(store, "lake", candidates.key("b1", "tows_by_month"))
    object_store.put_bytes(store, "lake", candidates.key("b1", "fines_by_day"), other)
    assert [each.mart for each in release.release(clean_lake, "b1")] == ["tows_by_month"]


def test_a_build_that_does_not_exist_is_refused_with_a_remedy(clean_lake: Settings) -> None:
    with pytest.raises(candidates.UnknownBuildError, match="calanque run"):
        release.release(clean_lake, "nothing")


def test_a_reader_never_sees_half_a_release(clean_lake: Settings, tmp_path: Path) -> None:
    """One statement, many times, while releases go on: all marts are of one build, and complete."""
    marts = ("fines_by_day", "fines_by_month", "tows_by_month")
    coverage = DayRange(first_day=date(2026, 1, 1), last_day=date(2026, 4, 30))
    whole = {mart: make(CONTRACTS[mart], reference(CONTRACTS[mart], spec("b0", coverage=coverage))) for mart in marts}
    months = sorted({unit.first_day: unit.last_day for unit in units("fines_by_day", coverage)}.items())
    assert len(months) == 4
    allowed = set()
    for _, last_day in months:
        shown = [whole[mart].filter(pl.col("period_start") <= last_day) for mart in marts]
        measures = [CONTRACTS[mart].measure.column for mart in marts]
        figures = [(each.height, int(each[name].sum())) for each, name in zip(shown, measures, strict=True)]
        allowed.add((*(figure for pair in figures for figure in pair), True))

    def publish(number: int) -> None:
        first_day, last_day = months[number]
        of = [unit for mart in marts for unit in units(mart, coverage) if unit.first_day == first_day]
        rows = {
            mart: frame.filter(pl.col("period_start").is_between(first_day, last_day)) for mart, frame in whole.items()
        }
        stage(clean_lake, spec(f"b{number}", of, coverage), rows, tmp_path, commit_seq=number + 1)
        assert len(release.release(clean_lake, f"b{number}")) == len(marts)

    publish(0)
    done = threading.Event()
    seen: list[tuple[object, ...]] = []

    def read() -> None:
        query = ", ".join(
            f"(select count(*) from {mart}), "
            f"(select coalesce(sum({CONTRACTS[mart].measure.column}), 0)::bigint from {mart})"
            for mart in marts
        )
        with database.connect(clean_lake, "analyst", "bi", autocommit=True) as connection:
            while not done.is_set():
                row = connection.execute(f"select {query}, (select min(version) = max(version) from release_info)")
                seen.append(row.fetchone() or ())

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for number in (1, 2, 3):
            publish(number)
    finally:
        done.set()
        reader.join()
    assert set(seen) <= allowed
    assert len(set(seen)) > 1, "the reader saw a single release: it proved nothing"


def test_two_releases_at_once_make_one(clean_lake: Settings, analyst: psycopg.Connection, tmp_path: Path) -> None:
    wanted = frames(marts=("fines_by_day", "tows_by_month"))
    stage(clean_lake, spec(), wanted, tmp_path)
    results: list[list[release.Release]] = []
    threads = [threading.Thread(target=lambda: results.append(release.release(clean_lake, "b1"))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(len(result) for result in results) == [0, 0, 2]
    assert in_bi(analyst, CONTRACTS["fines_by_day"]).equals(wanted["fines_by_day"])


def test_a_bi_database_that_lost_its_tables_is_filled_again(
    clean_lake: Settings, analyst: psycopg.Connection, tmp_path: Path
) -> None:
    wanted = frames(marts=("fines_by_day", "tows_by_month"))
    stage(clean_lake, spec(), wanted, tmp_path)
    release.release(clean_lake, "b1")
    with database.connect(clean_lake, "admin", "bi") as connection:
        connection.execute("drop table marts.fines_by_day, marts.tows_by_month, marts.release_info")
    assert release.release_latest(clean_lake) == []
    for mart, frame in wanted.items():
        assert in_bi(analyst, CONTRACTS[mart]).equals(frame)


@pytest.mark.parametrize(
    "change",
    [
        ((), (Companion("share", "double"),)),
        ((Companion("share", "double"),), ()),
        ((Companion("share", "bigint"),), (Companion("share", "double"),)),
    ],
    ids=["more", "fewer", "other type"],
)
def test_a_mart_whose_columns_change_is_replaced_whole_or_held_back(
    clean_lake: Settings,
    analyst: psycopg.Connection,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    change: tuple[tuple[Companion, ...], tuple[Companion, ...]],
) -> None:
    before, after = change
    name = "fines_by_day"
    march, april = units(name)
    old = dataclasses.replace(CONTRACTS[name], companions=before)
    new = dataclasses.replace(CONTRACTS[name], companions=after, version=MAJOR)
    monkeypatch.setitem(CONTRACTS, name, old)  # type: ignore[arg-type]
    only = spec("b1", of=[march])
    first = make(old, reference(old, only), 1)
    stage(clean_lake, only, {name: first}, tmp_path, commit_seq=1)
    release.release(clean_lake, "b1")

    monkeypatch.setitem(CONTRACTS, name, new)  # type: ignore[arg-type]
    part = spec("b2", of=[april])
    stage(clean_lake, part, {name: make(new, reference(new, part), 2)}, tmp_path, commit_seq=2)
    assert release.release(clean_lake, "b2") == []
    with database.connect(clean_lake, "publisher", "lake") as connection:
        assert "correct these periods too" in (registry.marts(connection)[name].held_because or "")
    assert in_bi(analyst, old).equals(first)

    # Everything that was published is corrected: nothing is carried over.
    corrections.correct(clean_lake, name, march.first_day, "columns that changed")
    again = spec("b3", of=[march.model_copy(update={"edition": 2}), april])
    whole = make(new, reference(new, again), 3)
    stage(clean_lake, again, {name: whole}, tmp_path, commit_seq=3)
    (released,) = release.release(clean_lake, "b3")
    assert released.version == 2
    assert in_bi(analyst, new).equals(whole)
    assert in_iceberg(clean_lake, new).equals(whole)
    assert in_files(clean_lake, new, 2).equals(whole)
    columns = analyst.execute(
        "select column_name::text from information_schema.columns where table_name = %s order by ordinal_position",
        [name],
    )
    assert [column for (column,) in columns] == list(new.columns)
    assert catalog.open_catalog(clean_lake, "publisher").load_table(f"marts.{name}").schema().as_arrow().names == list(
        new.columns
    )


def test_a_release_file_that_was_changed_is_noticed(clean_lake: Settings, tmp_path: Path) -> None:
    stage(clean_lake, spec(), frames(marts=("fines_by_day",)), tmp_path)
    release.release(clean_lake, "b1")
    store = object_store.client(clean_lake, "publisher")
    with database.connect(clean_lake, "publisher", "lake") as connection:
        manifest = Manifest.model_validate(registry.newest_releases(connection)["fines_by_day"].manifest)
    object_store.put_bytes(store, "lake", manifest.parts[0].key, b"something else")
    with pytest.raises(files.FileChangedError, match="SHA-256"):
        files.read(store, manifest.parts[0])


def test_tables_and_columns_carry_the_descriptions_of_dbt_even_without_a_new_release(
    clean_lake: Settings, analyst: psycopg.Connection, tmp_path: Path
) -> None:
    def described() -> tuple[object, ...]:
        row = analyst.execute(
            """
            select obj_description('marts.fines_by_day'::regclass),
                (select count(*) from pg_attribute
                 where attrelid = 'marts.fines_by_day'::regclass and attnum > 0
                     and col_description(attrelid, attnum) = 'What ' || attname || ' is.')
            """
        )
        return row.fetchone() or ()

    columns = len(CONTRACTS["fines_by_day"].columns)
    stage(clean_lake, spec("b1"), frames(marts=("fines_by_day",)), tmp_path)
    release.release(clean_lake, "b1")
    assert described() == (f"A mart.\n\nContract {IN_FORCE}.", columns)
    stage(clean_lake, spec("b2"), frames(marts=("fines_by_day",)), tmp_path, commit_seq=2, description="Fines's days.")
    assert release.release(clean_lake, "b2") == []
    assert described() == (f"Fines's days.\n\nContract {IN_FORCE}.", columns)


SHOWN = CONTRACTS["fines_by_day"].measure
FEW = dataclasses.replace(SHOWN, threshold=1)
MORE = Companion("mean_delay", "double")


@pytest.mark.parametrize(
    ("changed", "version", "because"),
    [
        ({"measure": FEW}, MINOR, f"shown from is 1 instead of {SHOWN.threshold}: that needs at least version {MAJOR}"),
        ({"companions": (MORE,)}, IN_FORCE, f"column mean_delay is added: that needs at least version {MINOR}"),
        ({"measure": FEW}, MAJOR, None),
    ],
)
def test_what_readers_rely_on_changes_with_its_version_only(  # noqa: PLR0917
    clean_lake: Settings,
    analyst: psycopg.Connection,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    changed: dict[str, Any],
    version: str,
    because: str | None,
) -> None:
    name, other = "fines_by_day", "fines_by_month"
    (march, april), both = units(name), (name, other)
    stage(clean_lake, spec("b1", of=[march, *units(other)[:1]]), some(both, march), tmp_path)
    assert [each.version for each in release.release(clean_lake, "b1")] == [1, 1]
    contract = CONTRACTS[name]
    before = in_bi(analyst, contract)

    monkeypatch.setitem(CONTRACTS, name, dataclasses.replace(contract, **changed, version=version))
    stage(clean_lake, spec("b2", of=[april, *units(other)[1:]]), some(both, april), tmp_path, commit_seq=2)
    released = {each.mart for each in release.release(clean_lake, "b2")}
    assert released == ({other} if because else {name, other})
    held = report.held_back(clean_lake)
    comment = analyst.execute("select obj_description('marts.fines_by_day'::regclass)").fetchone() or ("",)
    if because:
        assert because in held[name]
        assert in_bi(analyst, contract).equals(before)
        version = IN_FORCE
    else:
        assert held == {}
    store = object_store.client(clean_lake, "analyst")
    manifest = object_store.get_json(store, "lake", f"releases/{name}/v{1 if because else 2}.json")
    assert manifest["contract"]["version"] == version
    assert comment[0].endswith(f"Contract {version}.")


def test_the_analyst_reads_marts_and_nothing_else(
    clean_lake: Settings, analyst: psycopg.Connection, tmp_path: Path
) -> None:
    stage(clean_lake, spec(), frames(marts=("fines_by_day",)), tmp_path)
    release.release(clean_lake, "b1")
    assert analyst.execute("select count(*) > 0 from marts.fines_by_day").fetchone() == (True,)
    for refused in (
        "insert into marts.fines_by_day select * from marts.fines_by_day",
        "delete from marts.fines_by_day",
        "update marts.release_info set version = 9",
        "drop table marts.fines_by_day",
        "create table marts.mine (x int)",
        "create schema mine",
    ):
        with pytest.raises(psycopg.Error) as error:
            analyst.execute(refused)
        assert error.value.sqlstate in {"42501", "25006"}, refused
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            analyst.execute(f"begin read write; {refused}")
        analyst.execute("rollback")
    with pytest.raises(psycopg.OperationalError, match="permission denied"):
        database.connect(clean_lake, "analyst", "lake")

    store = object_store.client(clean_lake, "analyst")
    assert list(object_store.list_keys(store, "lake", "releases/"))
    publisher = object_store.client(clean_lake, "publisher")
    candidate = next(iter(object_store.list_keys(publisher, "lake", "candidates/")))
    released = next(iter(object_store.list_keys(store, "lake", "releases/")))
    with pytest.raises(S3Error, match=DENIED):
        object_store.get_bytes(store, "lake", candidate)
    with pytest.raises(S3Error, match=DENIED):
        object_store.get_bytes(store, "lake", "conformed/verbalisations/data/part.parquet")
    with pytest.raises(S3Error, match=DENIED):
        store.remove_object("lake", released)
    with pytest.raises(S3Error, match=DENIED):
        object_store.put_bytes(store, "lake", released, b"")
