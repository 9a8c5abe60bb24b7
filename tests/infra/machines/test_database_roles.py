"""Who may do what in PostgreSQL, on the live server."""

from __future__ import annotations

import contextlib
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import psycopg
import pytest
from psycopg import errors, sql

from calanque.cli.commands import diagnosis
from infra import database, registry, secrets, transient
from infra.machines.provisioning import readers
from infra.machines.provisioning.postgres import provision_postgres
from infra.machines.services.lake import up
from infra.settings import Settings
from stewardship.watch.readers import end_long_reads

pytestmark = pytest.mark.live

# Whatever is not written here must be refused.
MAY_CONNECT = {
    "airflow": {"airflow"},
    "pipeline": {"lake"},
    "publisher": {"lake", "bi"},
    "retention": {"lake"},
    "steward": {"lake"},
    "analyst": {"bi"},
}
SCHEMA_USAGE = {
    "lake": {
        "registry": {"pipeline", "publisher", "retention", "steward"},
        "iceberg": {"pipeline", "publisher", "retention"},
        "ledger": {"publisher", "steward"},
    },
    "bi": {"marts": {"publisher", "analyst"}},
}
READERS = dict.fromkeys(("pipeline", "publisher", "retention", "steward"), "SELECT")
TABLE_PRIVILEGES = {
    "registry.delivery": {**READERS, "pipeline": "SELECT INSERT UPDATE"},  # and three columns for retention
    "registry.commit": {**READERS, "pipeline": "SELECT INSERT UPDATE DELETE"},  # days that are done again
    "registry.release": {**READERS, "publisher": "SELECT INSERT UPDATE"},
    "registry.mart": {**READERS, "publisher": "SELECT INSERT UPDATE"},
    "registry.unit": {**READERS, "publisher": "SELECT INSERT UPDATE DELETE"},
    "registry.key": {**READERS, "pipeline": "SELECT INSERT", "publisher": "SELECT INSERT"},
    "registry.clock": {**READERS, **dict.fromkeys(("pipeline", "publisher", "retention"), "SELECT INSERT UPDATE")},
    "registry.migration": READERS,
    "registry.alert": {**READERS, "pipeline": "SELECT INSERT UPDATE"},
    "registry.notice": {**READERS, "pipeline": "SELECT INSERT UPDATE"},
    "registry.contract": {**READERS, "pipeline": "SELECT INSERT", "publisher": "SELECT INSERT"},
    "registry.replay": {**READERS, "pipeline": "SELECT INSERT"},
    "registry.cover": {**READERS, "pipeline": "SELECT INSERT", "publisher": "SELECT INSERT"},
    "registry.go_ahead": {**READERS, "publisher": "SELECT INSERT"},
    "registry.approval": {**READERS, "publisher": "SELECT INSERT"},
    "registry.restoration": {**READERS, "publisher": "SELECT UPDATE"},
    "registry.dag_run": {**READERS, "publisher": "SELECT INSERT UPDATE", "retention": "SELECT DELETE"},
    "ledger.line": {"publisher": "SELECT INSERT", "steward": "SELECT"},
    "iceberg.iceberg_tables": {
        "pipeline": "SELECT INSERT UPDATE DELETE",
        "publisher": "SELECT INSERT UPDATE DELETE",  # row security decides which rows: see test_catalog
        "retention": "SELECT UPDATE",
    },
    "iceberg.iceberg_namespace_properties": {"pipeline": "SELECT", "publisher": "SELECT", "retention": "SELECT"},
}
PRIVILEGES = ("SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER", "MAINTAIN")


@pytest.fixture
def marts_table(lake: Settings) -> Iterator[str]:
    """A table that the publisher has put in ``bi.marts``, as a release does, without granting anything itself."""
    name = f"test_{uuid.uuid4().hex}"
    with database.connect(lake, "publisher", "bi") as connection:
        connection.execute(sql.SQL("create table marts.{} as select 1 as n").format(sql.Identifier(name)))
    yield name
    with database.connect(lake, "publisher", "bi") as connection:
        connection.execute(sql.SQL("drop table marts.{}").format(sql.Identifier(name)))


@pytest.mark.parametrize("name", ["postgres", "template1", *database.DATABASES])
@pytest.mark.parametrize("role", database.ROLES)
def test_each_role_enters_its_own_databases_only(lake: Settings, role: str, name: str) -> None:
    if name in MAY_CONNECT[role]:
        with database.connect(lake, role, name) as connection:
            assert connection.execute("select current_user, current_database()").fetchone() == (role, name)
    else:
        with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
            database.connect(lake, role, name)


