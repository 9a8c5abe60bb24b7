"""What the ledger holds of publication, and what it refuses: each unit once, corrected once at most, within its budget.

Lines are of four kinds. A ``release`` says that an edition of a unit was published, and what it spent. A ``correction``
asks for the second edition, with a reason. A ``withdrawal`` takes a unit back, and gives back nothing of what it spent.
``late_rows`` tells how many rows came too late for a unit.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from fractions import Fraction
from typing import Any

from infra.build_spec import Unit
from infra.calendar import clock
from infra.errors import ExpectedError
from privacy.ledger import Line
from privacy.plan import CURRENCY, Plan

RELEASE = "release"
CORRECTION = "correction"
WITHDRAWAL = "withdrawal"
LATE_ROWS = "late_rows"


class RefusedError(ExpectedError, RuntimeError):
    """What the ledger does not let happen; the message is the sentence that says why."""


@dataclass(frozen=True)
class Published:
    """One edition of a unit, as its line says it."""

    mart: str
    first_day: date
    last_day: date
    edition: int
    release: int
    fingerprint: str
    sha256: str
    code_version: str
    seq: int


@dataclass
class History:
    """What became of one unit."""

    editions: dict[int, Published] = field(default_factory=dict)
    correction: str | None = None  # why the second edition was asked for
    withdrawn: str | None = None  # why it is not published any more
    late_rows: int = 0

    @property
    def newest(self) -> Published | None:
        return self.editions[max(self.editions)] if self.editions else None


@dataclass(frozen=True)
class Account:
    """One month of one budget, as the lines say it: what first editions spent of the limit, and what corrections spent
    once more.
    """

    budget: str
    unit: str
    currency: str
    month: str
    limit: Fraction
    spent: Fraction
    corrections: Fraction

    @property
    def left(self) -> Fraction:
        return self.limit - self.spent

    @property
    def left_for_corrections(self) -> Fraction:
        return self.limit - self.corrections


def exact(amount: Fraction) -> str:
    """An amount as a decimal that stands for exactly it, or as a fraction when there is none."""
    decimal = Decimal(amount.numerator) / Decimal(amount.denominator)
    return format(decimal.normalize(), "f") if Fraction(decimal) == amount else str(amount)


def period(first_day: date, last_day: date) -> str:
    """A unit's days, for a sentence."""
    return str(first_day) if first_day == last_day else f"{first_day} to {last_day}"


