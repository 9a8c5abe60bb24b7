"""P15: whatever an analyst or the public can read is decided by noisy figures and public facts, and by nothing else.

Marts are published, corrected and partly withdrawn three times: from some exact rows, from the same, and from others.
The noisy figures are the same each time, by the luck of the noise as it were; all else that comes from exact rows
(fingerprints, numbers of rows, commits, the digest of the inputs) is not. Then not one readable byte may differ, but
for what differs between equal inputs too: random names and the time of day.
"""

from __future__ import annotations

import dataclasses
import io
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from unittest import mock

import polars as pl
import psycopg
import pyarrow.parquet as pq

from infra import database, object_store, registry
from infra.settings import Settings
from publication.releases import manifest, release
from stewardship import corrections
from stewardship.site import declared, facts, living
from tests.attacks.findings import Control, Finding
from tests.canaries import Piece

sys.path.insert(0, str(Path(__file__).parents[1] / "publication"))  # its helpers import each other by plain names

import released
import synthetic_marts as marts
from synthetic_marts import CONTRACTS

MARTS = ("fines_by_day", "tows_by_month")
RANDOM = re.compile(
    r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"  # names of files and tables
    r"|\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d[.\d]*(Z|\+00(:00)?)?"  # moments
    r"|datetime\.datetime\([^)]*\)"
    r"|\b\d{13,20}\b"  # ids of snapshots, moments in milliseconds
)


@dataclasses.dataclass(frozen=True)
class Exact:
    """What is exact of one history, in the ways in which it reaches publication."""

    seed: int

    @property
    def build_id(self) -> str:
        return f"{self.seed:016x}"

    @property
    def rows(self) -> int:
        return 1_000 * self.seed + 7


def objects(settings: Settings) -> Iterator[Piece]:
    """Every object that role analyst may get, and its name."""
    store = object_store.client(settings, "analyst")
    for grant in object_store.grants("analyst"):
        for key in object_store.list_keys(store, grant.bucket, grant.prefix):
            yield f"{grant.bucket}/{key}", object_store.get_bytes(store, grant.bucket, key)


def relations(settings: Settings) -> Iterator[Piece]:
    """Every relation of database ``bi`` that role analyst may select from, the server's own included, as text.

    Of the server's own, only what is about the marts, or about other databases.
    """
    with database.connect(settings, "analyst", "bi", autocommit=True) as connection:
        names = connection.execute(
            """
            select nspname, relname from pg_class join pg_namespace on pg_namespace.oid = relnamespace
            where relkind in ('r', 'v', 'm', 'p') and has_table_privilege(pg_class.oid, 'select')
            order by 1, 2
            """
        ).fetchall()
        for schema, name in names:
            try:
                rows = connection.execute(_about_data(schema, name)).fetchall()
            except psycopg.Error:  # a view of what is closed to everybody
                continue
            yield f"bi/{schema}.{name}", "\n".join(map(repr, rows)).encode()


OF_MARTS = {
    "pg_class": "select relname, reltuples from pg_class where relnamespace = 'marts'::regnamespace order by 1",
    "pg_stats": "select tablename, attname, most_common_vals from pg_stats where schemaname = 'marts' order by 1, 2",
    "pg_description": "select description from pg_description join pg_class on pg_class.oid = objoid "
    "where relnamespace = 'marts'::regnamespace order by 1",
}
"""What the server's own relations say of the marts; ids and addresses left out."""


def _about_data(schema: str, name: str) -> str:
    if schema == "marts" or name.startswith(("pg_stat_", "pg_statio_")):
        return f'select * from "{schema}"."{name}"'
    return OF_MARTS.get(name, "select 1 where false")


def pages(settings: Settings) -> Iterator[Piece]:
    """What the pages of the public site are made from."""
    told = facts.for_everybody(living.add(declared.gather(settings), settings)).living
    yield "site", repr(dataclasses.replace(told, as_of=None) if told else None).encode()  # type: ignore[arg-type]


