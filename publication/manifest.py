"""The manifest of a release: everything needed to verify it, and to finish it after a crash.

Bucket ``lake``, ``releases/<mart>/v<version>.json`` and one Parquet file per quarter, named by its SHA-256. A manifest
lists every quarter of the mart: those it replaced and those it carries over from the version before.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from datetime import date

from pydantic import BaseModel, ConfigDict

from publication.candidates import Column

BUCKET = "lake"
PREFIX = "releases/"


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Quarter(_Model):
    """One quarter of a mart: a Parquet file, with the first and last day of its periods."""

    quarter: date
    key: str
    sha256: str
    rows: int
    period_start: date
    period_end: date


class Inputs(_Model):
    """What a release was built from."""

    build_id: str
    code_version: str
    commit_seq: int
    covered_from: date
    covered_to: date


class Manifest(_Model):
    mart: str
    silo: str
    version: int
    description: str
    grain: tuple[str, ...]
    columns: tuple[Column, ...]
    quarters: tuple[Quarter, ...]
    inputs: Inputs

    @property
    def rows(self) -> int:
        return sum(quarter.rows for quarter in self.quarters)

    @property
    def period_start(self) -> date:
        return min(quarter.period_start for quarter in self.quarters)

    @property
    def period_end(self) -> date:
        return max(quarter.period_end for quarter in self.quarters)

    @property
    def key(self) -> str:
        return f"{PREFIX}{self.mart}/v{self.version}.json"

    @property
    def shape(self) -> tuple[tuple[str, str], ...]:
        """Names and types of the columns."""
        return tuple((column.name, column.type) for column in self.columns)

    @property
    def sha256(self) -> str:
        """The digest of the content: columns and quarters, not who built it, when, or how it is described."""
        content = {
            "mart": self.mart,
            "columns": self.shape,
            "quarters": [[quarter.quarter.isoformat(), quarter.sha256, quarter.rows] for quarter in self.quarters],
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()

    def document(self) -> dict[str, object]:
        """The manifest as published: with its totals and its digest."""
        totals = {
            "rows": self.rows,
            "period_start": self.period_start.isoformat(),
            "period_end": self.period_end.isoformat(),
            "sha256": self.sha256,
        }
        return {**self.model_dump(mode="json"), **totals}

    def changed_since(self, previous: Manifest | None) -> Changes:
        """What must be replaced in a copy of ``previous`` to make it a copy of this; None is an empty copy."""
        if previous is None or previous.shape != self.shape:
            return Changes(everything=True, removed=(), added=self.quarters)
        before = {quarter.quarter: quarter.sha256 for quarter in previous.quarters}
        now = {quarter.quarter: quarter.sha256 for quarter in self.quarters}
        return Changes(
            everything=False,
            removed=tuple(sorted(quarter for quarter, sha256 in before.items() if now.get(quarter) != sha256)),
            added=tuple(quarter for quarter in self.quarters if before.get(quarter.quarter) != quarter.sha256),
        )


class Changes(_Model):
    """Rows to delete (those of the quarters ``removed``, or ``everything``), then quarters to add."""

    everything: bool
    removed: tuple[date, ...]
    added: tuple[Quarter, ...]


def quarter_key(mart: str, quarter: date, sha256: str) -> str:
    return f"{PREFIX}{mart}/quarter={quarter.isoformat()}/{sha256}.parquet"


def merge(previous: Manifest | None, replaced: Iterable[date], quarters: Iterable[Quarter]) -> tuple[Quarter, ...]:
    """The quarters of the next version: ``quarters`` in the place of ``replaced``, the others carried over."""
    gone = set(replaced)
    carried = [quarter for quarter in previous.quarters if quarter.quarter not in gone] if previous else []
    return tuple(sorted([*carried, *quarters], key=lambda quarter: quarter.quarter))
