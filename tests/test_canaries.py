"""The search for canaries finds them wherever they are planted: otherwise finding none would say nothing."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import canaries
import duckdb
import polars as pl
import pyarrow as pa
import pytest
from canaries import Canaries, Hit
from pyiceberg.catalog.sql import SqlCatalog


def digest(algorithm: str, value: bytes) -> bytes:
    return hashlib.new(algorithm, value).digest()


PLATE, NAME = "ZZ-987-YX", "Hyacinthe Quasimodo-Éluard"
SEARCH = Canaries({"plate": [PLATE], "name": [NAME]}, {"pseudonym": [bytes(range(100, 116))]})
BARE = digest("sha256", b"ZZ987YX")


def parquet(**columns: object) -> bytes:
    file = io.BytesIO()
    pl.DataFrame(columns).write_parquet(file, compression="zstd")
    return file.getvalue()


def zipped(content: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("inside.txt", content)
    return file.getvalue()


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"... plate ZZ-987-YX ...", "plate"),
        (b"zz987yx", "plate"),
        (b"ZZ 987 YX", "plate"),
        (b"Zz987yX", "plate"),
        (NAME.encode(), "name"),
        (b'{"id": "' + digest("md5", b"zz987yx").hex().encode() + b'"}', "plate, hashed"),
        (digest("sha1", b"ZZ 987 YX").hex().upper().encode(), "plate, hashed"),
        (BARE.hex().encode(), "plate, hashed"),
        (b"\x00\x01" + BARE + b"\xff", "plate, hashed"),
        (BARE[:16], "plate, hashed"),
        (base64.b64encode(BARE), "plate, hashed"),
        (base64.urlsafe_b64encode(BARE[:16]), "plate, hashed"),
        (gzip.compress(b"ZZ987YX", mtime=0), "plate"),
        (zipped(b"ZZ987YX"), "plate"),
        (parquet(it=["ZZ987YX"] * 100), "plate"),
        (parquet(it=[b"not this", BARE[:16]]), "plate, hashed"),
        (parquet(it=[{"deep": ["ZZ987YX"]}]), "plate"),
        (parquet(ZZ987YX=[1]), "plate"),
        (bytes(range(100, 116)).hex().encode(), "pseudonym"),
        (parquet(it=[bytes(range(100, 116))]), "pseudonym"),
    ],
)
def test_a_planted_canary_is_found(content: bytes, kind: str) -> None:
    assert Hit("there", kind) in SEARCH.search([("elsewhere", b"nothing"), ("there", content)])


@pytest.mark.parametrize(
    "content",
    [b"ZZ-987-YZ", b"Quasimodo", b"", parquet(it=["AA001AA", None]), digest("sha256", b"other"), b"\x1e" * 1000],
)
def test_nothing_else_is_found(content: bytes) -> None:
    assert SEARCH.search([("there", content)]) == []


def test_a_hit_never_shows_the_value() -> None:
    (hit,) = SEARCH.search([("there", b"ZZ987YX")])
    assert "987" not in repr(hit)


def test_a_canary_too_short_to_be_one_is_refused() -> None:
    with pytest.raises(ValueError, match="too short"):
        Canaries({"agent": ["123"]})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "logs").mkdir()
    (tmp_path / "drop").mkdir()
    (tmp_path / "drop" / "delivered.csv").write_bytes(b"ZZ987YX")
    (tmp_path / "logs" / "fine.log").write_bytes(b"nothing")
    return tmp_path


def in_log(folder: Path) -> str:
    (folder / "logs" / "task.log").write_text("bad value ZZ987YX")
    return "logs/task.log"


def in_duckdb(folder: Path) -> str:
    with duckdb.connect(str(folder / "build.duckdb")) as connection:
        connection.execute("create table fines as select 'ZZ' || '987' || 'YX' as plate, i from range(5000) as t(i)")
    return "build.duckdb, table fines"


def in_iceberg_extremes(folder: Path) -> str:
    """The manifest of a table keeps the least and greatest value of each column; its data file is taken away."""
    catalog = SqlCatalog("test", uri=f"sqlite:///{folder}/catalog.db", warehouse=f"file://{folder}/warehouse")
    catalog.create_namespace("n")
    rows = pa.table({"who": ["ZZ987YX"]})
    catalog.create_table("n.t", schema=rows.schema).append(rows)
    for data in (folder / "warehouse").rglob("*.parquet"):
        data.unlink()
    (manifest,) = [path for path in (folder / "warehouse").rglob("*.avro") if not path.name.startswith("snap-")]
    return str(manifest.relative_to(folder))


@pytest.mark.parametrize("plant", [in_log, in_duckdb, in_iceberg_extremes])
def test_a_canary_in_a_file_is_found_where_it_is(folder: Path, plant: Callable[[Path], str]) -> None:
    assert SEARCH.search(canaries.files(folder, without={"drop"})) == []
    where = plant(folder)
    assert where in {hit.where for hit in SEARCH.search(canaries.files(folder, without={"drop"}))}