class Book:
    """The state that the lines of the ledger add up to."""

    def __init__(self, lines: Iterable[Line]) -> None:
        self._units: dict[tuple[str, date], History] = {}
        # By budget, month and edition, then by mart: the units of one mart are of different days, so however many of
        # them touch a month, a privacy unit loses no more to the mart than its share, which is of the month.
        self._spent: dict[tuple[str, str, int], dict[str, Fraction]] = defaultdict(dict)
        self._terms: dict[str, tuple[str, str, Fraction]] = {}  # unit, currency and limit of a budget, as told last
        self.add(lines)

    def add(self, lines: Iterable[Line]) -> None:
        """Take more lines into account."""
        for line in lines:
            self._read(line)

    def _read(self, line: Line) -> None:
        if line.kind not in {RELEASE, CORRECTION, WITHDRAWAL, LATE_ROWS}:
            return
        body = line.body
        first_day, last_day = date.fromisoformat(body["first_day"]), date.fromisoformat(body["last_day"])
        unit = self._units.setdefault((body["mart"], first_day), History())
        if line.kind == RELEASE:
            unit.editions[body["edition"]] = Published(
                mart=body["mart"],
                first_day=first_day,
                last_day=last_day,
                edition=body["edition"],
                release=body["release"],
                fingerprint=body["fingerprint"],
                sha256=body["sha256"],
                code_version=body["code_version"],
                seq=line.seq,
            )
            unit.withdrawn = None
            unit.late_rows = 0
            self._terms[body["budget"]] = (body["unit"], body["currency"], Fraction(body["limit"]))
            for month in months(first_day, last_day):
                by_mart = self._spent[body["budget"], month, body["edition"]]
                by_mart[body["mart"]] = max(Fraction(body["spends"]), by_mart.get(body["mart"], Fraction(0)))
        elif line.kind == CORRECTION:
            unit.correction = body["reason"]
        elif line.kind == WITHDRAWAL:
            unit.withdrawn = body["reason"]
        else:
            unit.late_rows = body["rows"]

    def unit(self, mart: str, first_day: date) -> History | None:
        """What became of a unit; None when it was never published."""
        return self._units.get((mart, first_day))

    def edition(self, unit: Unit) -> Published | None:
        """What was published of a unit in its edition."""
        history = self.unit(unit.mart, unit.first_day)
        return history.editions.get(unit.edition) if history else None

    def published(self) -> Iterator[Published]:
        """The newest edition of every unit that is not withdrawn, by mart and day."""
        for _, history in sorted(self._units.items(), key=lambda item: item[0]):
            if history.newest and not history.withdrawn:
                yield history.newest

    def withdrawn(self) -> Iterator[tuple[Published, str]]:
        """The newest edition of every unit that is withdrawn, and why, by mart and day."""
        for _, history in sorted(self._units.items(), key=lambda item: item[0]):
            if history.newest and history.withdrawn:
                yield history.newest, history.withdrawn

    def late(self) -> Iterator[tuple[Published, int]]:
        """The published units that rows came too late for, and how many."""
        for published in self.published():
            if rows := self._units[published.mart, published.first_day].late_rows:
                yield published, rows

    def due_edition(self, mart: str, first_day: date) -> int | None:
        """The edition that a unit is to be published in, or None when nothing of it is."""
        history = self.unit(mart, first_day)
        if history is None:
            return 1
        return 2 if history.correction and 2 not in history.editions else None

    def may_be_corrected(self, mart: str, first_day: date) -> bool:
        """Whether a unit was published and its correction not asked for yet."""
        history = self.unit(mart, first_day)
        return history is not None and history.newest is not None and history.correction is None

    def correctable(self, mart: str, first_day: date) -> Published:
        """The unit whose correction may be asked for, as it is published.

        Raises:
            RefusedError: it was never published, or asked for before, or the ledger is of another currency.
        """
        self.refuse_other_currency()
        history, published = _must_exist(self, mart, first_day)
        if history.correction:
            done = "was made" if 2 in history.editions else "was asked for"
            raise RefusedError(
                f"{mart} of {period(first_day, published.last_day)}: its one correction {done} already: "
                f"{history.correction}"
            )
        return published

    # --- budgets -----------------------------------------------------------------------------------------------------

    def accounts(self) -> list[Account]:
        """Every month of every budget from which something was spent, in order."""
        return [self._account(*each) for each in sorted({(budget, month) for budget, month, _ in self._spent})]

    def _account(self, budget: str, month: str) -> Account:
        unit, currency, limit = self._terms[budget]
        return Account(
            budget=budget,
            unit=unit,
            currency=currency,
            month=month,
            limit=limit,
            spent=self._sum(budget, month, 1),
            corrections=self._sum(budget, month, 2),
        )

    def _sum(self, budget: str, month: str, edition: int) -> Fraction:
        return sum(self._spent.get((budget, month, edition), {}).values(), Fraction(0))

    def committed_to_corrections(self, plan: Plan, budget: str, month: str) -> Fraction:
        """What corrections of a month have spent of a budget, and will: those asked for and not made yet count."""
        by_mart = dict(self._spent.get((budget, month, 2), {}))
        for (mart, first_day), history in self._units.items():
            share, first = plan.marts.get(mart), history.editions.get(1)
            waits = history.correction is not None and 2 not in history.editions
            if waits and first and share and share.budget == budget and month in months(first_day, first.last_day):
                by_mart.setdefault(mart, share.spends)
        return sum(by_mart.values(), Fraction(0))

    def refuse_other_currency(self) -> None:
        """Let nothing new be published, or asked for, when lines spend in another currency than this version does.

        Raises:
            RefusedError: some do; the message says what stays and what to do.
        """
        others = sorted({currency for _, currency, _ in self._terms.values()} - {CURRENCY})
        if others:
            from_then_on = clock.add_months(date.fromisoformat(f"{max(month for _, month, _ in self._spent)}-01"), 1)
            raise RefusedError(
                f"nothing more is published by this lake: its ledger counts in {' and '.join(others)}, this version of "
                f"Calanque in {CURRENCY}, and the two cannot be added up to one promise. What was published stays, and "
                f"`calanque ledger` goes on verifying it. Begin another lake (another CALANQUE_HOME) and deliver to it "
                f"what happens from {from_then_on} on: the months before have spent their budgets here"
            )

    # --- what is refused ---------------------------------------------------------------------------------------------

    def is_new(self, plan: Plan, unit: Unit, fingerprint: str, sha256: str) -> bool:
        """Whether publishing this is something new; False when exactly this was published before.

        Raises:
            RefusedError: it may not be published.
        """
        history = self.unit(unit.mart, unit.first_day)
        days = period(unit.first_day, unit.last_day)
        if before := self.edition(unit):
            if before.fingerprint != fingerprint:
                raise RefusedError(
                    f"{unit.mart} of {days}: the input changed since edition {unit.edition} was published, which is "
                    f"never published anew; {_remedy(unit)}"
                )
            if before.sha256 != sha256:
                raise RefusedError(
                    f"{unit.mart} of {days}: the same input gave another file than edition {unit.edition} as it was "
                    f"published, so the code, the city or the key of its noise changed; {_remedy(unit)}"
                )
            return False
        self.refuse_other_currency()
        if unit.edition == 1 and history:
            raise RefusedError(f"{unit.mart} of {days}: edition 1 comes after its correction")
        if unit.edition > 1:
            self._allow_correction(unit, history, days)
        if unit.mart not in plan.marts:
            raise RefusedError(f"{unit.mart} has no share of any budget: declare it in vars.privacy of the dbt project")
        self._refuse_overlap(unit, days)
        self._refuse_overdraft(plan, unit, days)
        return True

    def _allow_correction(self, unit: Unit, history: History | None, days: str) -> None:
        if unit.edition > 2:
            raise RefusedError(
                f"{unit.mart} of {days}: edition {unit.edition} is one too many: a unit is corrected once"
            )
        if history is None or 1 not in history.editions:
            raise RefusedError(f"{unit.mart} of {days}: there is no edition 1 to be corrected by edition 2")
        if not history.correction:
            raise RefusedError(
                f"{unit.mart} of {days}: edition 2 needs a reason: ask for it with "
                f"`calanque correct {unit.mart} {unit.first_day} --reason ...`"
            )

    def _refuse_overlap(self, unit: Unit, days: str) -> None:
        for (mart, first_day), history in self._units.items():
            if mart != unit.mart or first_day == unit.first_day or not (other := history.newest):
                continue
            if first_day <= unit.last_day and unit.first_day <= other.last_day:
                raise RefusedError(
                    f"{mart} of {days} has days in common with {period(first_day, other.last_day)}, which was "
                    "published: a mart whose periods change needs another name"
                )

    def _refuse_overdraft(self, plan: Plan, unit: Unit, days: str) -> None:
        share = plan.marts[unit.mart]
        budget = plan.budgets[share.budget]
        for month in months(unit.first_day, unit.last_day):
            by_mart = self._spent.get((share.budget, month, unit.edition), {})
            others = sum((spent for mart, spent in by_mart.items() if mart != unit.mart), Fraction(0))
            if others + max(share.spends, by_mart.get(unit.mart, Fraction(0))) > budget.limit:
                what = "corrections" if unit.edition > 1 else "other marts"
                raise RefusedError(
                    f"{unit.mart} of {days}: budget {share.budget} would be overdrawn: of {exact(budget.limit)} "
                    f"{CURRENCY} per {budget.unit}, {what} have spent {exact(others)} in {month}, and this "
                    f"needs {exact(share.spends)}"
                )


