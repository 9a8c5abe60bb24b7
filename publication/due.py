"""What is due: derived from the registry and the ledger, so nothing is lost when an event is.

Which units have settled is in :mod:`publication.settling`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import TypeAlias

import psycopg

from infra import ledger, registry
from infra.build_spec import REGISTERS, DayRange, Unit
from infra.privacy_plan import Plan
from publication import settling
from publication.candidates import Mart
from publication.ledger import Book
from publication.project import Project

Published: TypeAlias = tuple[str, date]
"""A published unit: the name of its mart and its first day."""


@dataclass(frozen=True)
class Due:
    """What has to be built, and the state of the registry that says so.

    ``beside`` are units of other marts of the same silo and period, in the edition they have or will have: what was
    measured of them is part of what a unit of this silo and period is made from.
    """

    marts: tuple[Mart, ...]
    units: tuple[Unit, ...]
    beside: tuple[Unit, ...]
    commits: Mapping[str, int]
    coverage: Mapping[str, DayRange]
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

    Of ``destroyed`` months nothing can be built, nor anything of units whose rows are ``expired``.
    """
    commits = registry.newest_commits(connection)
    coverage = {
        silo: DayRange(first_day=first, last_day=last)
        for silo, (first, last) in registry.coverage(connection, REGISTERS).items()
    }
    book = Book(ledger.lines(connection))
    if full_refresh:
        units = [
            Unit(mart=each.mart, first_day=each.first_day, last_day=each.last_day, edition=each.edition)
            for each in book.published()
            if each.mart in declared.marts and declared.marts[each.mart].silo in coverage
        ]
        units = [unit for unit in units if settling.month(unit) not in destroyed]
        units = [unit for unit in units if only is None or (unit.mart, unit.first_day) in only]
    else:
        units = settling.due(plan, declared.marts.values(), coverage, book, today=today, destroyed=destroyed)
    units = [unit for unit in units if unit not in expired]
    if not units:
        return None
    marts = tuple(declared.marts[name] for name in sorted({unit.mart for unit in units}))
    silos = sorted({mart.silo for mart in marts})
    return Due(
        marts=marts,
        units=tuple(units),
        beside=_beside(units, declared, plan, book),
        commits={silo: commits[silo] for silo in silos},
        coverage={silo: coverage[silo] for silo in silos},
        datasets={silo: set(registry.datasets(connection, [silo])) - REGISTERS for silo in silos},
        compares=full_refresh,
    )


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
