"""What a warning says, whoever it reaches and however."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, get_args

Kind = Literal[
    "freshness",
    "volume",
    "quarantine-spike",
    "contract-warning",
    "delivery-parked",
    "delivery-refused",
    "undeclared",
    "period-waits",
    "mart-held",
    "dag-failed",
    "retention-overdue",
    "clock-doubted",
    "lake-restored",
    "ledger-broken",
    "store-down",
    "disk-full",
    "approval-waiting",
]
KINDS: tuple[Kind, ...] = get_args(Kind)
Phase = Literal["begun", "resolved"]


@dataclass(frozen=True)
class BrokenRule:
    """A rule that rows of a delivery broke: ``rows`` of them, the first of which are ``row_numbers``.

    A header is row 1.
    """

    rule: str
    meaning: str  # what it means and what to do about it, as the register says
    rows: int
    row_numbers: tuple[int, ...] = ()


@dataclass(frozen=True)
class Alert:
    """Something that a person has to know of.

    ``kind`` says what sort of thing, and names its runbook; ``key`` which one of that sort. While both stay the same it
    is the same alert, told once. ``owner`` is who has to act: the steward, as a rule. ``details`` are figures and
    names, never a value of a delivery. ``runbook`` is an address; empty: that of the kind.
    """

    kind: Kind
    key: str
    subject: str
    silo_or_mart: str | None
    owner: str
    sentence: str
    details: Mapping[str, Any] = field(default_factory=dict)
    runbook: str = ""
    rules: tuple[BrokenRule, ...] = ()


@dataclass(frozen=True)
class Episode:
    """One line of ``registry.alert``: an alert from when it began until it was resolved."""

    alert_id: int
    kind: str
    key: str
    subject: str
    silo_or_mart: str | None
    owner: str
    sentence: str
    details: dict[str, Any]
    runbook: str
    first_seen: datetime
    last_seen: datetime
    count: int
    resolved_at: datetime | None
    resolved_because: str | None
