"""What is published, read back the way its users read it; and how to take it all away."""

from __future__ import annotations

import contextlib
import hashlib
import io
import shutil
from datetime import date
from pathlib import Path

import polars as pl
import psycopg
from pyiceberg.exceptions import NoSuchTableError

from infra import catalog, database, object_store
from infra.settings import Settings
from ingestion.delivery import collecting
from ingestion.register import silos
from publication.contracts import CONTRACTS, Contract


def in_bi(connection: psycopg.Connection, contract: Contract) -> pl.DataFrame:
    columns = ", ".join(contract.columns)
    rows = connection.execute(f"select {columns} from marts.{contract.mart} order by {', '.join(contract.order)}")
    return pl.DataFrame(
        rows.fetchall(), schema=pl.Schema(pl.DataFrame(contract.arrow_schema().empty_table()).schema), orient="row"
    )


def in_iceberg(settings: Settings, contract: Contract, version: int | None = None) -> pl.DataFrame:
    table = catalog.open_catalog(settings, "publisher").load_table(f"marts.{contract.mart}")
    snapshot = table.refs()[f"v{version}"].snapshot_id if version else None
    rows = table.scan(snapshot_id=snapshot).to_arrow().cast(contract.arrow_schema())
    return pl.DataFrame(rows).sort(contract.order)


def in_files(settings: Settings, contract: Contract, version: int) -> pl.DataFrame:
    store = object_store.client(settings, "analyst")
    document = object_store.get_json(store, "lake", f"releases/{contract.mart}/v{version}.json")
    parts = []
    for part in document["parts"]:
        data = object_store.get_bytes(store, "lake", part["key"])
        assert hashlib.sha256(data).hexdigest() == part["sha256"] == Path(part["key"]).stem
        rows = pl.read_parquet(io.BytesIO(data))
        assert rows.height == part["rows"]
        assert rows["period_start"].is_between(*map(date.fromisoformat, (part["first_day"], part["last_day"]))).all()
        parts.append(rows)
    whole = pl.concat(parts)
    assert document["rows"] == whole.height
    return whole.sort(contract.order)


def everything(settings: Settings, analyst: psycopg.Connection) -> dict[str, object]:
    """All that a release leaves behind, but for times and ids that may differ between runs."""
    store = object_store.client(settings, "admin")
    state: dict[str, object] = {
        bucket: sorted(
            key
            for key in object_store.list_keys(store, bucket)
            if not key.startswith(("marts/", "candidates/", "conformed/"))
        )
        for bucket in ("lake", "receipts")
    }
    present = {name for (name,) in analyst.execute("select tablename from pg_tables where schemaname = 'marts'")}
    for mart, contract in CONTRACTS.items():
        if mart in present:
            state[f"bi {mart}"] = in_bi(analyst, contract).rows()
            state[f"iceberg {mart}"] = in_iceberg(settings, contract).rows()
            table = catalog.open_catalog(settings, "publisher").load_table(f"marts.{mart}")
            state[f"tags {mart}"] = sorted(name for name in table.refs() if name != "main")
            state[f"snapshots {mart}"] = len(table.snapshots())
    with database.connect(settings, "steward", "lake") as connection:
        state["registry"] = connection.execute(
            "select mart, version, build_id, commit_seq, rows, sha256, status from registry.release order by 1, 2"
        ).fetchall()
        state["marts"] = connection.execute("select * from registry.mart order by mart").fetchall()
        state["units"] = connection.execute("select * from registry.unit order by mart, first_day").fetchall()
        state["ledger"] = connection.execute("select seq, kind, body from ledger.line order by seq").fetchall()
    if "release_info" in present:
        state["info"] = analyst.execute(
            "select mart, version, rows, sha256 from marts.release_info order by 1"
        ).fetchall()
    return state


def wipe(settings: Settings) -> None:
    """Take everything out of a lake, and all that waits to come in, but its roles."""
    with database.connect(settings, "admin", "lake", autocommit=True) as connection:
        connection.execute(
            """
            truncate registry.release, registry.mart, registry.unit, registry.commit, registry.delivery, registry.cover,
                registry.go_ahead
                restart identity;
            alter table ledger.line disable trigger user;
            truncate ledger.line;
            alter table ledger.line enable trigger user;
            """
        )
    with database.connect(settings, "admin", "bi", autocommit=True) as connection:
        for mart in (*CONTRACTS, "release_info"):
            connection.execute(f"drop table if exists marts.{mart}")
    tables = catalog.open_catalog(settings, "publisher")
    for mart in CONTRACTS:
        with contextlib.suppress(NoSuchTableError):
            tables.drop_table(f"marts.{mart}")
    conformed = catalog.open_catalog(settings, "pipeline")
    for identifier in conformed.list_tables("conformed"):
        conformed.drop_table(identifier)
    store = object_store.client(settings, "admin")
    for bucket in ("lake", "receipts"):
        for key in list(object_store.list_keys(store, bucket)):
            store.remove_object(bucket, key)
    for silo in silos():  # what other tests of the same lake delivered and nobody took
        shutil.rmtree(settings.drop_dir / silo, ignore_errors=True)
        for put in collecting.waiting(settings, silo):
            collecting.take_away(store, put)
