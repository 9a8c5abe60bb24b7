"""The receipt of a delivery: what was delivered, what became of every row, and what came out of it."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import date, datetime
from functools import cache
from typing import Any, Literal

import pandera.polars as pa
from minio import Minio

from infra import object_store
from infra.registry import Tally
from ingestion.conformed.committing import Output
from ingestion.contracts import rules
from ingestion.register import Dataset
from ingestion.rows.quarantine import Quarantine

BUCKET = "receipts"
NOTHING = Tally(rows_in=0, accepted=0, quarantined=0, by_rule={}, warnings={})


@dataclass(frozen=True)
class Receipt:
    """What happened to one delivery. Rows, rules and figures only; never a value of the delivery.

    ``rule`` and ``reason`` say why it was refused or parked, ``reason`` also what a sender should know of a committed
    one. ``notes`` are those of :class:`ingestion.formats.opening.Opened`, and ``no_records`` for a header with nothing
    below. ``contracts`` has the version of each model. ``days`` are the event days whose conformed rows changed;
    ``lines`` is how many conformed rows the accepted rows became. ``covers`` are the days that the delivery declares
    its silo complete for; ``undeclared`` says how many of its conformed rows lie on days that nobody had declared when
    it was settled: no build reads them before somebody does. ``seconds`` is by stage. ``replays`` are the times that it
    was conformed again: number, why, who asked, when, and its receipt until then.
    """

    silo: str
    delivery_id: str
    file_name: str
    bytes: int
    landed_at: datetime
    corrects: str | None
    status: Literal["committed", "refused", "parked"]
    seconds: Mapping[str, float]
    rule: str | None = None
    reason: str | None = None
    format: str | None = None
    dataset: str | None = None
    encoding: str | None = None
    notes: tuple[str, ...] = ()
    contracts: Mapping[str, str] = field(default_factory=dict)
    tally: Tally = NOTHING
    lines: int = 0
    days: tuple[date, ...] = ()
    covers: tuple[date, ...] = ()
    undeclared: Mapping[str, int] = field(default_factory=dict)
    snapshot_id: int | None = None
    outputs: tuple[Output, ...] = ()
    quarantine: Quarantine | None = None
    replays: tuple[Mapping[str, Any], ...] = ()

    @property
    def refusal(self) -> str | None:
        """Why nothing of it was loaded, as a sentence with the file's name; None when something was."""
        if self.status == "committed":
            return None
        return f"{self.file_name} ({self.delivery_id[:12]}) is {self.status}: {self.reason or self.rule}"

    def as_json(self) -> dict[str, Any]:
        """The receipt as JSON has it: dates in ISO 8601."""
        tally = asdict(self.tally)
        return {
            **{name: value for name, value in asdict(self).items() if name != "tally"},
            **tally,
            "landed_at": self.landed_at.isoformat(),
            "days": [day.isoformat() for day in self.days],
            "covers": [day.isoformat() for day in self.covers],
            "notes": list(self.notes),
            "replays": [{**replay, "asked_at": replay["asked_at"].isoformat()} for replay in self.replays],
            "outputs": [{**asdict(output), "sha256": output.sha256} for output in self.outputs],
        }


def write(store: Minio, receipt: Receipt) -> str:
    """Store ``receipt`` as ``deliveries/<silo>/<delivery_id>.json``, fields in order of name; its key."""
    key = f"deliveries/{receipt.silo}/{receipt.delivery_id}.json"
    object_store.put_json(store, BUCKET, key, receipt.as_json())
    return key


def contracts(dataset: Dataset) -> dict[str, str]:
    """For each contract of a dataset, a hash that changes with its columns and rules."""
    return {"delivered": _version(dataset.delivered), "conformed": _version(dataset.conformed)}


@cache
def _version(model: type[pa.DataFrameModel]) -> str:
    models = [each for each in model.__mro__ if issubclass(each, pa.DataFrameModel) and each is not pa.DataFrameModel]
    source = "".join(map(inspect.getsource, models)) + inspect.getsource(rules)
    return hashlib.sha256(source.encode()).hexdigest()[:16]
