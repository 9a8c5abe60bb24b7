"""Pseudonyms are HMAC-SHA256 under the key of silo and month, whatever the batches they are computed in."""

from __future__ import annotations

import hashlib
import hmac
import itertools
from datetime import date, timedelta

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from infra.keys.store import KeyDestroyedError
from ingestion.rows.pseudonyms import PSEUDONYM_BYTES, Pseudonymiser

DESTROYED = "2025-02"
DAYS = st.dates(date(2025, 1, 1), date(2025, 4, 30))
ROWS = st.lists(st.tuples(st.none() | st.text(max_size=80), st.none() | DAYS), max_size=60)


class Vault:
    """Keys derived from their name, so that a test can compute what a pseudonym must be."""

    def get_or_create(self, silo: str, month: str) -> bytes:
        if month == DESTROYED:
            raise KeyDestroyedError(month)
        return hashlib.sha256(f"{silo} {month}".encode()).digest()

    def destroy(self, silo: str, month: str) -> None:
        raise NotImplementedError


def reference(silo: str, kind: str, value: str | None, day: date | None) -> bytes | None:
    if value is None or day is None or f"{day:%Y-%m}" == DESTROYED:
        return None
    key = Vault().get_or_create(silo, f"{day:%Y-%m}")
    return hmac.digest(key.hex().encode(), kind.encode() + b"\0" + value.encode(), "sha256")[:PSEUDONYM_BYTES]


def series(rows: list[tuple[str | None, date | None]]) -> tuple[pl.Series, pl.Series]:
    return pl.Series("v", [v for v, _ in rows], pl.String), pl.Series("d", [d for _, d in rows], pl.Date)


@given(ROWS, st.lists(st.integers(0, 60), max_size=4))
def test_every_pseudonym_is_the_truncated_hmac(rows: list[tuple[str | None, date | None]], cuts: list[int]) -> None:
    pseudonymiser = Pseudonymiser("tows", Vault())
    edges = sorted({0, len(rows), *(cut for cut in cuts if cut < len(rows))})
    found = [
        pseudonym
        for start, end in itertools.pairwise(edges)
        for pseudonym in pseudonymiser.pseudonyms("vehicle", *series(rows[start:end])).to_list()
    ]
    assert found == [reference("tows", "vehicle", value, day) for value, day in rows]
    assert pseudonymiser.destroyed_months == {f"{d:%Y-%m}" for _, d in rows if d and f"{d:%Y-%m}" == DESTROYED}


def test_months_silos_and_kinds_share_no_pseudonym() -> None:
    days = [date(2025, 1, 1) + timedelta(days=31 * n) for n in (0, 2, 3)]
    found = [
        Pseudonymiser(silo, Vault()).pseudonyms(kind, *series([("AB123CD", day)])).item()
        for silo in ("tows", "verbalisations")
        for kind in ("vehicle", "record")
        for day in days
    ]
    assert len(set(found)) == len(found) == 12


def test_nothing_shows_a_key_or_a_value() -> None:
    pseudonymiser = Pseudonymiser("tows", Vault())
    pseudonymiser.pseudonyms("vehicle", *series([("AB123CD", date(2025, 1, 1))] * 3))
    assert repr(pseudonymiser) == "Pseudonymiser('tows')"