@pytest.mark.parametrize("role", database.ROLES)
def test_the_password_is_asked_for(lake: Settings, role: str) -> None:
    [name, *_] = MAY_CONNECT[role]
    right = database.uri(lake, role, name)
    for password in ("", "wrong", role):
        wrong = right.replace(secrets.read(lake, f"pg-{role}"), password)
        with pytest.raises(psycopg.OperationalError, match=r"password|no password supplied"):
            psycopg.connect(wrong, passfile="/dev/null")


def test_passwords_are_stored_as_scram_verifiers(lake: Settings) -> None:
    with database.connect(lake, "admin", "postgres") as connection:
        rows = connection.execute(
            "select rolname, rolpassword from pg_authid where rolname = any(%s)", [list(database.ROLES)]
        ).fetchall()
    assert {name for name, _ in rows} == set(database.ROLES)
    assert all(verifier.startswith("SCRAM-SHA-256$") for _, verifier in rows)


def test_no_role_has_attributes_or_memberships(lake: Settings) -> None:
    with database.connect(lake, "admin", "postgres") as connection:
        rows = connection.execute(
            """
            select rolname from pg_roles
            where rolname = any(%s)
              and (rolsuper or rolcreaterole or rolcreatedb or rolreplication or rolbypassrls)
            """,
            [list(database.ROLES)],
        ).fetchall()
        members = connection.execute(
            "select member::regrole::text, roleid::regrole::text from pg_auth_members "
            "where member::regrole::text = any(%s)",
            [list(database.ROLES)],
        ).fetchall()
    assert rows == []
    # Connections are kept for those by which the lake works.
    assert dict(members) == dict.fromkeys(
        ("airflow", "pipeline", "publisher", "retention"), "pg_use_reserved_connections"
    )


@pytest.mark.parametrize("name", SCHEMA_USAGE)
def test_schemas(lake: Settings, name: str) -> None:
    with database.connect(lake, "admin", name) as connection:
        found = {
            schema: {
                role
                for role in database.ROLES
                if connection.execute("select has_schema_privilege(%s, %s, 'usage')", [role, schema]).fetchone()
                == (True,)
            }
            for schema in SCHEMA_USAGE[name]
        }
        creators = {
            (role, schema)
            for role in database.ROLES
            for (schema,) in connection.execute("select nspname from pg_namespace").fetchall()
            if connection.execute("select has_schema_privilege(%s, %s, 'create')", [role, schema]).fetchone() == (True,)
        }
    assert found == SCHEMA_USAGE[name]
    assert creators == ({("publisher", "marts")} if name == "bi" else set())


def test_retention_changes_what_became_of_a_delivery_and_nothing_else_of_it(lake: Settings) -> None:
    with database.connect(lake, "admin", "lake") as connection:
        rows = connection.execute(
            """
            select column_name from information_schema.columns
            where table_schema = 'registry' and table_name = 'delivery'
              and has_column_privilege('retention', 'registry.delivery', column_name, 'update')
            """
        ).fetchall()
    assert {column for (column,) in rows} == {"status", "reason", "settled_at"}


def test_retention_moves_conformed_tables_only(lake: Settings) -> None:
    with database.connect(lake, "admin", "lake") as connection:
        for namespace in ("conformed", "marts"):
            connection.execute(
                "insert into iceberg.iceberg_tables (catalog_name, table_namespace, table_name) values (%s, %s, %s)",
                ["test", namespace, "t"],
            )
        connection.execute("set local role retention")
        moved = connection.execute(
            "update iceberg.iceberg_tables set metadata_location = 'x' where catalog_name = 'test' "
            "returning table_namespace"
        ).fetchall()
        connection.rollback()
    assert moved == [("conformed",)]


@pytest.mark.parametrize("table", TABLE_PRIVILEGES)
@pytest.mark.parametrize("role", database.ROLES)
def test_tables_of_the_lake(lake: Settings, role: str, table: str) -> None:
    with database.connect(lake, "admin", "lake") as connection:
        found = [
            privilege
            for privilege in PRIVILEGES
            if connection.execute("select has_table_privilege(%s, %s, %s)", [role, table, privilege]).fetchone()
            == (True,)
        ]
    assert found == TABLE_PRIVILEGES[table].get(role, "").split()


def test_every_table_of_the_lake_is_in_the_matrix(lake: Settings) -> None:
    with database.connect(lake, "admin", "lake") as connection:
        rows = connection.execute(
            "select schemaname || '.' || tablename from pg_tables where schemaname in ('registry', 'iceberg', 'ledger')"
        ).fetchall()
    assert {table for (table,) in rows} == set(TABLE_PRIVILEGES)


def test_analyst_reads_what_the_publisher_publishes(lake: Settings, marts_table: str) -> None:
    with database.connect(lake, "analyst", "bi") as connection:
        # Found without naming the schema, which is what a BI tool does.
        assert connection.execute(f"select n from {marts_table}").fetchone() == (1,)


