"""PostgreSQL roles, databases, schemas and grants, and the Iceberg catalog's tables and namespaces."""

from __future__ import annotations

import psycopg
from psycopg import sql

from infra import catalog, database, locks, registry, secrets
from infra.calendar.clock import ClockDoubtedError
from infra.machines.provisioning import readers
from infra.registry import ledger_schema, migrations
from infra.settings import Settings

_LOCK = "provisioning"  # one at a time on a server

_CATALOG_TABLES = """
create schema if not exists iceberg;

create table if not exists iceberg.iceberg_tables (
    catalog_name               varchar(255) not null,
    table_namespace            varchar(255) not null,
    table_name                 varchar(255) not null,
    metadata_location          varchar(1000),
    previous_metadata_location varchar(1000),
    iceberg_type               varchar(5),
    primary key (catalog_name, table_namespace, table_name)
);

create table if not exists iceberg.iceberg_namespace_properties (
    catalog_name   varchar(255)  not null,
    namespace      varchar(255)  not null,
    property_key   varchar(255)  not null,
    property_value varchar(1000) not null,
    primary key (catalog_name, namespace, property_key)
);
"""

# Who commits to which namespace is the database's business too, not only the object store's: row by row.
_CATALOG_GRANTS = """
grant usage on schema iceberg to pipeline, publisher, retention;
grant select on all tables in schema iceberg to pipeline, publisher, retention;
grant insert, update, delete on iceberg.iceberg_tables to pipeline, publisher;
grant update on iceberg.iceberg_tables to retention;
alter table iceberg.iceberg_tables enable row level security;
drop policy if exists everyone_reads on iceberg.iceberg_tables;
create policy everyone_reads on iceberg.iceberg_tables for select using (true);
drop policy if exists pipeline_conforms on iceberg.iceberg_tables;
create policy pipeline_conforms on iceberg.iceberg_tables to pipeline using (table_namespace = 'conformed');
drop policy if exists publisher_publishes on iceberg.iceberg_tables;
create policy publisher_publishes on iceberg.iceberg_tables to publisher using (table_namespace = 'marts');
drop policy if exists retention_forgets on iceberg.iceberg_tables;
create policy retention_forgets on iceberg.iceberg_tables for update to retention using (table_namespace = 'conformed');
"""

_REGISTRY_GRANTS = """
grant usage on schema registry to pipeline, publisher, retention, steward;
grant select on all tables in schema registry to pipeline, publisher, retention, steward;
grant insert, update on registry.delivery, registry.commit to pipeline;
grant insert on registry.key to pipeline, publisher;
grant insert, update on registry.clock to pipeline, publisher, retention;
grant delete on registry.commit to pipeline;
grant update (status, reason, settled_at) on registry.delivery to retention;
grant insert, update on registry.release, registry.mart, registry.unit to publisher;
grant delete on registry.unit to publisher;
grant insert, update on registry.alert, registry.notice to pipeline;
grant insert on registry.contract to pipeline, publisher;
grant insert on registry.replay to pipeline;
grant insert on registry.cover to pipeline, publisher;
grant insert on registry.go_ahead to publisher;
grant insert on registry.approval to publisher;
grant update on registry.restoration to publisher;
grant insert, update on registry.dag_run to publisher;
grant delete on registry.dag_run to retention;
"""

_LEDGER_GRANTS = """
grant usage on schema ledger to publisher, steward;
grant select on ledger.line to publisher, steward;
grant insert on ledger.line to publisher;
"""

# Publisher may make schemas in ``bi``, so that it can swap ``marts`` whole; whoever reads it needs its word each time.
_BI_GRANTS = """
create schema if not exists marts authorization publisher;
grant create on database bi to publisher;
grant usage on schema marts to analyst;
alter default privileges for role publisher in schema marts grant select on tables to analyst;
alter role analyst in database bi set search_path = marts;
"""

# The server's statistics count what every database does, the rows of the registry too; only a superuser may close them.
_NO_STATISTICS = """
do $$
declare counter regprocedure;
begin
    for counter in
        select oid from pg_proc
        where pronamespace = 'pg_catalog'::regnamespace and (proname ~ '^pg_stat_get_' or proname ~ '^pg_current_wal_')
    loop
        execute format('revoke execute on function %s from public', counter);
    end loop;
end $$;
"""


# Attributes that no role of ours has, by their column in pg_roles.
_EXCESS = {
    "rolsuper": "nosuperuser",
    "rolcreatedb": "nocreatedb",
    "rolcreaterole": "nocreaterole",
    "rolreplication": "noreplication",
    "rolbypassrls": "nobypassrls",
}
_MAY_ENTER = {
    "airflow": ("airflow",),
    "lake": ("pipeline", "publisher", "retention", "steward"),
    "bi": ("publisher", "analyst"),
}