def _remedy(unit: Unit) -> str:
    if unit.edition > 1:
        return "its one correction was made already: it stays as it is"
    return f"`calanque correct {unit.mart} {unit.first_day} --reason ...` asks for its one correction"


def months(first_day: date, last_day: date) -> Iterator[str]:
    """The months that have one of these days, in order."""
    month = clock.month_start(first_day)
    while month <= last_day:
        yield f"{month:%Y-%m}"
        month = clock.add_months(month, 1)


# --- lines -----------------------------------------------------------------------------------------------------------


def release_line(
    plan: Plan, unit: Unit, *, release: int, fingerprint: str, sha256: str, code_version: str, reason: str | None
) -> tuple[str, Mapping[str, Any]]:
    """The line of an edition that is published, with what it spends as the plan declares it."""
    share = plan.marts[unit.mart]
    budget = plan.budgets[share.budget]
    return RELEASE, {
        **_unit(unit.mart, unit.first_day, unit.last_day, unit.edition),
        "release": release,
        "fingerprint": fingerprint,
        "sha256": sha256,
        "budget": share.budget,
        "unit": budget.unit,
        "currency": CURRENCY,
        "limit": exact(budget.limit),
        "spends": exact(share.spends),
        "bound": share.bound,
        "threshold": share.threshold,
        "code_version": code_version,
        "reason": reason,
    }


