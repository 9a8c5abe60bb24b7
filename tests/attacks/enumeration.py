"""P1: who holds conformed tables and a list of all plates, but no key, tries to find the vehicles in them."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Callable, Iterable, Mapping
from itertools import combinations

import polars as pl

from infra.keys.store import Keys
from ingestion.rows.pseudonyms import Pseudonymiser
from tests.attacks.findings import Control, Finding

PSEUDONYM_BYTES = 16
GUESSES = (b"", b"calanque", b"secret", b"changeme", b"key", b"salt", b"marseille", bytes(16), bytes(32), b"0" * 32)
"""Keys that somebody careless might have left in code, beside those that are made of public words."""

Scheme = Callable[[bytes], bytes]


class KnownKeys(Keys):
    """The broken build: a key that everybody knows, the same in every month."""

    def get_or_create(self, silo: str, month: str) -> bytes:  # noqa: ARG002
        return bytes(32)

    def destroy(self, silo: str, month: str) -> None:
        raise NotImplementedError

    def states(self) -> list:  # type: ignore[type-arg]
        return []

    def erase(self, silo: str, month: str, pseudonym: bytes) -> None:
        raise NotImplementedError

    def erased(self, silo: str) -> dict[str, frozenset[bytes]]:  # noqa: ARG002
        return {}


class UnknownKeys(KnownKeys):
    """Keys as the key store makes them: another one for every source and month, in nobody's hands."""

    def __init__(self) -> None:
        self._keys: dict[tuple[str, str], bytes] = {}

    def get_or_create(self, silo: str, month: str) -> bytes:
        return self._keys.setdefault((silo, month), secrets.token_bytes(32))


def schemes(words: Iterable[str]) -> list[Scheme]:
    """What an attacker who read the code would try: every digest, plain, prefixed and keyed with what is public."""
    keys = {*GUESSES, *(word.encode() for word in words)}
    plain: list[Scheme] = [lambda value, name=name: hashlib.new(name, value).digest() for name in _DIGESTS]
    prefixed: list[Scheme] = [lambda value: hashlib.sha256(b"vehicle\0" + value).digest()]
    keyed: list[Scheme] = [
        lambda value, key=key: hmac.digest(key, b"vehicle\0" + value, "sha256")
        for key in sorted({*keys, *(key.hex().encode() for key in keys)})
    ]
    return [*plain, *prefixed, *keyed]


_DIGESTS = ("md5", "sha1", "sha256", "sha512", "blake2b")


def spellings(plate: str) -> tuple[str, ...]:
    """The four ways in which people write a plate."""
    bare = plate.replace("-", "").replace(" ", "")
    return plate, bare, plate.replace("-", " "), bare.lower()


def recovered(pseudonyms: set[bytes], plates: Iterable[str], words: Iterable[str]) -> int:
    """How many of the pseudonyms are found by trying every plate in every spelling under every scheme.

    A digest counts when its first 16 bytes are a pseudonym: they are cut off there.
    """
    values = [spelling.encode() for plate in plates for spelling in spellings(plate)]
    found: set[bytes] = set()
    for scheme in schemes(words):
        found |= pseudonyms.intersection(scheme(value)[:PSEUDONYM_BYTES] for value in values)
    return len(found)


def attack(rows: Mapping[str, pl.DataFrame], plates: list[str], normal: list[str], words: list[str]) -> list[Finding]:
    """All of P1 on the conformed rows of fines and tows.

    ``plates``: those of the city, which is more than any enumeration would give; ``normal``: the same as the lake
    writes them, for the broken build. ``words``: names of silos, months and the city, which are public.
    """
    vehicles = {silo: rows[silo].select("vehicle", "event_date").drop_nulls() for silo in ("verbalisations", "tows")}
    seen = {silo: set(frame["vehicle"].unique().to_list()) for silo, frame in vehicles.items()}
    everyone = set().union(*seen.values())
    found = recovered(everyone, plates, words)
    months = _by_month(vehicles["verbalisations"])
    broken = pseudonyms_of(normal, ["2025-01-15", "2025-02-15"])
    broken_found = recovered(broken["verbalisations", "2025-01-15"], plates, words)
    return [
        Finding(
            "P1",
            f"vehicles found in conformed by trying {len(plates)} plates in 4 spellings under every public key",
            limit=0,
            measured=found,
            control=Control("pseudonyms under a known key", broken_found / len(normal), 0.99),
            details={"pseudonyms": len(everyone)},
        ),
        Finding(
            "P1",
            "pseudonyms that two months of fines share",
            limit=0,
            measured=_shared(months),
            control=Control(
                "one key for all months",
                _shared([broken["verbalisations", day] for day in ("2025-01-15", "2025-02-15")]),
                1,
            ),
            details={"months": len(months)},
        ),
        Finding(
            "P1",
            "pseudonyms that fines and tows share",
            limit=0,
            measured=_shared([seen["verbalisations"], seen["tows"]]),
            control=Control(
                "one key for all sources",
                _shared([broken["verbalisations", "2025-01-15"], broken["tows", "2025-01-15"]]),
                1,
            ),
        ),
    ]


def _by_month(rows: pl.DataFrame) -> list[set[bytes]]:
    parts = rows.with_columns(month=pl.col("event_date").dt.month_start()).partition_by("month")
    return [set(part["vehicle"].to_list()) for part in parts]


def _shared(sets: list[set[bytes]]) -> int:
    return sum(len(one & other) for one, other in combinations(sets, 2))


def pseudonyms_of(plates: list[str], days: list[str], keys: Keys | None = None) -> dict[tuple[str, str], set[bytes]]:
    """The pseudonyms that the real code gives under ``keys``, known ones unless said: by silo and day."""
    made = {}
    for silo in ("verbalisations", "tows"):
        for day in days:
            when = pl.Series([day]).str.to_date().new_from_index(0, len(plates))
            values = Pseudonymiser(silo, keys or KnownKeys()).pseudonyms("vehicle", pl.Series(plates), when)
            made[silo, day] = set(values.to_list())
    return made
