"""Which units are due: calendar periods that are over, settled and covered, and that the ledger does not have.

A period is left to settle before it is published, because it is published once. Nothing but a correction that was asked
for ever publishes it again: not rows that come later, nor another version of the code or of the city.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from datetime import date, timedelta
from zoneinfo import ZoneInfo

from infra import clock, trusted_clock
from infra.build_spec import DayRange, Unit
from infra.keys import open_keys
from infra.privacy_plan import Plan, Release
from infra.settings import Settings
from publication.candidates import Mart
from publication.ledger import Book

ROLE = "publisher"
NOISE = "noise"
"""The name of the keys that noise is drawn with: one per month, of the first day of a unit."""


def today(settings: Settings, time_zone: str) -> date:
    """The day it is in the city.

    Raises:
        infra.trusted_clock.ClockDoubtedError: the clock is not believed.
    """
    return trusted_clock.now(settings, ROLE).astimezone(ZoneInfo(time_zone)).date()


def month(unit: Unit) -> str:
    """The month whose key draws the noise of a unit, as the key store names it."""
    return f"{unit.first_day:%Y-%m}"


def units(mart: str, release: Release, days: DayRange) -> Iterator[Unit]:
    """The calendar periods that have one of these days, in order."""
    first_day, last_day = _period(release, days.first_day)
    while first_day <= days.last_day:
        yield Unit(mart=mart, first_day=first_day, last_day=last_day)
        first_day, last_day = _period(release, last_day + timedelta(days=1))


def _period(release: Release, day: date) -> tuple[date, date]:
    if release == "day":
        return day, day
    if release == "month":
        first_day = clock.month_start(day)
        return first_day, clock.month_start(first_day + timedelta(days=31)) - timedelta(days=1)
    return clock.quarter_start(day), clock.quarter_end(day)


def due(
    plan: Plan,
    marts: Collection[Mart],
    coverage: Mapping[str, DayRange],
    book: Book,
    *,
    today: date,
    destroyed: Collection[str] = (),
) -> list[Unit]:
    """The units to build, by mart and day, each in the edition it is due in.

    ``coverage`` are the event days that the lake holds, by silo. A unit whose first days the lake does not hold is due
    all the same, one whose last days it does not is not. Months whose key is ``destroyed`` have no noise any more, so
    nothing of them can be published. A mart that is not in the plan may spend nothing: it is never due.
    """
    found = []
    for mart in sorted(marts, key=lambda mart: mart.name):
        covered = coverage.get(mart.silo)
        if covered is None or mart.name not in plan.marts:
            continue
        settling = timedelta(days=plan.budget_of(mart.name).settling_days)
        for unit in units(mart.name, plan.marts[mart.name].release, covered):
            settled = unit.last_day + settling < today and unit.last_day <= covered.last_day
            edition = book.due_edition(unit.mart, unit.first_day)
            if settled and edition and month(unit) not in destroyed:
                found.append(unit.model_copy(update={"edition": edition}))
    return found


def family(plan: Plan, marts: Collection[Mart], name: str) -> list[str]:
    """The marts that are measured together with this one, itself included: those of the same silo and release."""
    silos = {mart.name: mart.silo for mart in marts if mart.name in plan.marts}
    release = plan.marts[name].release
    return sorted(other for other in silos if silos[other] == silos[name] and plan.marts[other].release == release)


def destroyed_months(settings: Settings) -> set[str]:
    """The months for which no noise can be drawn any more."""
    return {state.month for state in open_keys(settings).states() if state.silo == NOISE and state.tombstone}
