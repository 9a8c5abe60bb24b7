"""The ledger: lines that are only ever added, each carrying the hash of the one before, in the schema ``ledger``.

A line that is changed, removed or put between two others breaks the chain, and whoever reads it sees where. What lines
mean is for those who write them; see :mod:`privacy.spending`. The role ``publisher`` may add and read lines, and the
table itself refuses anything else, its administrator's slips included.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Self

import psycopg
from psycopg.errors import UniqueViolation
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from infra import locks
from infra.errors import ExpectedError
from infra.registry.ledger_schema import BEGINNING

_LOCK = "ledger"


class LedgerBrokenError(ExpectedError, RuntimeError):
    """The ledger is not what it was: nothing is added to it, and nothing released, until somebody has looked."""


@dataclass(frozen=True)
class Line:
    """One line. ``body`` holds texts, whole numbers, null, lists and mappings only: nothing that rounds."""

    seq: int
    recorded_at: datetime
    kind: str
    body: dict[str, Any]
    previous: str
    hash: str

    @classmethod
    def after(cls, last: Line | None, recorded_at: datetime, kind: str, body: Mapping[str, Any]) -> Self:
        """The line that follows ``last``."""
        seq, previous = (last.seq + 1, last.hash) if last else (1, BEGINNING)
        content = _content(seq, recorded_at, kind, body, previous)
        return cls(seq, recorded_at.astimezone(UTC), kind, dict(body), previous, _digest(content))

    @property
    def content(self) -> dict[str, Any]:
        """What the hash is of."""
        return _content(self.seq, self.recorded_at, self.kind, self.body, self.previous)

    @property
    def document(self) -> dict[str, Any]:
        """The whole line, as its signed copy holds it."""
        return {**self.content, "hash": self.hash}

    @property
    def intact(self) -> bool:
        return self.hash == _digest(self.content)


def canonical(content: Mapping[str, Any]) -> bytes:
    """``content`` as JSON in the one form that is hashed and signed."""
    return json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def _content(seq: int, recorded_at: datetime, kind: str, body: Mapping[str, Any], previous: str) -> dict[str, Any]:
    at = recorded_at.astimezone(UTC).isoformat(timespec="microseconds")
    return {"seq": seq, "recorded_at": at, "kind": kind, "body": dict(body), "previous": previous}


def _digest(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(canonical(content)).hexdigest()


def lines(connection: psycopg.Connection) -> list[Line]:
    """Every line, in order, as it is stored."""
    with connection.cursor(row_factory=class_row(Line)) as cursor:
        return cursor.execute(
            "select seq, recorded_at, kind, body, previous, hash from ledger.line order by seq"
        ).fetchall()


def breaks(chain: Sequence[Line]) -> Iterator[str]:
    """What is wrong with a chain of lines: a sentence for each line that is missing, changed or out of place."""
    before: Line | None = None
    for line in chain:
        expected = before.seq + 1 if before else 1
        if line.seq != expected:
            missing = f"line {expected} is" if line.seq == expected + 1 else f"lines {expected} to {line.seq - 1} are"
            yield f"{missing} missing from the ledger"
        elif line.previous != (before.hash if before else BEGINNING):
            yield f"line {line.seq} of the ledger does not follow line {line.seq - 1}: one of them was replaced"
        if not line.intact:
            yield f"line {line.seq} of the ledger was changed: its hash is not that of its content"
        if before and line.recorded_at < before.recorded_at:
            yield f"line {line.seq} of the ledger is older than line {before.seq}: the clock went back"
        before = line


@contextmanager
def locked(connection: psycopg.Connection) -> Iterator[list[Line]]:
    """A transaction in which nobody else adds lines; gives the lines there are.

    Raises:
        LedgerBrokenError: the chain is broken.
    """
    with connection.transaction():
        locks.take(connection, _LOCK, until="transaction ends")
        chain = lines(connection)
        broken = list(breaks(chain))
        if broken:
            raise LedgerBrokenError(
                f"nothing is released while the ledger is broken: {broken[0]}; see `calanque ledger`"
            )
        yield chain


def append(
    connection: psycopg.Connection,
    last: Line | None,
    recorded_at: datetime,
    entries: Iterable[tuple[str, Mapping[str, Any]]],
) -> list[Line]:
    """Add lines (kind and body each) after ``last``, within :func:`locked`; return them.

    Raises:
        LedgerBrokenError: the clock shows an earlier time than the last line does, or somebody else wrote a line.
    """
    if last and recorded_at < last.recorded_at:
        raise LedgerBrokenError(
            f"the clock went back: it shows {recorded_at:%Y-%m-%d %H:%M:%S} UTC, and the last line of the ledger is of "
            f"{last.recorded_at.astimezone(UTC):%Y-%m-%d %H:%M:%S}; set the clock right and run it again"
        )
    added: list[Line] = []
    for kind, body in entries:
        last = Line.after(last, recorded_at, kind, body)
        added.append(last)
    try:
        with connection.cursor() as cursor:
            cursor.executemany(
                """
                insert into ledger.line (seq, recorded_at, kind, body, previous, hash)
                values (%s, %s, %s, %s, %s, %s)
                """,
                [(line.seq, line.recorded_at, line.kind, Jsonb(line.body), line.previous, line.hash) for line in added],
            )
    except UniqueViolation:
        raise LedgerBrokenError(
            f"line {added[0].seq} of the ledger was written by somebody else at the same time: nothing was added here; "
            "run it again"
        ) from None
    return added
