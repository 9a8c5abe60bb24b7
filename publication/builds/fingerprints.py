"""What a unit was made from, as a digest that tells two inputs apart and nothing else.

The exact counts of a unit, in a fixed order, are digested, and the digest is keyed with the unit's noise key: whoever
has only the fingerprint cannot try out counts until one fits.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from datetime import date

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from infra.build_spec import Unit
from infra.keys.store import Keys
from privacy.noise import derive
from publication import settling
from publication.contracts import PERIOD

_LINES = 1 << 16
"""Cells digested at a time."""

_NOT_CELLS = frozenset({"unit_start", "unit_end", "edition", *PERIOD, "exact", "measured"} - {"period_start"})


class NotMeasuredError(LookupError):
    """The build holds no measured cells of a mart."""


def table(mart: str) -> str:
    """The table of a build that holds the exact and the measured count of every cell of a mart."""
    return f"int_{mart}_measured"


def cells(connection: duckdb.DuckDBPyConnection, mart: str) -> list[str]:
    """The columns that identify a measured cell of a mart within its unit, in alphabetical order; no names of places.

    Raises:
        NotMeasuredError: the build has no such table.
    """
    found = connection.execute(
        "select column_name from duckdb_columns() where schema_name = 'intermediate' and table_name = ?", [table(mart)]
    ).fetchall()
    columns = {name for (name,) in found}
    if not columns >= {"unit_start", "exact", "measured"}:
        raise NotMeasuredError(f"mart {mart} is not measured: the dbt project needs a model {table(mart)}")
    return sorted(column for column in columns - _NOT_CELLS if not column.endswith("_name"))


def of(connection: duckdb.DuckDBPyConnection, keys: Keys, mart: str, units: Sequence[Unit]) -> Mapping[Unit, str]:
    """The fingerprint of each of these units of a mart, in hexadecimal.

    Raises:
        NotMeasuredError: the build has no measured cells of one of them.
        infra.keys.store.KeyDestroyedError: the noise of its month can no longer be drawn.
    """
    digests = _digests(connection, mart)
    missing = [unit for unit in units if unit.first_day not in digests]
    if missing:
        raise NotMeasuredError(f"{table(mart)} has no cells of the unit that begins on {missing[0].first_day}")
    return {unit: _keyed(keys, unit, digests[unit.first_day]) for unit in units}


def _keyed(keys: Keys, unit: Unit, digest: str) -> str:
    key = derive(keys.get_or_create(settling.NOISE, settling.month(unit)), "fingerprint", unit.mart)
    content = f"{unit.first_day} {unit.last_day} {digest}"
    return hmac.new(key, content.encode(), hashlib.sha256).hexdigest()


def _digests(connection: duckdb.DuckDBPyConnection, mart: str) -> Mapping[date, str]:
    """By first day of the unit, SHA-256 over its cells: one line of JSON each, sorted, each column under its name."""
    columns = cells(connection, mart)
    named = ", ".join(f"'{name}', \"{name}\"" for name in columns)
    # Lines that begin with the same columns sort as their values do, written as JSON: shorter texts to compare.
    values = ", ".join(f'to_json("{name}")::varchar' for name in columns)
    reader = connection.execute(
        f"""
        select unit_start, json_object({named}, 'exact', exact::varchar)::varchar || chr(10) as line
        from intermediate.{table(mart)}
        order by unit_start, {values}, exact::varchar
        """
    ).to_arrow_reader(_LINES)
    digests: dict[date, hashlib._Hash] = {}
    for batch in reader:
        first = 0
        for unit in pc.value_counts(batch.column("unit_start")).to_pylist():
            day, lines = unit["values"], batch.column("line").slice(first, unit["counts"])
            first += unit["counts"]
            # Lines are told apart by a line feed, which JSON has none of; there is none after the last.
            digest = digests.get(day)
            if digest is None:
                digest = digests[day] = hashlib.sha256()
            else:
                digest.update(b"\n")
            digest.update(memoryview(_text(lines))[:-1])
    return {day: digest.hexdigest() for day, digest in digests.items()}


def _text(lines: pa.StringArray) -> pa.Buffer:
    """The text of all lines, one after the other, as it is in memory."""
    _, offsets, text = lines.buffers()
    first, last = lines.offset, lines.offset + len(lines)
    bounds = memoryview(offsets).cast("i")
    return text[bounds[first] : bounds[last]]
