"""What stewards say of the days of a silo: that it is complete for some, that this was a mistake, that a period is to
be published as it is, that a delivery is not waited for. Each is asked as :mod:`stewardship.approvals` says, and
recorded.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

import psycopg

from infra import catalog, database, registry
from infra.build_spec import CityReference
from infra.calendar import days
from infra.calendar.days import DayRange
from infra.city.profile import load_city
from infra.settings import Settings
from ingestion.conformed import undeclared
from ingestion.register import references
from privacy import ledger
from privacy.plan import plan
from privacy.spending import Book, RefusedError, period
from publication import settling
from publication.builds import project
from publication.releases.release import LOCK
from stewardship import approvals
from stewardship.approvals import Approval

ROLE = approvals.ROLE


@dataclass(frozen=True)
class Cover:
    """The days of a silo that are declared; or, when it does not ``covers`` them, taken back."""

    silo: str
    days: tuple[date, ...]
    covers: bool = True

    @property
    def subject(self) -> str:
        """What the question is called."""
        return f"{self.silo} {days.told(self.days)}{'' if self.covers else ' taken back'}"


@dataclass(frozen=True)
class GoAhead:
    """A period of a silo that is published as it is; or, without one, a delivery that none waits for."""

    silo: str
    period: DayRange | None = None
    delivery: str | None = None

    @classmethod
    def of(cls, asked: Mapping[str, Any]) -> GoAhead:
        """What the parameters ``silo``, ``first`` and ``last``, or ``without``, ask for.

        Raises:
            RefusedError: neither a period nor a delivery, or both.
        """
        first, last, without = asked["first"], asked["last"] or asked["first"], asked["without"]
        if bool(first) == bool(without):
            raise RefusedError("name a period by its first and last day, or a delivery")
        if without:
            return cls(asked["silo"], delivery=without)
        return cls(asked["silo"], _range(f"{first}/{last}"))

    @property
    def subject(self) -> str:
        """What the question is called."""
        return f"{self.silo} {self.period or f'without {self.delivery}'}"


def asked(settings: Settings, said: Mapping[str, Any]) -> Cover:
    """The days from ``first`` to ``last`` of ``silo``, both included, but those that ``but`` names (days or first/last
    days, with commas between), declared or, to ``take_back``, not; without them, those that were :func:`seen`.

    Raises:
        RefusedError: these are no days.
    """
    first, last, but = said["first"], said["last"] or said["first"], said["but"]
    if not first:
        return _seen(settings, said["silo"])
    excepted = {day for each in but.split(",") if each.strip() for day in _range(each).days}
    days_asked = tuple(day for day in _range(f"{first}/{last}").days if day not in excepted)
    return Cover(said["silo"], days_asked, covers=not said["take_back"])


def _range(text: str) -> DayRange:
    try:
        return days.read(text)
    except ValueError as error:
        raise RefusedError(str(error)) from None


def _seen(settings: Settings, silo: str) -> Cover:
    """The days that are over, were not declared, and of which the lake holds rows."""
    today = _today(settings)
    with database.connect(settings, ROLE, catalog.DATABASE) as connection:
        found = undeclared.rows(settings, connection, [silo], ROLE)[silo]
    over = tuple(day for day in found if day < today)
    if not over:
        raise RefusedError(f"the lake holds no rows of {silo} on days that nobody declared")
    return Cover(silo, over)


def propose_cover(settings: Settings, cover: Cover, reason: str) -> str:
    """What a declaration would say, beside what was seen, in Markdown, for whoever has to approve it.

    Raises:
        RefusedError: it is not possible, so nobody need be asked.
    """
    with database.connect(settings, ROLE, catalog.DATABASE) as connection:
        _allow(settings, connection, cover)
        datasets = set(registry.datasets(connection, [cover.silo])) - references()
        held = catalog.rows_by_day(
            catalog.open_catalog(settings, ROLE), datasets, min(cover.days, default=None), max(cover.days, default=None)
        )
    empty = [day for day in cover.days if not held.get(day)]
    said = (
        f"**{cover.silo} is complete for {len(cover.days):,} days.** What there is of them is published when their "
        "periods are over and settled; a day without rows counts as zero."
        if cover.covers
        else f"**{cover.silo} is not complete for {len(cover.days):,} days after all.** Nothing of them is published "
        "until somebody declares them again."
    )
    lines = [said, "", f"*Reason given:* {reason}", "", "| days | rows that the lake holds |", "|---|---|"]
    lines += [f"| {each} | {sum(held.get(day, 0) for day in each.days):,} |" for each in days.ranges(cover.days)]
    if empty:
        lines += ["", f"Of {len(empty):,} of these days the lake holds no row: {days.told(empty)}."]
    return "\n".join(lines)


def carry_out_cover(settings: Settings, approval: Approval, cover: Cover) -> bool:
    """Record the answer and, when it is yes, the declaration; whether it is one.

    Repeated after a kill, it does what is left to do.

    Raises:
        RefusedError: it is not possible any more.
    """
    recorded = approvals.record(settings, approval)
    if not recorded.approved:
        return False
    with (
        database.connect(settings, ROLE, catalog.DATABASE, autocommit=True) as connection,
        registry.locked(connection, LOCK),  # nothing is made ready to be published meanwhile
    ):
        if any(row.said_by == _by(recorded) for row in registry.covers(connection, cover.silo)):
            return True  # by an earlier attempt at this very task
        _allow(settings, connection, cover)
        registry.declare(
            connection,
            cover.silo,
            cover.days,
            covers=cover.covers,
            source="steward",
            said_by=_by(recorded),
            said_at=recorded.decided_at,
            reason=recorded.reason,
        )
    return True


def propose_go_ahead(settings: Settings, asked: GoAhead, reason: str) -> str:
    """What would be published without what, in Markdown, for whoever has to approve it.

    Raises:
        RefusedError: there is nothing that waits.
    """
    with database.connect(settings, ROLE, catalog.DATABASE) as connection:
        if asked.period is None:
            waiting = _delivery(connection, asked)
            said = (
                f"**Periods of {asked.silo} are published without {waiting.file_name}** (delivery "
                f"{waiting.delivery_id[:12]}), which was not read. What of it is read later comes too late for them."
            )
        else:
            missing = _missing(settings, connection, asked.silo, asked.period)
            covered = len(asked.period) - len(missing)
            said = (
                f"**{asked.silo} of {asked.period} is published from {covered:,} of its {len(asked.period):,} days.** "
                f"The figures say so. Missing: {days.told(missing)}. What comes of these days later is published by a "
                "correction only."
            )
    return f"{said}\n\n*Reason given:* {reason}"


def carry_out_go_ahead(settings: Settings, approval: Approval, asked: GoAhead) -> bool:
    """Record the answer and, when it is yes, that publication need not wait; whether it need not.

    Raises:
        RefusedError: there is nothing that waits any more.
    """
    recorded = approvals.record(settings, approval)
    if not recorded.approved:
        return False
    with database.connect(settings, ROLE, catalog.DATABASE) as connection:
        if all(row.said_by != _by(recorded) for row in registry.go_aheads(connection, [asked.silo])):
            row = registry.GoAheadRow(
                silo=asked.silo,
                missing=_missing(settings, connection, asked.silo, asked.period) if asked.period else [],
                first_day=asked.period.first_day if asked.period else None,
                last_day=asked.period.last_day if asked.period else None,
                delivery_id=None if asked.period else _delivery(connection, asked).delivery_id,
                said_by=_by(recorded),
                said_at=recorded.decided_at,
                reason=recorded.reason,
            )
            registry.add_go_ahead(connection, row)
    return True


def _by(recorded: Approval) -> str:
    """Who said it, and in answer to what: an attempt that is repeated finds what it did before by it."""
    return f"{recorded.decided_by} ({recorded.reference})"


def _today(settings: Settings) -> date:
    return settling.today(settings, load_city(settings).time_zone)


def _allow(settings: Settings, connection: psycopg.Connection, cover: Cover) -> None:
    """Refuse days that are not over; and, when they are taken back, days that are not declared, or published."""
    if not cover.days:
        raise RefusedError("no day is left: name days, or fewer exceptions")
    if cover.covers:
        if cover.days[-1] >= _today(settings):
            raise RefusedError(f"{cover.days[-1]} is not over: nothing is complete for it yet")
        return
    strange = set(cover.days) - registry.covered_days(connection, [cover.silo])[cover.silo]
    if strange:
        raise RefusedError(
            f"nobody declared {cover.silo} complete for {days.told(strange)}: nothing is to be taken back"
        )
    silos = {name: row.manifest["silo"] for name, row in registry.newest_releases(connection).items()}
    without = {(row.mart, row.first_day): set(row.missing) for row in registry.units(connection)}
    book = Book(ledger.lines(connection))
    for each in [*book.published(), *(one for one, _ in book.withdrawn())]:
        used = set(days.within(cover.days, each.first_day, each.last_day)) - without.get(
            (each.mart, each.first_day), set()
        )
        if used and silos.get(each.mart) == cover.silo:
            raise RefusedError(
                f"{each.mart} of {period(each.first_day, each.last_day)} was published with {days.told(used)}: what is "
                "known cannot be taken back; `calanque correct` publishes it again, from what the lake holds by then"
            )


def _delivery(connection: psycopg.Connection, asked: GoAhead) -> registry.DeliveryRow:
    """The delivery that is not to be waited for.

    Raises:
        RefusedError: no delivery that waits is called so, or several are.
    """
    waiting = registry.waiting_deliveries(connection, [asked.silo])
    found = [each for each in waiting if asked.delivery and each.delivery_id.startswith(asked.delivery)]
    if len(found) != 1:
        raise RefusedError(
            f"{len(found)} deliveries of {asked.silo} that wait to be read begin with {asked.delivery!r}: `calanque "
            "report` shows what waits"
        )
    return found[0]


def _missing(settings: Settings, connection: psycopg.Connection, silo: str, asked: DayRange) -> list[date]:
    """The days that a period waits for.

    Raises:
        RefusedError: there is no such period, or it waits for none.
    """
    declared = project.load(settings, CityReference.of(load_city(settings)))
    standings = settling.standings(connection, [silo])
    book = Book(ledger.lines(connection))
    waits = settling.waits(plan(), declared.marts.values(), standings, book, today=_today(settings))
    for wait in waits:
        if (wait.first_day, wait.last_day) == (asked.first_day, asked.last_day) and wait.missing:
            return list(wait.missing)
    raise RefusedError(
        f"no period of {silo} is from {asked.first_day} to {asked.last_day} and waits for days: `calanque report` "
        "shows what waits"
    )
