"""Iceberg tables through the catalog, read back by PyIceberg and by DuckDB, on each object store."""

from __future__ import annotations

import datetime as dt
import sys
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyiceberg.exceptions import NoSuchTableError, ValidationException
from pyiceberg.expressions import EqualTo, In
from pyiceberg.table import Table

from infra import catalog, compute, object_store
from infra.settings import Settings

pytestmark = pytest.mark.live

SCHEMA = pa.schema(
    [
        ("record_key", pa.binary()),
        ("occurred_at", pa.timestamp("us", "UTC")),
        ("people", pa.float64()),
        ("event_date", pa.date32()),
    ]
)
MARCH = [dt.date(2026, 3, day) for day in range(1, 5)]


def _rows(day: dt.date, count: int) -> pa.Table:
    moment = dt.datetime.combine(day, dt.time(5, 30), dt.UTC)
    return pa.table(
        {
            "record_key": [uuid.uuid4().bytes for _ in range(count)],
            "occurred_at": [moment] * count,
            "people": [1.5] * count,
            "event_date": [day] * count,
        },
        schema=SCHEMA,
    )


def _write(settings: Settings, table: Table, day: dt.date, count: int) -> str:
    path = f"{table.location()}/data/event_date={day}/{uuid.uuid4()}.parquet"
    pq.write_table(
        _rows(day, count), path.removeprefix("s3://"), filesystem=object_store.filesystem(settings, "pipeline")
    )
    return path


def _counts(settings: Settings, table: Table, role: str = "pipeline") -> dict[dt.date, int]:
    location = catalog.metadata_location(table)
    with compute.connect(settings, role) as connection:
        rows = connection.sql(f"select event_date, count(*) from iceberg_scan('{location}') group by all").fetchall()
    return dict(rows)


@pytest.fixture
def name(store: Settings) -> Iterator[str]:
    identifier = f"conformed.test_{uuid.uuid4().hex}"
    yield identifier
    opened = catalog.open_catalog(store, "pipeline")
    if opened.table_exists(identifier):
        opened.drop_table(identifier)


@pytest.fixture
def table(store: Settings, name: str) -> Table:
    return catalog.ensure_table(catalog.open_catalog(store, "pipeline"), name, SCHEMA, "event_date")


def test_ensure_table_twice_is_the_same_table(store: Settings, name: str, table: Table) -> None:
    again = catalog.ensure_table(catalog.open_catalog(store, "pipeline"), name, SCHEMA, "event_date")
    assert again.metadata.table_uuid == table.metadata.table_uuid
    assert table.location() == f"s3://lake/{name.replace('.', '/')}"
    assert [field.name for field in table.spec().fields] == ["event_date"]


def test_a_table_is_created_with_its_properties_at_once(store: Settings, name: str) -> None:
    opened = catalog.open_catalog(store, "pipeline")
    declared = {"commit.retry.num-retries": "0"}
    table = catalog.ensure_table(opened, name, SCHEMA, "event_date", declared)
    assert table.properties.items() > declared.items()
    assert table.properties["write.parquet.compression-codec"] == "zstd"
    assert table.metadata.metadata_log == []  # one commit, one metadata file


def test_namespaces_are_there_and_nothing_else(store: Settings) -> None:
    found = catalog.open_catalog(store, "publisher").list_namespaces()
    assert sorted(namespace for (namespace,) in found) == sorted(catalog.NAMESPACES)


def test_empty_table_reads_as_no_rows_of_the_right_types(store: Settings, table: Table) -> None:
    with compute.connect(store, "pipeline") as connection:
        relation = connection.sql(f"select * from iceberg_scan('{catalog.metadata_location(table)}')")
        assert relation.fetchall() == []
        assert dict(zip(relation.columns, map(str, relation.types), strict=True)) == {
            "record_key": "BLOB",
            "occurred_at": "TIMESTAMP WITH TIME ZONE",
            "people": "DOUBLE",
            "event_date": "DATE",
        }


def test_values_survive_the_way_through(store: Settings, table: Table) -> None:
    rows = _rows(MARCH[0], 3)
    table.append(rows)
    assert table.scan().to_arrow().sort_by("record_key") == rows.sort_by("record_key")
    with compute.connect(store, "publisher") as connection:
        back = connection.sql(
            f"select * from iceberg_scan('{catalog.metadata_location(table)}') order by record_key"
        ).fetchall()
    assert [row[0] for row in back] == sorted(rows["record_key"].to_pylist())
    assert back[0][1] == dt.datetime(2026, 3, 1, 5, 30, tzinfo=dt.UTC)