@pytest.mark.parametrize(
    "statement",
    [
        "insert into marts.{} values (2)",
        "update marts.{} set n = 2",
        "delete from marts.{}",
        "truncate marts.{}",
        "drop table marts.{}",
        "alter table marts.{} add column m int",
        "create table marts.mine as select * from marts.{}",
        "create schema mine",
        "create table public.mine (n int)",
        "create temporary table mine (n int)",
        "copy marts.{} to program 'cat'",
        "select pg_read_file('postgresql.conf')",
        "set role publisher",
        "alter role analyst superuser",
        "create extension dblink",
        "select rolpassword from pg_authid",
        "select lo_create(0)",
        "select lo_from_bytea(0, 'x')",
        "select lo_put(1, 0, 'x')",
        "select pg_advisory_lock(1)",
        "select pg_try_advisory_xact_lock_shared(1, 2)",
        "select pg_logical_emit_message(false, 'a', 'b')",
        "set temp_file_limit = -1",
        "alter role analyst set temp_file_limit = -1",
    ],
)
def test_analyst_changes_nothing(lake: Settings, marts_table: str, statement: str) -> None:
    with database.connect(lake, "analyst", "bi", autocommit=True) as connection:
        with pytest.raises((errors.ReadOnlySqlTransaction, errors.InsufficientPrivilege)):
            connection.execute(statement.format(marts_table))
        # Read only is a courtesy that the session may switch off; the missing rights are the wall.
        connection.execute("set default_transaction_read_only = off")
        with pytest.raises(errors.InsufficientPrivilege):
            connection.execute(statement.format(marts_table))
        assert connection.execute(f"select n from marts.{marts_table}").fetchall() == [(1,)]


@pytest.mark.parametrize(
    "counters",
    [
        "select tup_inserted from pg_stat_database",
        "select n_dead_tup from pg_stat_user_tables",
        "select pg_stat_get_db_tuples_inserted(oid) from pg_database",
        "select pg_current_wal_lsn()",
        "select wal_bytes from pg_stat_wal",
    ],
)
def test_analyst_cannot_count_what_the_server_does(lake: Settings, counters: str) -> None:
    """A row that came late is a line more in the registry, which the statistics of the whole server would tell."""
    with database.connect(lake, "analyst", "bi") as connection, pytest.raises(errors.InsufficientPrivilege):
        connection.execute(counters)


def test_steward_reads_the_registry_and_nothing_else(lake: Settings) -> None:
    with database.connect(lake, "steward", "lake", autocommit=True) as connection:
        connection.execute("select count(*) from registry.delivery")
        for statement in ("select count(*) from iceberg.iceberg_tables", "delete from registry.delivery"):
            with pytest.raises((errors.InsufficientPrivilege, errors.ReadOnlySqlTransaction)):
                connection.execute(statement)


def test_publisher_swaps_the_whole_schema_in_one_transaction(lake: Settings) -> None:
    scratch = f"next_{uuid.uuid4().hex}"
    with database.connect(lake, "publisher", "bi") as connection:
        connection.execute(f"create schema {scratch}")
        connection.execute(f"create table {scratch}.t as select 1 as n")
        connection.execute(f"alter schema marts rename to {scratch}_old")
        connection.execute(f"alter schema {scratch} rename to marts")
        assert connection.execute("select n from marts.t").fetchone() == (1,)
        connection.rollback()


def test_registry_functions_work_for_the_roles_that_use_them(lake: Settings) -> None:
    silo = f"test_{uuid.uuid4().hex}"
    with database.connect(lake, "pipeline", "lake") as connection:
        connection.execute(
            "insert into registry.delivery (silo, delivery_id, object_key, file_name, bytes, status) "
            "values (%s, 'x', 'k', 'f', 1, 'landed')",
            [silo],
        )
        connection.execute(
            "insert into registry.commit (silo, dataset, delivery_id, days) values (%s, 'd', %s, '{}')", [silo, silo]
        )
        connection.rollback()
    assert "registry.delivery" in registry.SCHEMA


def test_uri_escapes_what_it_must(lake: Settings, tmp_path_factory: pytest.TempPathFactory) -> None:
    odd = Settings(home=lake.home, secrets=tmp_path_factory.mktemp("secrets"))
    secrets.write(odd, "pg-analyst", "a/b@c:d?e#f%g")
    parsed = psycopg.conninfo.conninfo_to_dict(database.uri(odd, "analyst", "bi"))
    assert parsed["password"] == "a/b@c:d?e#f%g"
    assert (parsed["user"], parsed["dbname"]) == ("analyst", "bi")


def test_unknown_role_is_named_in_the_refusal(lake: Settings) -> None:
    with pytest.raises(ValueError, match="no role 'nobody'"):
        database.connect(lake, "nobody", "bi")


