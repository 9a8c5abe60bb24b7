"""PostgreSQL: the databases, the roles, and how to connect as one of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Literal
from urllib.parse import quote

import psycopg

from infra import endpoints, locks, secrets
from infra.settings import Settings

DATABASES = ("airflow", "lake", "bi")
ROLES = ("airflow", "pipeline", "publisher", "retention", "steward", "analyst")
ADMIN = "admin"
ADMIN_USER = "calanque_admin"

CONNECT_SECONDS = 10

Driver = Literal["postgresql", "postgresql+psycopg", "postgresql+psycopg2", "postgresql+asyncpg"]


# How long a statement waits for a table that another session keeps.
_lock_seconds: ContextVar[int] = ContextVar("calanque_lock_seconds", default=600)


@contextmanager
def waiting_at_most(seconds: int) -> Iterator[None]:
    """Have statements of connections that are opened inside wait so long for a table, and no longer."""
    token = _lock_seconds.set(seconds)
    try:
        yield
    finally:
        _lock_seconds.reset(token)


def user(role: str) -> str:
    """The PostgreSQL user name of a role.

    Raises:
        ValueError: no such role.
    """
    if role == ADMIN:
        return ADMIN_USER
    if role not in ROLES:
        raise ValueError(f"PostgreSQL has no role {role!r}; it has: {', '.join((*ROLES, ADMIN))}")
    return role


def connect(settings: Settings, role: str, database: str, *, autocommit: bool = False) -> psycopg.Connection:
    """A connection to ``database`` as ``role``; the caller closes it. TLS follows the usual ``PGSSLMODE``.

    Raises:
        infra.endpoints.NotRunning: the lake is not up.
        infra.secrets.SecretMissing: the role was never provisioned.
        psycopg.OperationalError: the server refused or cannot be reached.
    """
    at = endpoints.load(settings)
    return psycopg.connect(
        host=at.postgres_host,
        port=at.postgres_port,
        dbname=database,
        user=user(role),
        password=secrets.read(settings, f"pg-{role}"),
        application_name=locks.this_process(),
        options=f"-c lock_timeout={_lock_seconds.get()}s",  # of tables; lake-wide locks have their own limit
        connect_timeout=CONNECT_SECONDS,
        autocommit=autocommit,
    )


def uri(settings: Settings, role: str, database: str, *, driver: Driver = "postgresql") -> str:
    """The connection URI of ``role``, for programs that take one. It holds the password: never print or log it."""
    at = endpoints.load(settings)
    password = quote(secrets.read(settings, f"pg-{role}"), safe="")
    return f"{driver}://{user(role)}:{password}@{at.postgres_host}:{at.postgres_port}/{database}"
