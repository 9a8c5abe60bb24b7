"""Releases on a live store and database: whole or not at all, exactly once, one mart's failure its own."""

from __future__ import annotations

import dataclasses
import json
import threading
from datetime import date
from pathlib import Path

import polars as pl
import psycopg
import pytest
from minio.error import S3Error
from released import everything, in_bi, in_files, in_iceberg
from synthetic_marts import COVERAGE, Q1, Q2, make, reference, spec, stage

from infra import catalog, database, object_store, registry
from infra.build_spec import DayRange
from infra.settings import Settings
from publication import candidates, files, release
from publication.contracts import CONTRACTS, Companion
from publication.manifest import Manifest

pytestmark = pytest.mark.live
DENIED = r"AccessDenied|Access Denied"


def frames(seed: int = 0, of: object = None, marts: tuple[str, ...] = tuple(CONTRACTS)) -> dict[str, pl.DataFrame]:
    return {mart: make(CONTRACTS[mart], reference(CONTRACTS[mart], of), seed) for mart in marts}  # type: ignore[arg-type]


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
            COVERAGE.last_day,
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


def test_unchanged_content_makes_no_release_but_is_up_to_date_with_newer_commits(
    clean_lake: Settings, tmp_path: Path
) -> None:
    stage(clean_lake, spec("b1"), frames(), tmp_path, commit_seq=1)
    release.release(clean_lake, "b1")
    stage(clean_lake, spec("b2"), frames(), tmp_path, commit_seq=7)
    assert release.release(clean_lake, "b2") == []
    with database.connect(clean_lake, "publisher", "lake") as connection:
        assert {row.commit_seq for row in registry.marts(connection).values()} == {7}
        assert {row.version for row in registry.newest_releases(connection).values()} == {1}


def test_an_older_build_never_overtakes_a_newer_one(
    clean_lake: Settings, analyst: psycopg.Connection, tmp_path: Path
) -> None:
    newer = frames(seed=2)
    stage(clean_lake, spec("b2"), newer, tmp_path, commit_seq=2)
    release.release(clean_lake, "b2")
    stage(clean_lake, spec("b1"), frames(seed=1), tmp_path, commit_seq=1)
    assert release.release(clean_lake, "b1") == []
    assert in_bi(analyst, CONTRACTS["fines_by_day"]).equals(newer["fines_by_day"])


def test_a_quarter_is_replaced_and_the_others_are_carried_over(
    clean_lake: Settings, analyst: psycopg.Connection, tmp_path: Path
) -> None:
    contract = CONTRACTS["fines_by_day"]
    first = frames(1, marts=("fines_by_day",))
    stage(clean_lake, spec("b1"), first, tmp_path)
    release.release(clean_lake, "b1")
    longer = DayRange(first_day=COVERAGE.first_day, last_day=date(2026, 5, 31))
    only = spec("b2", quarters=(Q2,), coverage=longer)
    second = {"fines_by_day": make(contract, reference(contract, only), 2)}
    stage(clean_lake, only, second, tmp_path, commit_seq=2)
    (released,) = release.release(clean_lake, "b2")
    wanted = pl.concat([first["fines_by_day"].filter(pl.col("quarter_start") == Q1), second["fines_by_day"]])
    assert (released.version, released.rows, released.period_end) == (2, wanted.height, date(2026, 5, 31))
    assert in_bi(analyst, contract).equals(wanted)
    assert in_iceberg(clean_lake, contract).equals(wanted)
    assert in_files(clean_lake, contract, 2).equals(wanted)
    # The version before is still there, whole, in Iceberg and in its files.
    assert in_iceberg(clean_lake, contract, 1).equals(first["fines_by_day"])
    assert in_files(clean_lake, contract, 1).equals(first["fines_by_day"])


def test_a_mart_that_breaks_its_contract_keeps_its_last_release_and_stops_no_other(
    clean_lake: Settings, analyst: psycopg.Connection, tmp_path: Path
) -> None:
    before = frames(1)
    stage(clean_lake, spec("b1"), before, tmp_path, commit_seq=1)
    release.release(clean_lake, "b1")
    after = frames(2)
    after["fines_by_day"] = after["fines_by_day"].slice(1)
    stage(clean_lake, spec("b2"), after, tmp_path, commit_seq=2)
    released = release.release(clean_lake, "b2")
    assert {each.mart for each in released} == set(CONTRACTS) - {"fines_by_day"}
    assert in_bi(analyst, CONTRACTS["fines_by_day"]).equals(before["fines_by_day"])
    assert in_bi(analyst, CONTRACTS["tows_by_day"]).equals(after["tows_by_day"])
    receipt = object_store.get_json(
        object_store.client(clean_lake, "steward"), "receipts", "releases/fines_by_day/held-b2.json"
    )
    assert [each["rule"] for each in receipt["violations"]] == ["grid_complete"]
    with database.connect(clean_lake, "publisher", "lake") as connection:
        held = registry.marts(connection)["fines_by_day"]
    assert (held.commit_seq, held.held_build_id) == (1, "b2")
    assert "grid_complete" in (held.held_because or "")
    # Mended, it follows.
    stage(clean_lake, spec("b3"), frames(2), tmp_path, commit_seq=3)
    assert {each.mart for each in release.release(clean_lake, "b3")} == {"fines_by_day"}
    with database.connect(clean_lake, "publisher", "lake") as connection:
        assert registry.marts(connection)["fines_by_day"].held_because is None


