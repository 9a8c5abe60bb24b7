"""What is due: derived from the registry and the ledger, so nothing is lost when an event is.

Which units have settled is in :mod:`publication.settling`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import TypeAlias

import psycopg

from infra import registry
from infra.build_spec import Edition, Unit
from infra.calendar import clock
from privacy import ledger
from privacy.plan import Plan
from privacy.spending import Book
from publication import settling
from publication.builds import month_totals, sources
from publication.builds.candidates import Mart
from publication.builds.project import Project
from publication.releases.manifest import Manifest

Published: TypeAlias = tuple[str, date]
"""A published unit: the name of its mart and its first day."""


@dataclass(frozen=True)
class Due:
    """What has to be built, and the state of the registry that says so.

    ``beside`` are units of other marts of the same silo and period, in the edition they have or will have: what was
    measured of them is part of what a unit of this silo and period is made from. ``fitted_to`` are the published months
    that units of quarters are fitted to; the others are built beside them. ``covered`` are the days of the units that
    each silo was declared complete for; of published ones that are built again, when they were published.
    """

    marts: tuple[Mart, ...]
    units: tuple[Unit, ...]
    beside: tuple[Unit, ...]
    fitted_to: Mapping[Unit, tuple[Edition, ...]]
    commits: Mapping[str, int]
    covered: Mapping[str, frozenset[date]]
    datasets: Mapping[str, Collection[str]]
    compares: bool


def find_due(
    connection: psycopg.Connection,
    declared: Project,
    plan: Plan,
    *,
    today: date,
    destroyed: Collection[str] = (),
    expired: Collection[Unit] = (),
    full_refresh: bool = False,
    only: Collection[Published] | None = None,
) -> Due | None:
    """The units to build as of ``today``; None when there are none.

    Of ``destroyed`` months nothing can be built, nor anything of units whose rows are ``expired``. A quarter waits for
    the months that it is fitted to. A unit that was published without days which somebody declared since cannot come
    out as it was: it is not built again; nor is one of which a month was withdrawn that it was fitted to.

    Raises:
        privacy.spending.RefusedError: something is due, and the ledger is of another currency.
    """
    commits = registry.newest_commits(connection)
    standings = settling.standings(connection, sorted({mart.silo for mart in declared.marts.values()}))
    book = Book(ledger.lines(connection))
    if full_refresh:
        units, covered = _published(connection, declared, book, standings, destroyed=destroyed, only=only)
        fitted_to = _then(connection, units)
        gone = {(each.mart, each.first_day) for each, _ in book.withdrawn()}
        units = [unit for unit in units if not any((each.mart, each.first_day) in gone for each in fitted_to[unit])]
    else:
        found = settling.settled(plan, declared.marts.values(), standings, book, today=today, destroyed=destroyed)
        units = [unit for unit, wait in found if wait is None and unit not in expired]
        covered = {silo: standing.covered for silo, standing in standings.items()}
        ready = {(unit.mart, unit.first_day) for unit in units}
        units = [
            unit
            for unit in units
            if not month_totals.waits(mart := declared.marts[unit.mart], unit, book, ready, covered[mart.silo])
        ]
        fitted_to = {unit: month_totals.published(declared.marts[unit.mart], unit, book) for unit in units}
        if units:
            book.refuse_other_currency()
    units = [unit for unit in units if unit not in expired]
    if not units:
        return None
    marts = tuple(declared.marts[name] for name in sorted({unit.mart for unit in units}))
    silos = sorted({mart.silo for mart in marts})
    days = {silo: _days(unit for unit in units if declared.marts[unit.mart].silo == silo) for silo in silos}
    return Due(
        marts=marts,
        units=tuple(units),
        beside=_beside(units, declared, plan, book),
        fitted_to=fitted_to,
        commits={silo: commits.get(silo, 0) for silo in silos},
        covered={silo: covered[silo] & days[silo] for silo in silos},
        datasets={silo: set(registry.datasets(connection, [silo])) - sources.registers() for silo in silos},
        compares=full_refresh,
    )


def _then(connection: psycopg.Connection, units: Sequence[Unit]) -> dict[Unit, tuple[Edition, ...]]:
    """The months that published units were fitted to, as the manifests name them."""
    manifests = {
        mart: Manifest.model_validate(row.manifest) for mart, row in registry.newest_releases(connection).items()
    }
    named = {(mart, part.first_day): part.fitted_to for mart, of in manifests.items() for part in of.parts}
    return {unit: named.get((unit.mart, unit.first_day), ()) for unit in units}


def _published(
    connection: psycopg.Connection,
    declared: Project,
    book: Book,
    standings: Mapping[str, settling.Standing],
    *,
    destroyed: Collection[str],
    only: Collection[Published] | None,
) -> tuple[list[Unit], Mapping[str, frozenset[date]]]:
    """The published units that can come out as they were, and the days of them that were covered, by silo."""
    without = {(row.mart, row.first_day): frozenset(row.missing) for row in registry.units(connection)}
    units = [
        Unit(mart=each.mart, first_day=each.first_day, last_day=each.last_day, edition=each.edition)
        for each in book.published()
        if each.mart in declared.marts
        and (only is None or (each.mart, each.first_day) in only)
        and not without.get((each.mart, each.first_day), frozenset())
        & standings[declared.marts[each.mart].silo].covered
    ]
    units = [unit for unit in units if settling.month(unit) not in destroyed]
    covered: dict[str, frozenset[date]] = {}
    for silo in standings:
        of_silo = [unit for unit in units if declared.marts[unit.mart].silo == silo]
        missing = frozenset[date]().union(*(without.get((unit.mart, unit.first_day), ()) for unit in of_silo))
        covered[silo] = _days(of_silo) - missing
    return units, covered


def _days(units: Iterable[Unit]) -> frozenset[date]:
    return frozenset(day for unit in units for day in clock.days(unit.first_day, unit.last_day))


def _beside(units: Sequence[Unit], declared: Project, plan: Plan, book: Book) -> tuple[Unit, ...]:
    """The units that the marts of the same silo and period have beside these."""
    built = {(unit.mart, unit.first_day) for unit in units}
    families = {mart: settling.family(plan, declared.marts.values(), mart) for mart, _ in built}
    beside: dict[tuple[str, date], Unit] = {}
    for unit in units:
        for mart in families[unit.mart]:
            if (mart, unit.first_day) not in built:
                history = book.unit(mart, unit.first_day)
                edition = history.newest.edition if history and history.newest else 1
                beside[mart, unit.first_day] = unit.model_copy(update={"mart": mart, "edition": edition})
    return tuple(beside.values())
