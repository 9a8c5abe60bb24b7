"""Published units built again from what the lake holds today: they must come out as they were published."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date

from infra import catalog, database, registry
from infra.settings import Settings
from publication import building, late, release
from publication.ledger import RefusedError


@dataclass(frozen=True)
class Rebuilt:
    """How many published units came out the same, and which were left out: rows came for them after they were
    published, which is counted and told (``registry.unit``), so that they cannot be the same.
    """

    same: int
    late: tuple[registry.UnitRow, ...]


def rebuild(settings: Settings, *, first: date | None = None, last: date | None = None) -> Rebuilt:
    """Build published units again, all or those with a day from ``first`` to ``last``, and compare them.

    Nothing is published.

    Raises:
        publication.ledger.RefusedError: some came out otherwise; each is named.
        publication.building.BuildError: dbt stopped before building anything.
    """
    late_then: set[building.Published] | None = None
    while True:
        units = [
            unit
            for unit in _published(settings)
            if (not first or first <= unit.last_day) and (not last or unit.first_day <= last)
        ]
        left_out = tuple(unit for unit in units if unit.late_rows)
        late_now = {(unit.mart, unit.first_day) for unit in left_out}
        only = {(unit.mart, unit.first_day) for unit in units} - late_now
        try:
            return Rebuilt(_compare(settings, only), left_out)
        except RefusedError:
            if late_now == late_then:
                raise
            late_then = late_now  # rows may have come meanwhile: look again


def _published(settings: Settings) -> list[registry.UnitRow]:
    """Every published unit, with the rows that came late for it counted."""
    with (
        database.connect(settings, building.ROLE, catalog.DATABASE, autocommit=True) as connection,
        registry.locked(connection, building.LOCK),
    ):
        late.count(settings, connection)
        return registry.units(connection)


def _compare(settings: Settings, only: Collection[building.Published]) -> int:
    """How many of these units came out the same, which is all of them."""
    built = building.build(settings, full_refresh=True, only=only) if only else None
    if built is None:
        return 0
    release.release(settings, built.build_id)
    return len([each for each in built.units if each.due])
