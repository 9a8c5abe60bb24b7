"""Known personal values, and a search for them in every byte that a lake keeps past landing.

A canary is looked for in four spellings, and as the md5, sha1 and sha256 of each: as bytes, in hexadecimal and in
base64, whole or cut to 128 bits. What is compressed is looked at expanded. Used by the tests of physical columns and
values and by the attack suite (P0).
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import re
import zipfile
import zlib
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import duckdb
import polars as pl
from psycopg import sql

from infra import database, object_store
from infra.settings import Settings

BUCKETS = ("quarantine", "receipts", "lake", "docs")
"""Every bucket but landing, where values are as delivered."""

DIGEST_BYTES = 16
_AT_ONCE = 32 * 2**20
_SHORTEST = 6  # a shorter canary would be found by chance

Piece = tuple[str, bytes]
"""Where something was read, and what."""


@dataclass(frozen=True, order=True)
class Hit:
    """A canary found: where, and of which kind. Never the value."""

    where: str
    kind: str


def spellings(value: str) -> set[str]:
    """Four ways in which people and programs write a value: as is, bare, bare in small letters, with spaces."""
    bare = re.sub(r"[^0-9A-Za-zÀ-ÿ@+]", "", value)
    return {value, bare.upper(), bare.lower(), re.sub(r"[^0-9A-Za-zÀ-ÿ@+]+", " ", value)}


def _digests(spelled: str) -> Iterator[bytes]:
    for algorithm in ("md5", "sha1", "sha256"):
        digest = hashlib.new(algorithm, spelled.encode()).digest()[:DIGEST_BYTES]
        whole = len(base64.b64encode(digest).rstrip(b"=")) - 1  # its last character depends on what follows
        yield from (digest, digest.hex().encode())
        yield from (base64.b64encode(digest)[:whole], base64.urlsafe_b64encode(digest)[:whole])


class Canaries:
    """What to look for. ``exact`` values are bytes that are looked for as they are, and in hexadecimal and base64."""

    def __init__(
        self, values: Mapping[str, Collection[str]], exact: Mapping[str, Collection[bytes]] | None = None
    ) -> None:
        needles: dict[str, str] = {}
        for kind, each_value in ((kind, value) for kind, chosen in values.items() for value in chosen):
            if len(each_value) < _SHORTEST:
                raise ValueError(f"a canary of kind {kind} is too short to be told from chance")
            for spelled in spellings(each_value):
                needles[_text(spelled.encode())] = kind
                needles.update({_text(digest): f"{kind}, hashed" for digest in _digests(spelled)})
        for kind, each_exact in ((kind, value) for kind, chosen in (exact or {}).items() for value in chosen):
            whole = len(base64.b64encode(each_exact).rstrip(b"=")) - 1
            for form in (each_exact, each_exact.hex().encode(), base64.b64encode(each_exact)[:whole]):
                needles[_text(form)] = kind
        self._kinds = {_small(needle): kind for needle, kind in needles.items()}
        self._needles = sorted(self._kinds)

    def search(self, pieces: Iterable[Piece]) -> list[Hit]:
        """Every piece that holds a canary, in any letter case."""
        hits: set[Hit] = set()
        for names, texts in _batches(pieces):
            frame = pl.DataFrame({"name": names, "text": texts}, schema={"name": pl.String, "text": pl.String})
            matching = frame.filter(pl.col("text").str.contains_any(self._needles, ascii_case_insensitive=True))
            found = matching.with_columns(
                pl.col("text").str.extract_many(self._needles, ascii_case_insensitive=True, overlapping=True)
            ).explode("text")
            hits.update(Hit(name, self._kinds[_small(text)]) for name, text in found.unique().iter_rows())
        return sorted(hits)


def _small(text: str) -> str:
    """ASCII's capitals as small letters: the only ones that the search takes for the same."""
    return text.translate({letter: letter + 32 for letter in range(ord("A"), ord("Z") + 1)})


def _text(content: bytes) -> str:
    """Bytes as a text in which each byte is one letter, so that any bytes can be searched."""
    return content.decode("latin-1")


