"""What is true of a generated drop folder: which faults were injected, and what the lake must make of every file."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

Expectation = Literal["refused", "quarantined", "warned", "noted", "no_op", "replaced", "own_period"]
"""How a fault must show.

- refused: the delivery as a whole, by the rule.
- quarantined: each of the rows, by the rule.
- warned: each of the rows is loaded, with the rule as a warning.
- noted: the delivery is loaded, with the rule among its notes.
- no_op: the file is recognised as one that was delivered before.
- replaced: the rows take the place of those with the same keys in an earlier delivery.
- own_period: the rows are loaded under their own day, not that of the delivery.
"""


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Fault(_Model):
    """One injected fault. ``rows`` are record numbers in ``file``, from 1; none when the whole file is at fault."""

    id: str
    kind: str
    silo: str
    file: str
    expect: Expectation
    rule: str | None = None
    rows: tuple[int, ...] = ()


class ExpectedDelivery(_Model):
    """A file of the drop folder and what must become of it once everything is ingested in the order of file names.

    ``quarantined`` are the record numbers that must not be loaded. ``loaded`` counts, per event day, the rows of this
    delivery that are in the lake in the end: those that no later delivery replaced.
    """

    silo: str
    file: str
    delivery_id: str
    refused: str | None
    rows: int
    quarantined: tuple[int, ...]
    loaded: dict[date, int]


class Truth(_Model):
    """Everything injected in a drop folder. Files that repeat another byte for byte are in ``faults`` only."""

    city: str
    seed: int
    start: date
    days: int
    scale: float
    deliveries: tuple[ExpectedDelivery, ...]
    faults: tuple[Fault, ...]

    @property
    def last_day(self) -> date:
        """The last day that anything was delivered of."""
        return self.start + timedelta(days=self.days - 1)

    def save(self, path: Path) -> None:
        """Write the truth as JSON. Keep it out of the drop folder."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(self.model_dump_json(indent=1) + "\n")

    @classmethod
    def read(cls, path: Path) -> Truth:
        return cls.model_validate_json(path.read_bytes())