def test_a_candidate_with_a_plate_is_held_back_without_naming_it(
    clean_lake: Settings, analyst: psycopg.Connection, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tainted = frames(marts=("fines_by_day", "tows_by_day"))
    tainted["tows_by_day"] = tainted["tows_by_day"].with_columns(area_name=pl.lit("AB-123-CD"))
    stage(clean_lake, spec(), tainted, tmp_path)
    assert [each.mart for each in release.release(clean_lake, "b1")] == ["fines_by_day"]
    assert "plate" in caplog.text
    assert "AB-123-CD" not in caplog.text
    assert analyst.execute("select to_regclass('marts.tows_by_day')").fetchone() == (None,)


def test_a_candidate_that_changed_after_its_build_is_held_back(clean_lake: Settings, tmp_path: Path) -> None:
    stage(clean_lake, spec(), frames(marts=("fines_by_day", "tows_by_day")), tmp_path)
    store = object_store.client(clean_lake, "publisher")
    other = object_store.get_bytes(store, "lake", candidates.key("b1", "tows_by_day"))
    object_store.put_bytes(store, "lake", candidates.key("b1", "fines_by_day"), other)
    assert [each.mart for each in release.release(clean_lake, "b1")] == ["tows_by_day"]


def test_a_build_that_does_not_exist_is_refused_with_a_remedy(clean_lake: Settings) -> None:
    with pytest.raises(candidates.UnknownBuildError, match="calanque run"):
        release.release(clean_lake, "nothing")


def test_a_reader_never_sees_half_a_release(clean_lake: Settings, tmp_path: Path) -> None:
    """One statement, many times, while releases go on: all marts are of one build, and complete."""
    marts = ("fines_by_day", "fines_by_month", "tows_by_day")
    versions = [frames(seed, marts=marts) for seed in range(4)]
    sums = [tuple(int(each[mart][CONTRACTS[mart].measure.column].sum()) for mart in marts) for each in versions]
    rows = tuple(each.height for each in versions[0].values())
    stage(clean_lake, spec("b0"), versions[0], tmp_path, commit_seq=1)
    release.release(clean_lake, "b0")
    done = threading.Event()
    seen: list[tuple[object, ...]] = []

    def read() -> None:
        query = ", ".join(
            f"(select count(*) from {mart}), (select sum({CONTRACTS[mart].measure.column})::bigint from {mart})"
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
            stage(clean_lake, spec(f"b{number}"), versions[number], tmp_path, commit_seq=number + 1)
            release.release(clean_lake, f"b{number}")
    finally:
        done.set()
        reader.join()
    allowed = {(rows[0], each[0], rows[1], each[1], rows[2], each[2], True) for each in sums}
    assert set(seen) <= allowed
    assert len(set(seen)) > 1, "the reader saw a single release: it proved nothing"


def test_two_releases_at_once_make_one(clean_lake: Settings, analyst: psycopg.Connection, tmp_path: Path) -> None:
    wanted = frames(marts=("fines_by_day", "tows_by_day"))
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
    wanted = frames(marts=("fines_by_day", "tows_by_day"))
    stage(clean_lake, spec(), wanted, tmp_path)
    release.release(clean_lake, "b1")
    with database.connect(clean_lake, "admin", "bi") as connection:
        connection.execute("drop table marts.fines_by_day, marts.tows_by_day, marts.release_info")
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
    old = dataclasses.replace(CONTRACTS[name], companions=before)
    new = dataclasses.replace(CONTRACTS[name], companions=after)
    monkeypatch.setitem(CONTRACTS, name, old)  # type: ignore[arg-type]
    first = make(old, reference(old), 1)
    stage(clean_lake, spec("b1"), {name: first}, tmp_path, commit_seq=1)
    release.release(clean_lake, "b1")

    monkeypatch.setitem(CONTRACTS, name, new)  # type: ignore[arg-type]
    part = spec("b2", quarters=(Q2,))
    stage(clean_lake, part, {name: make(new, reference(new, part), 2)}, tmp_path, commit_seq=2)
    assert release.release(clean_lake, "b2") == []
    with database.connect(clean_lake, "publisher", "lake") as connection:
        assert "columns_changed" in (registry.marts(connection)[name].held_because or "")
    assert in_bi(analyst, old).equals(first)

    whole = make(new, reference(new), 3)
    stage(clean_lake, spec("b3"), {name: whole}, tmp_path, commit_seq=3)
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
    document = object_store.get_json(store, "lake", "releases/fines_by_day/v1.json")
    for total in ("rows", "period_start", "period_end", "sha256"):
        document.pop(total)
    manifest = Manifest.model_validate_json(json.dumps(document))
    object_store.put_bytes(store, "lake", manifest.quarters[0].key, b"something else")
    with pytest.raises(files.FileChangedError, match="SHA-256"):
        files.read(store, manifest.quarters[0])


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
    assert described() == ("A mart.", columns)
    stage(clean_lake, spec("b2"), frames(marts=("fines_by_day",)), tmp_path, commit_seq=2, description="Fines's days.")
    assert release.release(clean_lake, "b2") == []
    assert described() == ("Fines's days.", columns)


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
