"""DuckDB connections that read and write the lake: extensions from the installed wheels, no network, no home folder."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import duckdb
import psutil

from infra import object_store
from infra.settings import Settings

EXTENSIONS = ("httpfs", "avro", "iceberg")  # iceberg needs avro loaded before it

_GIB = 1024**3


def default_memory_limit() -> int:
    """Bytes that one connection may use before it spills to disk: 40 % of this machine's memory, at most 4 GiB."""
    return min(4 * _GIB, int(psutil.virtual_memory().total * 0.4))


def connect(
    settings: Settings,
    role: str,
    *,
    database: str | Path = ":memory:",
    memory_limit: int | None = None,
    threads: int | None = None,
) -> duckdb.DuckDBPyConnection:
    """A connection whose ``s3://`` paths are read and written as ``role``.

    ``memory_limit`` is in bytes. What does not fit spills to ``settings.work_dir``.
    """
    spill = settings.work_dir / "duckdb"
    spill.mkdir(parents=True, exist_ok=True)
    connection = duckdb.connect(
        str(database),
        config={
            "memory_limit": f"{memory_limit or default_memory_limit()}B",
            "temp_directory": str(spill),
            "threads": threads or psutil.cpu_count() or 1,
        },
    )
    prepare(connection, settings, role)
    return connection


def prepare(connection: duckdb.DuckDBPyConnection, settings: Settings, role: str) -> None:
    """Give an existing connection (one made by dbt, for instance) the extensions and the S3 credentials of ``role``."""
    load_extensions(connection)
    access_key, secret_key = object_store.credentials(settings, role)
    target = object_store.endpoint(settings)
    connection.execute(
        f"""
        create or replace secret calanque (
            type s3,
            key_id {_literal(access_key)},
            secret {_literal(secret_key)},
            endpoint {_literal(target.address)},
            region {_literal(target.region)},
            url_style 'path',
            use_ssl {str(target.secure).lower()}
        )
        """
    )


def load_extensions(connection: duckdb.DuckDBPyConnection) -> None:
    """Load the extensions of the lake, and forbid the connection to look for any other."""
    connection.execute("set autoinstall_known_extensions = false")
    connection.execute("set autoload_known_extensions = false")
    connection.execute("set allow_persistent_secrets = false")
    connection.execute("set timezone = 'UTC'")
    for name in EXTENSIONS:
        connection.execute(f"load {_literal(str(_extension_file(name)))}")


def _extension_file(name: str) -> Path:
    """The extension inside its wheel. Loading that file, rather than installing a copy, leaves no trace anywhere.

    Raises:
        ModuleNotFoundError: the wheel is missing or was made for another DuckDB.
    """
    spec = importlib.util.find_spec(f"duckdb_extension_{name}")
    if spec is not None and spec.submodule_search_locations:
        folder = Path(next(iter(spec.submodule_search_locations)))
        file = folder / "extensions" / f"v{duckdb.__version__}" / f"{name}.duckdb_extension"
        if file.exists():
            return file
    raise ModuleNotFoundError(
        f"DuckDB extension {name} {duckdb.__version__} is not installed: reinstall from requirements.lock"
    )


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