def text(content: bytes) -> str:
    """Content as it can be compared: unpacked, without what is drawn at random or read off a clock."""
    if content[:4] == b"PAR1":
        physical = pq.read_metadata(io.BytesIO(content)).to_dict()
        said = f"{physical} {pl.read_parquet(io.BytesIO(content)).write_csv()}"
    elif content[:4] == b"Obj\x01":  # the length of a manifest depends on the ids in it
        said = str(pl.read_avro(io.BytesIO(content)).drop("manifest_length", strict=False).rows())
    else:
        said = content.decode("utf-8", "replace")
    return RANDOM.sub("?", said)


def read(settings: Settings) -> dict[str, str]:
    """All that can be read, by where it is."""
    found: dict[str, list[str]] = {}
    for source in (objects, relations, pages):
        for where, content in source(settings):
            found.setdefault(RANDOM.sub("?", where), []).append(text(content))
    return {where: "\n".join(sorted(texts)) for where, texts in found.items()}


def history(settings: Settings, scratch: Path, exact: Exact) -> tuple[dict[str, str], dict[str, str]]:
    """Publish, correct and withdraw with the same figures each time, and these exact inputs: what can be read of it.

    Then the same if manifests were published whole, as the registry has them.
    """
    released.wipe(settings)
    with mock.patch.object(marts, "fingerprint", lambda unit, _: f"{exact.seed:032x}{unit.first_day:%Y%m%d}"):
        _publish(settings, scratch, exact, edition=1)
        first_day = marts.units(MARTS[0])[0].first_day
        corrections.correct(settings, MARTS[0], first_day, "a drill")
        _publish(settings, scratch, exact, edition=2)
        release.withdraw(settings, MARTS[1], marts.units(MARTS[1])[0].first_day, "a drill")
    found = read(settings)
    store = object_store.client(settings, "publisher")
    with database.connect(settings, "publisher", "lake") as connection:
        for row in registry.newest_releases(connection).values():
            object_store.put_json(store, manifest.BUCKET, row.manifest_key, row.manifest)
    return found, read(settings)


def _publish(settings: Settings, scratch: Path, exact: Exact, *, edition: int) -> None:
    of = [unit for mart in MARTS[: 3 - edition] for unit in marts.units(mart, edition=edition)]
    if edition == 2:
        of = of[:1]
    build = marts.spec(f"{exact.build_id}{edition}", of)
    frames = {
        mart: marts.make(CONTRACTS[mart], marts.reference(CONTRACTS[mart], build), seed=edition)
        for mart in {unit.mart for unit in of}
    }
    marts.stage(settings, build, frames, scratch, commit_seq=exact.rows, rows=exact.rows)
    if {each.mart for each in release.release(settings, build.build_id)} != set(frames):
        raise AssertionError("nothing was released: there is nothing to compare")


def differences(one: Mapping[str, str], other: Mapping[str, str]) -> list[str]:
    """Where two histories can be told apart."""
    return sorted(where for where in one.keys() | other.keys() if one.get(where) != other.get(where))


def attack(settings: Settings, scratch: Path) -> Finding:
    """P15 on a running lake, which is emptied; broken: manifests with all that is known of a release."""
    (kept, whole), (again, _), (changed, changed_whole) = (history(settings, scratch, Exact(s)) for s in (1, 1, 2))
    unsteady = differences(kept, again)
    found = [where for where in differences(kept, changed) if where not in unsteady]
    broken = differences(whole, changed_whole)
    released.wipe(settings)
    return Finding(
        "P15",
        f"of {len(kept)} readable places, those that tell changed exact counts under the same noisy figures",
        limit=0,
        measured=len(found) + len(unsteady),
        control=Control("manifests with fingerprints and commits", len(set(broken) - set(unsteady)), 1),
        details={"tell": found, "differ each time": unsteady, "control tells": broken},
    )