def test_days_are_replaced_and_added_in_one_commit(store: Settings, name: str, table: Table) -> None:
    with table.transaction() as transaction:
        transaction.add_files([_write(store, table, day, 10) for day in MARCH[:3]])
    before = catalog.metadata_location(table)
    with table.transaction() as transaction:
        transaction.delete(In("event_date", [MARCH[1].isoformat(), MARCH[2].isoformat()]))
        transaction.add_files(
            [_write(store, table, day, 4) for day in MARCH[1:4]], snapshot_properties={"calanque.delivery": "b"}
        )
    opened = catalog.open_catalog(store, "pipeline").load_table(name)
    assert _counts(store, opened) == dict(zip(MARCH, [10, 4, 4, 4], strict=True))
    # One step from the metadata before to the metadata after: no reader can have seen the state between.
    assert opened.metadata.metadata_log[-1].metadata_file == before
    snapshot = opened.current_snapshot()
    assert snapshot is not None
    assert snapshot.summary is not None
    assert snapshot.summary.additional_properties["calanque.delivery"] == "b"
    # Whole partitions go without any file being rewritten.
    assert {file["file_path"].split("event_date=")[1][:10] for file in opened.inspect.files().to_pylist()} == {
        day.isoformat() for day in MARCH
    }


def test_files_that_are_there_are_found_whatever_the_threads_do(store: Settings, table: Table) -> None:
    # One manifest a day, all looked at together: PyIceberg once reported files missing that were there.
    table.transaction().set_properties({"commit.manifest-merge.enabled": "false"}).commit_transaction()
    for day in MARCH:
        table.add_files([_write(store, table, day, 1)])
    snapshot = table.current_snapshot()
    assert snapshot is not None
    manifests = snapshot.manifests(table.io) * 1_000
    held = next(iter(table.scan(row_filter=EqualTo("event_date", MARCH[0].isoformat())).plan_files())).file
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with table.transaction() as transaction, catalog.overwrite(transaction, {}) as update:
            update.delete_data_file(held)
            update._build_delete_files_partition_predicate()
            with ThreadPoolExecutor(8) as pool:
                looked_at = list(pool.map(update._build_manifest_evaluator(table.spec().spec_id), manifests))
    finally:
        sys.setswitchinterval(interval)
    assert looked_at.count(True) == 1_000
    assert _counts(store, table) == dict.fromkeys(MARCH[1:], 1)


def test_a_commit_that_fails_leaves_nothing(store: Settings, name: str, table: Table) -> None:
    table.append(_rows(MARCH[0], 2))

    def half() -> None:
        with table.transaction() as transaction:
            transaction.delete(EqualTo("event_date", MARCH[0].isoformat()))
            raise InterruptedError

    with pytest.raises(InterruptedError):
        half()
    assert _counts(store, catalog.open_catalog(store, "pipeline").load_table(name)) == {MARCH[0]: 2}


@pytest.mark.filterwarnings("ignore:Delete operation did not match")
def test_two_writers_of_one_day_cannot_both_win(store: Settings, name: str, table: Table) -> None:
    opened = catalog.open_catalog(store, "pipeline")
    first, second = opened.load_table(name), opened.load_table(name)
    for writer, outcome in ((first, None), (second, ValidationException)):
        path = _write(store, table, MARCH[0], 1)

        def replace(writer: Table = writer, path: str = path) -> None:
            with writer.transaction() as transaction:
                transaction.delete(EqualTo("event_date", MARCH[0].isoformat()))
                transaction.add_files([path])

        if outcome is None:
            replace()
        else:
            with pytest.raises(outcome):
                replace()
    assert _counts(store, opened.load_table(name)) == {MARCH[0]: 1}


def test_a_file_of_two_days_is_refused_whole(store: Settings, name: str, table: Table) -> None:
    path = f"{table.location()}/data/{uuid.uuid4()}.parquet"
    both = pa.concat_tables([_rows(MARCH[0], 1), _rows(MARCH[1], 1)])
    pq.write_table(both, path.removeprefix("s3://"), filesystem=object_store.filesystem(store, "pipeline"))
    with pytest.raises(ValueError, match="more than one partition value"):
        table.add_files([path])
    assert _counts(store, catalog.open_catalog(store, "pipeline").load_table(name)) == {}


