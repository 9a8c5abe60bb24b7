"""What datasets are called, by the naming rules of OpenLineage: the objects and tables that others can find."""

from __future__ import annotations

from typing import NamedTuple

from infra import catalog, endpoints
from infra.settings import Settings


class Name(NamedTuple):
    """A dataset: the store it is in, and its name there."""

    namespace: str
    name: str


def stored(bucket: str, key: str) -> Name:
    """An object, or all objects below a prefix."""
    return Name(f"s3://{bucket}", key.strip("/"))


def table(namespace: str, name: str) -> Name:
    """An Iceberg table, named by where its files are; the catalog's name is a symlink of it."""
    return stored(catalog.WAREHOUSE.removeprefix("s3://"), f"{namespace}/{name}")


def server(settings: Settings) -> str:
    """The namespace of everything in this lake's PostgreSQL server."""
    at = endpoints.load(settings)
    return f"postgres://{at.postgres_host}:{at.postgres_port}"


def relation(settings: Settings, database: str, schema: str, name: str) -> Name:
    """A table in PostgreSQL."""
    return Name(server(settings), f"{database}.{schema}.{name}")