@pytest.mark.parametrize(("role", "name"), [("analyst", "bi"), ("steward", "lake")])
def test_readers_have_a_number_of_connections_and_the_lake_its_own(lake: Settings, role: str, name: str) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(readers.CONNECTIONS):
            stack.enter_context(database.connect(lake, role, name))
        with pytest.raises(psycopg.OperationalError, match="too many connections for role") as refused:
            database.connect(lake, role, name)
        assert transient.explained(refused.value) == (
            "the database has no connection left for this: `calanque doctor` shows who holds them"
        )
        for other in ("pipeline", "publisher", "retention"):
            stack.enter_context(database.connect(lake, other, "lake"))
        found = [finding for finding in diagnosis.connections(lake) if finding.verdict == "fail"]
        assert [f"role {role} holds all" in finding.detail for finding in found] == [True]
    assert [finding.verdict for finding in diagnosis.connections(lake)] == ["ok"]


def test_connections_are_kept_for_the_roles_of_the_lake(lake: Settings) -> None:
    with database.connect(lake, "admin", "postgres") as connection:
        [(most, kept)] = connection.execute(
            "select current_setting('max_connections')::int, current_setting('reserved_connections')::int"
        ).fetchall()
    assert kept >= 40
    assert most - kept >= 2 * readers.CONNECTIONS


@pytest.mark.parametrize(("role", "name"), [("analyst", "bi"), ("steward", "lake")])
def test_sessions_of_readers_begin_with_limits_again_whatever_they_changed(
    lake: Settings, role: str, name: str
) -> None:
    with database.connect(lake, role, name, autocommit=True) as connection:
        connection.execute("set default_transaction_read_only = off")
        connection.execute(f"alter role {role} set statement_timeout = 0")
        connection.execute(f"alter role {role} in database {name} set idle_in_transaction_session_timeout = 0")
    told = [(found.verdict, found.detail) for found in diagnosis.readers(lake) if role in found.detail]
    assert told == [("warn", f"sessions of role {role} begin without their limits")]
    provision_postgres(lake)
    assert {found.verdict for found in diagnosis.readers(lake)} == {"ok"}
    with database.connect(lake, role, name) as connection:
        found = {
            setting: connection.execute(f"show {setting}").fetchone()
            for setting in ("statement_timeout", "idle_in_transaction_session_timeout", "temp_file_limit")
        }
    assert found == {
        "statement_timeout": ("15min",),
        "idle_in_transaction_session_timeout": ("5min",),
        "temp_file_limit": ("512MB",),
    }


def test_a_reader_who_changes_its_password_locks_nobody_out_for_longer_than_until_the_next_up(lake: Settings) -> None:
    with database.connect(lake, "analyst", "bi", autocommit=True) as connection:
        connection.execute("set default_transaction_read_only = off")
        connection.execute("alter role analyst password 'mine'")
    told = [found.detail for found in diagnosis.readers(lake) if found.verdict == "fail"]
    assert told == ["the password of role analyst is not that of its secret pg-analyst: nobody gets in as it"]
    up(lake, airflow=False)
    assert {found.verdict for found in diagnosis.readers(lake)} == {"ok"}


@pytest.mark.parametrize(
    "statement",
    [
        "select pg_sleep(600)",
        "do $$ begin loop perform pg_sleep(0.01); commit; end loop; end $$",
        None,  # a transaction that is left open
    ],
)
def test_what_a_reader_runs_for_ever_is_ended(lake: Settings, statement: str | None) -> None:
    with (
        ThreadPoolExecutor(1) as beside,
        database.connect(lake, "analyst", "bi", autocommit=True) as analyst,
        database.connect(lake, "pipeline", "lake") as pipeline,
        database.connect(lake, "admin", "postgres") as other,
    ):
        analyst.execute("set statement_timeout = 0")
        analyst.execute("set idle_in_transaction_session_timeout = 0")
        other.execute("select 1")  # a transaction that is no reader's
        if statement is None:
            analyst.execute("begin")
            left = None
        else:
            left = beside.submit(analyst.execute, statement)
        assert end_long_reads(pipeline, timedelta(hours=1)) == []
        deadline = time.monotonic() + 60
        while not (ended := end_long_reads(pipeline, timedelta(seconds=0))):
            assert time.monotonic() < deadline
        assert "role analyst was ended" in ended[0]
        with pytest.raises(psycopg.OperationalError):
            left.result() if left else analyst.execute("select 1")
        other.execute("select 1")


def test_nobody_else_may_end_what_others_do(lake: Settings) -> None:
    for role in ("publisher", "retention", "steward"):
        with database.connect(lake, role, "lake") as connection, pytest.raises(errors.InsufficientPrivilege):
            connection.execute("select * from registry.end_long_reads('0')")