def provision_postgres(settings: Settings) -> None:
    """Create or repair roles, databases, schemas and grants. Existing data is left alone.

    The administrator of an external server needs the right to create roles and databases, not to be a superuser.
    """
    with database.connect(settings, database.ADMIN, "postgres", autocommit=True) as server:
        locks.take(server, _LOCK, until="released")
        for role in database.ROLES:
            _ensure_role(server, role, secrets.read(settings, f"pg-{role}"))
        superuser = server.pgconn.parameter_status(b"is_superuser") == b"on"
        if not superuser:
            server.execute("grant airflow, publisher to current_user")  # to give them what they shall own
        for name in database.DATABASES:
            _ensure_database(server, name)
            _open_only_to(server, name, _MAY_ENTER[name])
        readers.limit(server, superuser=superuser)
        if superuser:  # the only role of people in database lake: infra.machines.access_log reads what it asks
            server.execute("alter role steward set log_statement = 'all'")
        server.execute("alter database airflow owner to airflow")
        if settings.postgres == "embedded":  # on a server that others use too, these are not ours to close
            for name in ("postgres", "template1"):
                _open_only_to(server, name, ())

        with database.connect(settings, database.ADMIN, "lake") as lake:
            _make_drill(settings, lake)
            lake.execute(registry.SCHEMA)
            migrations.migrate(lake)
            lake.execute(_REGISTRY_GRANTS)
            lake.execute(ledger_schema.SCHEMA)
            lake.execute(_LEDGER_GRANTS)
            lake.execute(_CATALOG_TABLES)
            lake.execute(_CATALOG_GRANTS)
            _ensure_namespaces(lake)
            readers.close_functions(lake, superuser=superuser)
            readers.let_long_reads_end(lake, superuser=superuser)
        with database.connect(settings, database.ADMIN, "bi") as bi:
            bi.execute(_BI_GRANTS)
            readers.close_functions(bi, superuser=superuser)
            if superuser:
                bi.execute(_NO_STATISTICS)


def _make_drill(settings: Settings, lake: psycopg.Connection) -> None:
    """Mark a lake that is about to be made as a drill, when it is to be one.

    Raises:
        ClockDoubtedError: it is there already, and was made as none.
    """
    if not settings.drill or settings.drill_mark.exists():
        return
    if lake.execute("select to_regclass('registry.delivery')").fetchone() != (None,):
        raise ClockDoubtedError(
            "CALANQUE_DRILL is set, but this lake was made without it, and none ever becomes a drill: unset it, or "
            "choose a new CALANQUE_HOME"
        )
    settings.drill_mark.touch(0o600)


def _ensure_role(server: psycopg.Connection, role: str, password: str) -> None:
    """Create the role or bring it back to what it should be: it logs in with ``password`` and has no attribute."""
    found = sql.SQL("select {} from pg_roles where rolname = {}").format(
        sql.SQL(", ").join(map(sql.Identifier, _EXCESS)), sql.Literal(role)
    )
    has = server.execute(found).fetchone()
    if has is None:
        server.execute(sql.SQL("create role {}").format(sql.Identifier(role)))
        has = (False,) * len(_EXCESS)
    # Only what is wrong is named: an administrator who is not a superuser may not even take away what is not there.
    excess = [option for option, present in zip(_EXCESS.values(), has, strict=True) if present]
    # Hashed here, so that the password itself is never in a statement that the server may log.
    verifier = server.pgconn.encrypt_password(password.encode(), role.encode(), b"scram-sha-256").decode()
    server.execute(
        sql.SQL("alter role {} login {} password {}").format(
            sql.Identifier(role), sql.SQL(" ").join(map(sql.SQL, excess)), sql.Literal(verifier)
        )
    )


def _ensure_database(server: psycopg.Connection, name: str) -> None:
    if server.execute("select from pg_database where datname = %s", [name]).fetchone() is None:
        server.execute(sql.SQL("create database {} template template0 encoding 'UTF8'").format(sql.Identifier(name)))


def _open_only_to(server: psycopg.Connection, name: str, roles: tuple[str, ...]) -> None:
    """Let ``roles`` connect to a database; take every right on it from everyone else, temporary tables included."""
    database_name = sql.Identifier(name)
    others = [role for role in database.ROLES if role not in roles]
    server.execute(
        sql.SQL("revoke all on database {} from {}").format(
            database_name, sql.SQL(", ").join([sql.SQL("public"), *map(sql.Identifier, others)])
        )
    )
    for role in roles:
        server.execute(sql.SQL("grant connect on database {} to {}").format(database_name, sql.Identifier(role)))


def _ensure_namespaces(lake: psycopg.Connection) -> None:
    for namespace in catalog.NAMESPACES:
        lake.execute(
            """
            insert into iceberg.iceberg_namespace_properties (catalog_name, namespace, property_key, property_value)
            values (%s, %s, 'location', %s)
            on conflict do nothing
            """,
            [catalog.NAME, namespace, f"{catalog.WAREHOUSE}/{namespace}"],
        )
