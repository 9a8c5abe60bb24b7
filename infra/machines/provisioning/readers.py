"""What people who read the database may take of it, so that none of them can stop the lake.

Most settings only say how a session begins, and it may change them: how many connections there are, how much goes to
temporary files, and which functions may be called is held by the server; how long anything lasts by
:func:`stewardship.watch.readers.end_long_reads`.
"""

from __future__ import annotations

import psycopg
from psycopg import sql

from infra import database

READERS = ("analyst", "steward")
CONNECTIONS = 20

_OTHERS = ("airflow", "pipeline", "publisher", "retention")
_BEGIN_WITH = {
    "default_transaction_read_only": "on",
    "statement_timeout": "15min",
    "idle_in_transaction_session_timeout": "5min",
}
_HELD = {"temp_file_limit": "512MB"}  # of each session; only a superuser may set it

# Run in each database: what a catalog function may be called by is a matter of its own there. Large objects fill the
# disk, whatever the rights on tables; an advisory lock of a reader would keep the lake waiting; a logical message is
# written to the log of transactions.
_CLOSE_FUNCTIONS = """
do $$
declare
    called regprocedure;
begin
    for called in
        select oid from pg_proc
        where pronamespace = 'pg_catalog'::regnamespace
          and proname ~ '^(lo_.*|loread|lowrite|pg_(try_)?advisory_.*|pg_logical_emit_message)$'
    loop
        execute format('revoke execute on function %s from public', called);
        if called::text like 'pg_%advisory_%' then
            execute format('grant execute on function %s to pipeline, publisher, retention', called);
        end if;
    end loop;
end
$$;
"""

# For the role that watches, which has no right to end what others do.
_END_LONG_READS = """
create or replace function registry.end_long_reads(longest interval) returns table (role text, seconds bigint)
language sql security definer set search_path = pg_catalog, pg_temp as $$
    with lasting as materialized (
        select pid, usename::text as role, extract(epoch from now() - least(xact_start, query_start))::bigint as seconds
        from pg_stat_activity
        where usename in ('analyst', 'steward') and state <> 'idle' and least(xact_start, query_start) < now() - longest
    )
    select role, seconds from lasting where pg_terminate_backend(pid)
$$;
revoke execute on function registry.end_long_reads from public;
grant execute on function registry.end_long_reads to pipeline;
"""


def limit(server: psycopg.Connection, *, superuser: bool) -> None:
    """Give each reader its limits anew, whatever it changed for itself."""
    settings = _BEGIN_WITH | (_HELD if superuser else {})
    for role in map(sql.Identifier, READERS):
        server.execute(sql.SQL("alter role {} connection limit {}").format(role, sql.Literal(CONNECTIONS)))
        server.execute(sql.SQL("alter role {} reset all").format(role))
        for changed in map(sql.Identifier, database.DATABASES):
            server.execute(sql.SQL("alter role {} in database {} reset all").format(role, changed))
        for name, value in settings.items():
            server.execute(sql.SQL("alter role {} set {} = {}").format(role, sql.Identifier(name), sql.Literal(value)))
    if superuser:
        others = sql.SQL(", ").join(map(sql.Identifier, _OTHERS))
        server.execute(sql.SQL("grant pg_use_reserved_connections to {}").format(others))


def changed(server: psycopg.Connection) -> list[str]:
    """The readers whose sessions do not begin with the limits that they were given."""
    found = server.execute(
        """
        select rolname, coalesce(setconfig, '{}')
        from pg_roles left join pg_db_role_setting on setrole = pg_roles.oid and setdatabase = 0
        where rolname = any(%s) order by rolname
        """,
        [list(READERS)],
    )
    given = {f"{name}={value}" for name, value in _BEGIN_WITH.items()}
    return [role for role, begins_with in found if not given <= set(begins_with)]


def close_functions(connection: psycopg.Connection, *, superuser: bool) -> None:
    """Take from readers the functions of the server by which they would change or hold anything."""
    if superuser:  # they are the superuser's to close
        connection.execute(_CLOSE_FUNCTIONS)


def let_long_reads_end(lake: psycopg.Connection, *, superuser: bool) -> None:
    """Have role ``pipeline`` end what readers leave running, and nothing else."""
    if not superuser:
        lake.execute("grant analyst, steward to current_user")  # whoever owns the function ends it
    lake.execute(_END_LONG_READS)
