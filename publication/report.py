"""What is published: the marts part of ``calanque report --json``."""

from __future__ import annotations

from collections import Counter
from typing import Any

from infra import catalog, database, registry
from infra.build_spec import CityReference
from infra.city.profile import load_city
from infra.settings import Settings
from privacy import ledger
from privacy.plan import plan
from privacy.spending import Book
from publication import settling
from publication.builds import project
from publication.settling import Wait

ROLE = "publisher"


def marts(settings: Settings) -> dict[str, dict[str, Any]]:
    """Every mart the dbt project declares: ``rows``, ``release`` (its version, or None), ``period_start``,
    ``period_end`` (ISO dates, or None), ``late_rows`` (how many came after their period was published) and
    ``held_back``: why its newest build was not released, or None.
    """
    declared = project.load(settings, CityReference.of(load_city(settings)))
    with database.connect(settings, ROLE, catalog.DATABASE) as connection:
        released = registry.newest_releases(connection, "released")
        state = registry.marts(connection)
        late: Counter[str] = Counter()
        for unit in registry.units(connection):
            late[unit.mart] += unit.late_rows
    report: dict[str, dict[str, Any]] = {}
    for mart in sorted(declared.marts.keys() | released.keys()):
        row = released.get(mart)
        report[mart] = {
            "rows": row.rows if row else 0,
            "release": row.version if row else None,
            "period_start": row.period_start.isoformat() if row and row.period_start else None,
            "period_end": row.period_end.isoformat() if row and row.period_end else None,
            "late_rows": late[mart],
            "held_back": state[mart].held_because if mart in state else None,
        }
    return report


def waiting(settings: Settings) -> list[Wait]:
    """The periods that are over, settled and not published, and what each waits for."""
    city = CityReference.of(load_city(settings))
    declared = project.load(settings, city)
    with database.connect(settings, ROLE, catalog.DATABASE) as connection:
        silos = sorted({mart.silo for mart in declared.marts.values()})
        standings = settling.standings(connection, silos)
        book = Book(ledger.lines(connection))
    today, destroyed = settling.today(settings, city.time_zone), settling.destroyed_months(settings)
    return settling.waits(plan(), declared.marts.values(), standings, book, today=today, destroyed=destroyed)


def held_back(settings: Settings) -> dict[str, str]:
    """Why, by mart, for each whose newest build was not released."""
    with database.connect(settings, ROLE, catalog.DATABASE) as connection:
        return {name: row.held_because for name, row in registry.marts(connection).items() if row.held_because}
