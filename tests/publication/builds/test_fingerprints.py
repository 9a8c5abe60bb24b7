"""A fingerprint is a digest of every cell's exact count, whatever the order in which the cells are found."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import duckdb
import pytest

from infra.build_spec import Unit
from infra.keys.store import KeyStore
from privacy.noise import derive
from publication.builds import fingerprints

MARCH = Unit(mart="towns", first_day=date(2026, 3, 1), last_day=date(2026, 3, 31))
APRIL = Unit(mart="towns", first_day=date(2026, 4, 1), last_day=date(2026, 4, 30))


@pytest.fixture
def build() -> Iterator[duckdb.DuckDBPyConnection]:
    """March with more cells than are digested at a time, April with a few; names that sort awkwardly."""
    with duckdb.connect() as connection:
        connection.execute(
            f"""
            create schema intermediate;
            create table intermediate.int_towns_measured as
            select
                if(range < {fingerprints._LINES * 3 // 2}, date '2026-03-01', date '2026-04-01') as unit_start,
                'Port' as zone_name,
                ['a', 'a b', 'é', 'a"b', 'a' || chr(10) || 'b'][1 + range % 5] || range // 5 as zone_id,
                range % 24 as hour,
                range * 7919 % 1013 as exact,
                0 as measured
            from range({fingerprints._LINES * 3 // 2 + 10})
            """
        )
        yield connection


def test_it_digests_sorted_lines_of_json(build: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    """Written down differently, so that what is in a ledger stays comparable for ever."""
    keys = KeyStore(tmp_path)
    found = fingerprints.of(build, keys, "towns", [MARCH, APRIL])
    for unit in (MARCH, APRIL):
        lines = [
            line
            for (line,) in build.execute(
                """
                select json_object('hour', hour, 'zone_id', zone_id, 'exact', exact::varchar)::varchar
                from intermediate.int_towns_measured where unit_start = ?
                """,
                [unit.first_day],
            ).fetchall()
        ]
        digest = hashlib.sha256("\n".join(sorted(lines, key=str.encode)).encode()).hexdigest()
        key = derive(keys.get_or_create("noise", f"{unit.first_day:%Y-%m}"), "fingerprint", "towns")
        content = f"{unit.first_day} {unit.last_day} {digest}".encode()
        assert found[unit] == hmac.new(key, content, hashlib.sha256).hexdigest()


def test_the_order_of_cells_is_not_part_of_it_and_every_count_is(
    build: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    keys = KeyStore(tmp_path)
    before = fingerprints.of(build, keys, "towns", [MARCH, APRIL])
    build.execute(
        """
        create or replace table intermediate.int_towns_measured as
        from intermediate.int_towns_measured order by hash(zone_id)
        """
    )
    assert fingerprints.of(build, keys, "towns", [MARCH, APRIL]) == before
    build.execute("update intermediate.int_towns_measured set exact = exact + 1 where zone_id = 'é0'")
    after = fingerprints.of(build, keys, "towns", [MARCH, APRIL])
    assert after[MARCH] != before[MARCH]
    assert after[APRIL] == before[APRIL]