def correction_line(book: Book, mart: str, first_day: date, reason: str) -> tuple[str, Mapping[str, Any]]:
    """The line that asks for the correction of a published unit.

    Raises:
        RefusedError: it was never published, or asked for before, or the ledger is of another currency.
    """
    first = book.correctable(mart, first_day)
    return CORRECTION, {**_unit(mart, first_day, first.last_day, 2), "reason": _said(reason)}


def withdrawal_line(book: Book, mart: str, first_day: date, release: int, reason: str) -> tuple[str, Mapping[str, Any]]:
    """The line that takes a published unit back.

    Raises:
        RefusedError: it was never published, or is withdrawn already.
    """
    history, newest = _must_exist(book, mart, first_day)
    if history.withdrawn:
        raise RefusedError(f"{mart} of {period(first_day, newest.last_day)} is withdrawn already: {history.withdrawn}")
    return WITHDRAWAL, {
        **_unit(mart, first_day, newest.last_day, newest.edition),
        "release": release,
        "sha256": [history.editions[edition].sha256 for edition in sorted(history.editions)],
        "reason": _said(reason),
    }


def late_line(mart: str, first_day: date, last_day: date, edition: int, rows: int) -> tuple[str, Mapping[str, Any]]:
    """The line that tells how many rows of a unit's days came after it was built."""
    return LATE_ROWS, {**_unit(mart, first_day, last_day, edition), "rows": rows}


def _must_exist(book: Book, mart: str, first_day: date) -> tuple[History, Published]:
    history = book.unit(mart, first_day)
    if history is None or history.newest is None:
        raise RefusedError(
            f"no unit of {mart} that begins on {first_day} was ever published; `calanque ledger --json` lists them"
        )
    return history, history.newest


def _said(reason: str) -> str:
    if not reason.strip():
        raise RefusedError("a reason is needed: say in a sentence why, for whoever reads the ledger later")
    return " ".join(reason.split())


def _unit(mart: str, first_day: date, last_day: date, edition: int) -> dict[str, Any]:
    return {
        "mart": mart,
        "first_day": first_day.isoformat(),
        "last_day": last_day.isoformat(),
        "edition": edition,
    }
