"""Which units are due: calendar periods that are over, settled and declared, and that the ledger does not have.

A period is left to settle before it is published, because it is published once. Nothing but a correction that was asked
for ever publishes it again: not rows that come later, nor another version of the code or of the city. What is due never
depends on the rows that came: somebody declared the silo complete for all days of the period, and nothing that was
delivered waits to be read; or a steward says so.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from zoneinfo import ZoneInfo

import psycopg

from infra import registry
from infra.build_spec import Unit
from infra.calendar import clock, days, trusted_clock
from infra.calendar.days import DayRange
from infra.keys.store import open_keys
from infra.settings import Settings
from privacy.plan import Period, Plan
from privacy.spending import Book
from publication.builds.candidates import Mart

ROLE = "publisher"
NOISE = "noise"
"""The name of the keys that noise is drawn with: one per month, of the first day of a unit."""


def today(settings: Settings, time_zone: str) -> date:
    """The day it is in the city.

    Raises:
        infra.calendar.trusted_clock.ClockDoubtedError: the clock is not believed.
    """
    return trusted_clock.now(settings, ROLE).astimezone(ZoneInfo(time_zone)).date()


def month(unit: Unit) -> str:
    """The month whose key draws the noise of a unit, as the key store names it."""
    return f"{unit.first_day:%Y-%m}"


def units(mart: str, release: Period, within: DayRange) -> Iterator[Unit]:
    """The calendar periods that have one of these days, in order."""
    first_day, last_day = _period(release, within.first_day)
    while first_day <= within.last_day:
        yield Unit(mart=mart, first_day=first_day, last_day=last_day)
        first_day, last_day = _period(release, last_day + timedelta(days=1))


def _period(release: Period, day: date) -> tuple[date, date]:
    if release == "day":
        return day, day
    if release == "month":
        first_day = clock.month_start(day)
        return first_day, clock.month_start(first_day + timedelta(days=31)) - timedelta(days=1)
    return clock.quarter_start(day), clock.quarter_end(day)


@dataclass(frozen=True)
class Standing:
    """What is known of a silo: the days that it was declared complete for, and the deliveries whose rows may still
    come, with their file names; ``let_go`` are the days of a period, by its first and last, that need not be covered.
    """

    covered: frozenset[date] = frozenset()
    waiting: Mapping[str, str] = field(default_factory=dict)
    let_go: Mapping[tuple[date, date], frozenset[date]] = field(default_factory=dict)


@dataclass(frozen=True)
class Wait:
    """A period of a silo that is over and settled and not published, and what it waits for.

    ``is_beginning``: for nothing but the days before the first that the silo was ever declared complete for.
    """

    silo: str
    first_day: date
    last_day: date
    missing: tuple[date, ...]
    waiting: Mapping[str, str]
    is_beginning: bool = False

    @property
    def sentence(self) -> str:
        """What it waits for, and exactly what to type."""
        causes, remedies = [], []
        period = DayRange(first_day=self.first_day, last_day=self.last_day)
        if self.missing:
            causes.append(
                f"nobody declared {len(self.missing)} of its {len(period.days)} days ({days.told(self.missing, 3)})"
            )
            told = days.ranges(self.missing)[0]
            remedies.append(f"`calanque cover {self.silo} {told.first_day} {told.last_day} --reason ...` declares days")
        for delivery, name in self.waiting.items():
            causes.append(f"{name} (delivery {delivery[:12]}) was not read yet")
        if self.waiting:
            remedies.append("`calanque run` reads what waits, `calanque replay` what is parked")
        remedies.append(
            f"`calanque publish {self.silo} {self.first_day} {self.last_day} --reason ...` publishes it as it is"
        )
        return f"{self.silo} {period} waits: {'; '.join(causes)}. {'; '.join(remedies)}"


def standings(connection: psycopg.Connection, silos: Collection[str]) -> dict[str, Standing]:
    """How each silo stands now.

    What waits is asked for last: a delivery that is settled in between has declared its days.
    """
    said = registry.go_aheads(connection, silos)
    covered = registry.covered_days(connection, silos)
    waiting = registry.waiting_deliveries(connection, silos)
    let_go: dict[str, dict[tuple[date, date], frozenset[date]]] = {silo: {} for silo in silos}
    for row in said:
        if row.first_day and row.last_day:
            period = (row.first_day, row.last_day)
            let_go[row.silo][period] = let_go[row.silo].get(period, frozenset()) | frozenset(row.missing)
    ignored = {(row.silo, row.delivery_id) for row in said}
    return {
        silo: Standing(
            covered=covered[silo],
            waiting={
                each.delivery_id: each.file_name
                for each in waiting
                if each.silo == silo and (silo, each.delivery_id) not in ignored
            },
            let_go=let_go[silo],
        )
        for silo in silos
    }


def settled(
    plan: Plan,
    marts: Collection[Mart],
    standings: Mapping[str, Standing],
    book: Book,
    *,
    today: date,
    destroyed: Collection[str] = (),
) -> Iterator[tuple[Unit, Wait | None]]:
    """The units that are over, settled and unpublished, by mart and day, each in the edition it is due in; with what
    it waits for, if for anything.

    A unit of which no day is covered is unknown, and not among them. One is due when all its days are covered, or let
    go by a steward, as those are of a correction, which a steward asked for; and when no delivery of its silo waits.
    Months whose key is ``destroyed`` have no noise any more, so nothing of them can be published. A mart that is not in
    the plan may spend nothing: it is never due.
    """
    for mart in sorted(marts, key=lambda mart: mart.name):
        standing = standings.get(mart.silo, Standing())
        if not standing.covered or mart.name not in plan.marts:
            continue
        settling = timedelta(days=plan.budget_of(mart.name).settling_days)
        held = DayRange(first_day=min(standing.covered), last_day=max(standing.covered))
        for unit in units(mart.name, plan.marts[mart.name].release, held):
            edition = book.due_edition(unit.mart, unit.first_day)
            missing = set(clock.days(unit.first_day, unit.last_day)) - standing.covered
            if (
                edition is None
                or unit.last_day + settling >= today
                or month(unit) in destroyed
                or len(missing) > (unit.last_day - unit.first_day).days
            ):
                continue
            if edition > 1:
                missing.clear()
            missing -= standing.let_go.get((unit.first_day, unit.last_day), frozenset())
            wait = Wait(
                silo=mart.silo,
                first_day=unit.first_day,
                last_day=unit.last_day,
                missing=tuple(sorted(missing)),
                waiting=standing.waiting,
                is_beginning=not standing.waiting and max(missing, default=held.first_day) < held.first_day,
            )
            yield unit.model_copy(update={"edition": edition}), wait if missing or standing.waiting else None


def waits(
    plan: Plan,
    marts: Collection[Mart],
    standings: Mapping[str, Standing],
    book: Book,
    *,
    today: date,
    destroyed: Collection[str] = (),
) -> list[Wait]:
    """The periods that are over, settled and not published because they wait, by silo and day, each once."""
    found: dict[tuple[str, date, date], Wait] = {}
    for _, wait in settled(plan, marts, standings, book, today=today, destroyed=destroyed):
        if wait is not None:
            key = (wait.silo, wait.first_day, wait.last_day)
            found[key] = max(wait, found.get(key, wait), key=lambda each: len(each.missing))
    return [found[key] for key in sorted(found)]


def family(plan: Plan, marts: Collection[Mart], name: str) -> list[str]:
    """The marts that are measured together with this one, itself included: those of the same silo and release."""
    silos = {mart.name: mart.silo for mart in marts if mart.name in plan.marts}
    release = plan.marts[name].release
    return sorted(other for other in silos if silos[other] == silos[name] and plan.marts[other].release == release)


def destroyed_months(settings: Settings) -> set[str]:
    """The months for which no noise can be drawn any more."""
    return {state.month for state in open_keys(settings).states() if state.silo == NOISE and state.tombstone}
