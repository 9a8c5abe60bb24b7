"""How well a lake coped with a generated drop folder: faults found, and sound rows or deliveries turned away.

Pure functions over plain tables, so that any way of ingesting can be scored; see :mod:`calanque.demo.outcome` for
reading them from a lake.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import polars as pl

from calanque.demo.truth import Expectation, ExpectedDelivery, Fault, Truth

DELIVERIES = pl.Schema(
    [
        ("silo", pl.String),
        ("delivery_id", pl.String),
        ("file_name", pl.String),
        ("status", pl.String),
        ("rule", pl.String),
        ("notes", pl.List(pl.String)),
    ]
)
REJECTS = pl.Schema(
    {"silo": pl.String, "delivery_id": pl.String, "row": pl.Int64, "rule": pl.String, "severity": pl.String}
)
LOADED = pl.Schema({"silo": pl.String, "delivery_id": pl.String, "event_date": pl.Date, "rows": pl.Int64})


@dataclass(frozen=True)
class Outcome:
    """What a lake made of its deliveries.

    ``deliveries`` (:data:`DELIVERIES`): one line per settled delivery, ``rule`` being that of a refusal. ``rejects``
    (:data:`REJECTS`): every rule that a row broke, severity ``error`` or ``warning``. ``loaded`` (:data:`LOADED`): rows
    of the conformed table by delivery and event day.
    """

    deliveries: pl.DataFrame
    rejects: pl.DataFrame
    loaded: pl.DataFrame


@dataclass(frozen=True)
class Score:
    """``found`` and ``injected`` count faults by silo and kind; ``complaints`` are sentences, one per shortcoming.

    ``sound_rows`` and ``sound_deliveries`` are those that should have been accepted; ``false_rows`` and
    ``false_deliveries`` those of them that were turned away; ``misplaced_rows`` the rows missing from a day of a
    conformed table, or too many there.
    """

    injected: Counter[tuple[str, str]]
    found: Counter[tuple[str, str]]
    sound_rows: int
    false_rows: int
    sound_deliveries: int
    false_deliveries: int
    misplaced_rows: int
    complaints: tuple[str, ...]

    @property
    def detection(self) -> float:
        """Share of the injected faults that were found; 1 when none was injected."""
        return self.found.total() / self.injected.total() if self.injected else 1.0

    @property
    def is_perfect(self) -> bool:
        return not self.complaints

    def table(self) -> str:
        """The score as text for people."""
        wide = max((len(f"{silo}{kind}") for silo, kind in self.injected), default=0) + 2
        lines = [
            f"{f'{silo}  {kind}':<{wide}}  {self.found[silo, kind]} of {count} found"
            for (silo, kind), count in sorted(self.injected.items())
        ]
        return "\n".join(
            [
                *lines,
                f"faults found: {self.found.total()} of {self.injected.total()} ({self.detection:.1%})",
                f"sound rows turned away: {self.false_rows} of {self.sound_rows}",
                f"sound deliveries turned away: {self.false_deliveries} of {self.sound_deliveries}",
                f"rows missing or too many in the lake: {self.misplaced_rows}",
                *self.complaints,
            ]
        )


class _Seen:
    """An outcome, looked up by delivery."""

    def __init__(self, outcome: Outcome) -> None:
        self.deliveries = {(line["silo"], line["delivery_id"]): line for line in outcome.deliveries.to_dicts()}
        self.files = Counter(outcome.deliveries.select("silo", "file_name").iter_rows())
        self._rejects = outcome.rejects.partition_by("silo", "delivery_id", as_dict=True)
        self._loaded = outcome.loaded.partition_by("silo", "delivery_id", as_dict=True)

    def rows(self, delivery: ExpectedDelivery, severity: str, rule: str | None = None) -> set[int]:
        """Record numbers rejected with ``severity``, by ``rule`` or by any."""
        rejects = self._rejects.get((delivery.silo, delivery.delivery_id), pl.DataFrame(schema=REJECTS))
        asked = pl.col("severity") == severity
        return set(rejects.filter(asked if rule is None else asked & (pl.col("rule") == rule))["row"])

    def misplaced(self, delivery: ExpectedDelivery) -> int:
        """How many rows of a delivery are missing from the conformed table or too many, day by day."""
        lines = self._loaded.get((delivery.silo, delivery.delivery_id), pl.DataFrame(schema=LOADED))
        loaded = dict(lines.select("event_date", "rows").iter_rows())
        days = {*loaded, *delivery.loaded}
        return sum(abs(loaded.get(day, 0) - delivery.loaded.get(day, 0)) for day in days)


def score(truth: Truth, outcome: Outcome) -> Score:
    """Compare what a lake made of a drop folder with the truth about it; its other deliveries are not looked at."""
    seen = _Seen(outcome)
    by_file = {(delivery.silo, delivery.file): delivery for delivery in truth.deliveries}
    injected = Counter((fault.silo, fault.kind) for fault in truth.faults)
    missed = [fault for fault in truth.faults if not _is_found(fault, by_file.get((fault.silo, fault.file)), seen)]
    found = injected - Counter((fault.silo, fault.kind) for fault in missed)

    sound = [delivery for delivery in truth.deliveries if delivery.refused is None]
    lost = [delivery for delivery in sound if _status(delivery, seen) != "committed"]
    false_rows = {delivery.file: seen.rows(delivery, "error") - set(delivery.quarantined) for delivery in sound}
    misplaced = {delivery.file: seen.misplaced(delivery) for delivery in truth.deliveries}
    complaints = [
        *(f"{fault.silo}/{fault.file}: {fault.kind} ({fault.id}) was not {_expected(fault)}" for fault in missed),
        *(f"{each.silo}/{each.file}: a sound delivery was {_status(each, seen)}" for each in lost),
        *(f"{file}: {len(rows)} sound rows were turned away" for file, rows in false_rows.items() if rows),
        *(f"{file}: {rows} rows are missing or too many in the lake" for file, rows in misplaced.items() if rows),
    ]
    return Score(
        injected=injected,
        found=found,
        sound_rows=sum(delivery.rows - len(delivery.quarantined) for delivery in sound),
        false_rows=sum(map(len, false_rows.values())),
        sound_deliveries=len(sound),
        false_deliveries=len(lost),
        misplaced_rows=sum(misplaced.values()),
        complaints=tuple(complaints),
    )


def _status(delivery: ExpectedDelivery, seen: _Seen) -> str:
    line = seen.deliveries.get((delivery.silo, delivery.delivery_id))
    return "never settled" if line is None else str(line["status"])


def _is_found(fault: Fault, delivery: ExpectedDelivery | None, seen: _Seen) -> bool:
    if fault.expect == "no_op":
        # The file repeats another, so it is no delivery of its own; that nothing was doubled shows in the rows loaded.
        return seen.files[fault.silo, fault.file] == 0
    line = seen.deliveries.get((delivery.silo, delivery.delivery_id)) if delivery else None
    if delivery is None or line is None:
        return False
    rows, errors = set(fault.rows), seen.rows(delivery, "error")
    shows: dict[Expectation, bool] = {
        "refused": line["rule"] == fault.rule,
        "quarantined": rows <= seen.rows(delivery, "error", fault.rule),
        "warned": rows <= seen.rows(delivery, "warning", fault.rule) and not rows & errors,
        "noted": fault.rule in line["notes"],
        "replaced": seen.misplaced(delivery) == 0 and not rows & errors,
        "own_period": seen.misplaced(delivery) == 0 and not rows & errors,
    }
    return shows[fault.expect] and line["status"] == ("refused" if fault.expect == "refused" else "committed")


def _expected(fault: Fault) -> str:
    said = {
        "refused": f"refused by {fault.rule}",
        "quarantined": f"quarantined by {fault.rule}",
        "warned": f"accepted with the warning {fault.rule}",
        "noted": f"noted as {fault.rule}",
        "no_op": "recognised as delivered before",
        "replaced": "seen to replace the rows it corrects",
        "own_period": "loaded under its own days",
    }
    return said[fault.expect]