def _batches(pieces: Iterable[Piece]) -> Iterator[tuple[list[str], list[str]]]:
    names: list[str] = []
    texts: list[str] = []
    size = 0
    for where, content in pieces:
        for part in expanded(content):
            names.append(where)
            texts.append(_text(part))
            size += len(part)
            if size > _AT_ONCE:
                yield names, texts
                names, texts, size = [], [], 0
    yield names, texts


def expanded(content: bytes) -> Iterator[bytes]:
    """The bytes themselves, and what is in them when they are a container: Parquet, Avro, gzip, zip or DuckDB."""
    yield content
    if content[:4] == b"PAR1":
        yield from _frame(pl.read_parquet(io.BytesIO(content)))
    elif content[:4] == b"Obj\x01":
        yield from _avro(content)
    elif content[:2] == b"\x1f\x8b":
        yield from expanded(gzip.decompress(content))
    elif content[:4] == b"PK\x03\x04":
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            for name in archive.namelist():
                yield from expanded(archive.read(name))


def _frame(frame: pl.DataFrame) -> Iterator[bytes]:
    """Values as text, one column after the other, and binary ones as they are."""
    for column in frame.iter_columns():
        distinct = column.unique().drop_nulls()
        if column.dtype == pl.Binary:
            yield b"\n".join(distinct.to_list())
        else:
            yield column.name.encode() + b"\n" + distinct.to_frame().write_ndjson().encode()


def _avro(content: bytes) -> Iterator[bytes]:
    """The blocks of an Avro file (Iceberg's manifests, with the extremes of each column), inflated."""
    if b"avro.codec" not in content or b"deflate" not in content[:4096]:
        return
    sync = content[-16:]
    for block in content.split(sync)[1:-1]:
        body = block
        for _ in range(2):  # how many records, how many bytes: two variable-length numbers
            body = body.lstrip(bytes(range(128, 256)))[1:] if body[:1] >= b"\x80" else body[1:]
        yield zlib.decompress(body, wbits=-15)


def files(folder: Path, *, without: Collection[str] = ()) -> Iterator[Piece]:
    """Every file below a folder, but for the folders of its top named ``without``."""
    for path in sorted(folder.rglob("*")):
        relative = path.relative_to(folder)
        if path.is_file() and not path.is_symlink() and relative.parts[0] not in without:
            content = path.read_bytes()
            yield str(relative), content
            if content[8:12] == b"DUCK":
                with duckdb.connect(str(path), read_only=True) as opened:
                    for (table,) in opened.execute("select table_name from duckdb_tables()").fetchall():
                        yield f"{relative}, table {table}", b"".join(_frame(opened.table(table).pl()))


def objects(settings: Settings, buckets: Collection[str] = BUCKETS, *, below: str = "") -> Iterator[Piece]:
    """Every object, and every version of it that the store still has."""
    store = object_store.client(settings, "admin")
    for bucket in buckets:
        for item in store.list_objects(bucket, prefix=below, recursive=True, include_version=True):
            if item.is_delete_marker or item.object_name is None:
                continue
            answer = store.get_object(bucket, item.object_name, version_id=item.version_id)
            try:
                yield f"{bucket}/{item.object_name}", answer.read()
            finally:
                answer.close()
                answer.release_conn()


def databases(settings: Settings, names: Collection[str] = ("lake", "bi")) -> Iterator[Piece]:
    """Every table of PostgreSQL databases, whoever owns it."""
    for name in names:
        with database.connect(settings, "admin", name) as connection:
            tables = connection.execute(
                "select schemaname, tablename from pg_tables where schemaname not in (%s, %s)",
                ("pg_catalog", "information_schema"),
            ).fetchall()
            for schema, table in tables:
                copy = sql.SQL("copy {} to stdout").format(sql.Identifier(schema, table))
                with connection.cursor().copy(copy) as rows:
                    yield f"{name}.{schema}.{table}", b"".join(bytes(row) for row in rows)


def everywhere(settings: Settings) -> Iterator[Piece]:
    """All that a lake keeps past landing: buckets with old versions, databases, and the home with logs and dbt's files.

    Not looked at: ``drop`` and ``data`` (deliveries, and the servers' own files, which hold landing), ``keys`` and
    ``secrets``.
    """
    yield from objects(settings)
    yield from databases(settings)
    yield from files(settings.home, without={"drop", "data", "keys", "secrets"})
