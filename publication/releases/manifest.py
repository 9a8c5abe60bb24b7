"""The manifest of a release: everything needed to verify it, and to finish it after a crash.

The registry holds it whole. Bucket ``lake``, ``releases/<mart>/v<version>.json``, has what readers may see of it, with
one Parquet file per unit, named by its SHA-256. A manifest lists every unit of the mart: those it adds and those it
carries over, unchanged, from the version before.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from datetime import date

from pydantic import BaseModel, ConfigDict

from infra.build_spec import Edition
from infra.calendar.days import DayRange
from infra.contract_versions import Document
from publication.builds.candidates import Column

BUCKET = "lake"
PREFIX = "releases/"


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Part(_Model):
    """One unit of a mart: a Parquet file, with the first and last day of its periods.

    ``first_day`` and ``last_day`` are those of the unit; every ``period_start`` of its rows lies between them.
    ``fingerprint`` stands for the exact counts it was made from: equal inputs have equal ones. It is never published.
    ``days_covered`` is how many of the unit's days somebody had declared; None: published before days were declared.
    ``fitted_to`` are the published months whose totals a quarter adds up to: a later correction of one does not change
    it.
    """

    first_day: date
    last_day: date
    edition: int
    key: str
    sha256: str
    rows: int
    period_start: date
    period_end: date
    fingerprint: str
    days_covered: int | None = None
    fitted_to: tuple[Edition, ...] = ()

    @property
    def days(self) -> DayRange:
        return DayRange(first_day=self.first_day, last_day=self.last_day)


class Inputs(_Model):
    """What a release was built from. Only ``code_version`` may be read outside: exact rows decide the rest.

    Manifests of older releases of Calanque say more.
    """

    model_config = ConfigDict(extra="ignore")

    build_id: str
    code_version: str
    commit_seq: int


class Manifest(_Model):
    """One version of a mart. ``contract`` is what readers of it may rely on; None: released before it was recorded."""

    mart: str
    silo: str
    version: int
    description: str
    grain: tuple[str, ...]
    columns: tuple[Column, ...]
    parts: tuple[Part, ...]
    inputs: Inputs
    contract: Document | None = None

    @property
    def rows(self) -> int:
        return sum(part.rows for part in self.parts)

    @property
    def period_start(self) -> date | None:
        """The first day of its first period; None when every unit was withdrawn."""
        return min((part.period_start for part in self.parts), default=None)

    @property
    def period_end(self) -> date | None:
        """The last day of its last period; None when every unit was withdrawn."""
        return max((part.period_end for part in self.parts), default=None)

    @property
    def days_in_period(self) -> int:
        """How many days its periods have, together."""
        return sum(len(part.days) for part in self.parts)

    @property
    def days_covered(self) -> int | None:
        """How many of these days somebody had declared; None when that is not known of all of them."""
        known = [part.days_covered for part in self.parts if part.days_covered is not None]
        return sum(known) if len(known) == len(self.parts) else None

    @property
    def key(self) -> str:
        return f"{PREFIX}{self.mart}/v{self.version}.json"

    @property
    def shape(self) -> tuple[tuple[str, str], ...]:
        """Names and types of the columns."""
        return tuple((column.name, column.type) for column in self.columns)

    @property
    def sha256(self) -> str:
        """The digest of the content: columns and units, not who built it, when, or how it is described."""
        content = {
            "mart": self.mart,
            "columns": self.shape,
            "units": [[part.first_day.isoformat(), part.edition, part.sha256, part.rows] for part in self.parts],
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()

    def document(self) -> dict[str, object]:
        """What readers may see: noisy figures and public facts decide all of it. With its totals and its digest."""
        published = self.model_dump(mode="json", exclude={"inputs": True, "parts": {"__all__": {"fingerprint"}}})
        totals = {
            "rows": self.rows,
            "period_start": self.period_start.isoformat() if self.period_start else None,
            "period_end": self.period_end.isoformat() if self.period_end else None,
            "days_covered": self.days_covered,
            "days_in_period": self.days_in_period,
            "sha256": self.sha256,
            "code_version": self.inputs.code_version,
        }
        return {**published, **totals}

    def changed_since(self, previous: Manifest | None) -> Changes:
        """What must be replaced in a copy of ``previous`` to make it a copy of this; None is an empty copy."""
        if previous is None or previous.shape != self.shape:
            return Changes(everything=True, removed=(), added=self.parts)
        before = {part.days: part.sha256 for part in previous.parts}
        now = {part.days: part.sha256 for part in self.parts}
        return Changes(
            everything=False,
            removed=tuple(days for days, sha256 in before.items() if now.get(days) != sha256),
            added=tuple(part for part in self.parts if before.get(part.days) != part.sha256),
        )


class Changes(_Model):
    """Rows to delete (those whose period begins within ``removed``, or ``everything``), then parts to add."""

    everything: bool
    removed: tuple[DayRange, ...]
    added: tuple[Part, ...]


def part_key(mart: str, first_day: date | str, sha256: str) -> str:
    return f"{folder(mart, first_day)}{sha256}.parquet"


def folder(mart: str, first_day: date | str) -> str:
    """Where the files of all editions of a unit are; ``first_day`` as a date, or as it is written."""
    return f"{PREFIX}{mart}/unit={first_day}/"


def merge(previous: Manifest | None, replaced: Iterable[date], parts: Iterable[Part]) -> tuple[Part, ...]:
    """The parts of the next version: ``parts``, and those before but for the units that begin on ``replaced``."""
    gone = set(replaced)
    carried = [part for part in previous.parts if part.first_day not in gone] if previous else []
    return tuple(sorted([*carried, *parts], key=lambda part: part.first_day))
