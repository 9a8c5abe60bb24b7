"""Whether a candidate may be released: its contract, and the personal-data gate on its file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pyarrow as pa
from minio import Minio

from infra import object_store
from infra.city.profile import City
from publication import contracts
from publication.builds import candidates
from publication.builds.candidates import Build, BuiltMart
from publication.contracts import Contract, Reference, Violation
from publication.releases import pii_scan


@dataclass(frozen=True)
class Verdict:
    """What was found about one candidate; ``frame`` are its rows when nothing was."""

    built: BuiltMart
    contract: Contract | None
    violations: tuple[Violation, ...]
    frame: pl.DataFrame | None


def judge(store: Minio, city: City, build: Build, built: BuiltMart, scratch: Path) -> Verdict:
    """Check one candidate. The gate comes first: a file that may hold personal data is not loaded any further."""
    mart = built.mart.name
    try:
        contract = contracts.of(mart)
    except contracts.NoContractError:
        return Verdict(built, None, (Violation("contract_missing", None, None),), None)
    path = scratch / f"{mart}.candidate.parquet"
    object_store.get_file(store, candidates.BUCKET, candidates.key(build.build_id, mart), path)
    try:
        if object_store.digest_file(path)[0] != built.sha256:
            return Verdict(built, contract, (Violation("candidate_changed_since_its_build", None, None),), None)
        reference = Reference.of(build.spec, mart, built.mart.silo, build.places)
        try:
            violations = pii_scan.scan(path, contract, city.plates, pii_scan.Public.of(contract, reference))
        except pa.ArrowInvalid:
            return Verdict(built, contract, (Violation("candidate_unreadable", None, None),), None)
        if violations:
            return Verdict(built, contract, tuple(violations), None)
        frame = pl.read_parquet(path)
        violations = contracts.check(contract, frame, reference)
        return Verdict(built, contract, tuple(violations), None if violations else frame)
    finally:
        path.unlink(missing_ok=True)