def test_a_literal_day_reads_that_day_only(store: Settings, table: Table) -> None:
    table.add_files([_write(store, table, day, 10) for day in MARCH])
    with compute.connect(store, "pipeline") as connection:
        [(_, plan)] = connection.sql(
            f"explain analyze select count(*) from iceberg_scan('{catalog.metadata_location(table)}') "
            "where event_date >= date '2026-03-02' and event_date < date '2026-03-03'"
        ).fetchall()
    assert "Total Files Read: 1" in plan


@pytest.mark.filterwarnings("ignore:Delete operation did not match")
def test_tags_come_with_their_data_and_stay_readable(store: Settings) -> None:
    opened = catalog.open_catalog(store, "publisher")
    name = f"marts.test_{uuid.uuid4().hex}"
    table = catalog.ensure_table(opened, name, SCHEMA, "event_date")
    try:
        for version in (1, 2):
            with table.transaction() as transaction:
                transaction.overwrite(
                    _rows(MARCH[0], version), overwrite_filter=EqualTo("event_date", MARCH[0].isoformat())
                )
                catalog.tag(transaction, f"v{version}")
        table = opened.load_table(name)
        assert table.refs()["v2"].snapshot_id == table.metadata.current_snapshot_id
        for version in (1, 2):
            snapshot_id = table.refs()[f"v{version}"].snapshot_id
            assert table.scan(snapshot_id=snapshot_id).to_arrow().num_rows == version
            with compute.connect(store, "analyst") as connection:
                assert connection.sql(
                    f"select count(*) from iceberg_scan('{catalog.metadata_location(table)}', "
                    f"snapshot_from_id => {snapshot_id})"
                ).fetchall() == [(version,)]
    finally:
        opened.drop_table(name)


def test_nothing_to_tag_is_said(table: Table) -> None:
    with pytest.raises(ValueError, match="no snapshot"):
        catalog.tag(table.transaction(), "v1")


def test_history_stays_short_and_tags_stay(
    store: Settings, name: str, table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalog, "KEPT_SNAPSHOTS", 3)
    monkeypatch.setattr(catalog, "TRIMMED_BEYOND", 6)
    with table.transaction() as transaction:
        transaction.append(_rows(MARCH[0], 1))
        catalog.tag(transaction, "kept")
    for _ in range(catalog.TRIMMED_BEYOND):
        with table.transaction() as transaction:
            transaction.append(_rows(MARCH[1], 1))
            catalog.trim_history(transaction)
    table = catalog.open_catalog(store, "pipeline").load_table(name)
    assert len(table.metadata.snapshots) == catalog.KEPT_SNAPSHOTS + 1
    assert table.scan(snapshot_id=table.refs()["kept"].snapshot_id).to_arrow().num_rows == 1
    assert _counts(store, table) == {MARCH[0]: 1, MARCH[1]: catalog.TRIMMED_BEYOND}


@pytest.mark.parametrize(("owner", "other"), [("pipeline", "publisher"), ("publisher", "pipeline")])
def test_each_role_commits_to_its_own_namespace_only(store: Settings, owner: str, other: str) -> None:
    namespace = {"pipeline": "conformed", "publisher": "marts"}[owner]
    name = f"{namespace}.test_{uuid.uuid4().hex}"
    with pytest.raises(Exception, match=r"row-level security|ACCESS_DENIED|AccessDenied"):
        catalog.ensure_table(catalog.open_catalog(store, other), name, SCHEMA)
    own = catalog.open_catalog(store, owner)
    table = catalog.ensure_table(own, name, SCHEMA)
    intruder = catalog.open_catalog(store, other)
    # Even with the files' own rights set aside, the catalog row is out of reach.
    with pytest.raises(NoSuchTableError):
        intruder.drop_table(name)
    with pytest.raises((NoSuchTableError, OSError)):
        intruder.rename_table(name, f"{name}_taken")
    assert own.load_table(name).metadata.table_uuid == table.metadata.table_uuid
    own.drop_table(name)


@pytest.mark.parametrize("role", ["steward", "analyst"])
def test_other_roles_do_not_see_the_catalog(store: Settings, role: str) -> None:
    with pytest.raises(Exception, match=r"permission denied|does not exist"):
        catalog.open_catalog(store, role).list_tables("conformed")
