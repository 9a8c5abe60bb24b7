"""DuckDB connections: what they can reach, and what they leave behind."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid

import duckdb
import pytest

from infra import compute, object_store
from infra.settings import Settings

pytestmark = pytest.mark.live


def test_a_connection_reads_and_writes_as_its_role(store: Settings) -> None:
    path = f"s3://lake/candidates/test-{uuid.uuid4().hex}/n.parquet"
    with compute.connect(store, "publisher") as connection:
        connection.execute(f"copy (select range as n from range(1000)) to '{path}' (format parquet)")
        assert connection.sql(f"select sum(n)::int from '{path}'").fetchall() == [(499500,)]
    with compute.connect(store, "analyst") as connection, pytest.raises(duckdb.Error):
        connection.sql(f"select sum(n) from '{path}'").fetchall()


def test_what_does_not_fit_spills_and_is_cleared(store: Settings) -> None:
    with compute.connect(store, "pipeline", memory_limit=64 * 1024 * 1024, threads=1) as connection:
        rows = connection.execute(
            "select count(*) from (select distinct md5(range::varchar) from range(2000000))"
        ).fetchall()
        assert rows == [(2_000_000,)]
    assert not [path for path in (store.work_dir / "duckdb").rglob("*") if path.is_file()]


def test_prepare_equips_a_connection_made_by_somebody_else(store: Settings) -> None:
    connection = duckdb.connect()
    compute.prepare(connection, store, "steward")
    loaded = connection.sql("select extension_name from duckdb_extensions() where loaded").fetchall()
    assert {name for (name,) in loaded} >= set(compute.EXTENSIONS)
    assert connection.sql("select current_setting('TimeZone')").fetchall() == [("UTC",)]
    connection.close()


def test_the_secret_is_not_readable_in_sql(store: Settings) -> None:
    _, secret_key = object_store.credentials(store, "pipeline")
    with compute.connect(store, "pipeline") as connection:
        assert secret_key not in str(connection.sql("select * from duckdb_secrets()").fetchall())


def test_nothing_is_left_in_the_home_folder_nor_fetched(
    store: Settings, tmp_path_factory: pytest.TempPathFactory
) -> None:
    home = tmp_path_factory.mktemp("home")
    key = f"conformed/test-{uuid.uuid4().hex}.csv"
    object_store.put_bytes(object_store.client(store, "pipeline"), "lake", key, b"n\n1\n")
    path = f"s3://lake/{key}"
    program = (
        "import sys\n"
        "from infra import compute\n"
        "from infra.settings import Settings\n"
        "connection = compute.connect(Settings(), 'pipeline')\n"
        "connection.execute('set enable_progress_bar = false')\n"
        "print(connection.sql(f\"from '{sys.argv[1]}'\").fetchall())\n"
        "try:\n"
        "    connection.execute('load spatial')\n"
        "except Exception as error:\n"
        "    print(type(error).__name__)\n"
    )
    environment = {
        **os.environ,
        "HOME": str(home),
        "CALANQUE_HOME": str(store.home),
        "CALANQUE_OBJECT_STORE": store.store,
        # Any request that goes to a proxy of the calling shell, to a public registry for instance, fails.
        **dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), "http://127.0.0.1:9"),
        "NO_PROXY": "127.0.0.1",
        "no_proxy": "127.0.0.1",
    }
    answer = subprocess.run(
        [sys.executable, "-c", program, path], env=environment, capture_output=True, text=True, check=True, timeout=60
    )
    assert answer.stdout.split() == ["[(1,)]", "IOException"]
    assert list(home.rglob("*")) == []


def test_the_default_memory_limit_leaves_room_for_others() -> None:
    assert 0 < compute.default_memory_limit() <= 4 * 1024**3
