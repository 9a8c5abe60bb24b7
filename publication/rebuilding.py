"""Published units built again from what the lake holds today: they must come out as they were published."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import date

from infra import catalog, database, registry
from infra.settings import Settings
from publication import building, late, release

_log = logging.getLogger(__name__)


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
    with (
        database.connect(settings, building.ROLE, catalog.DATABASE, autocommit=True) as connection,
        registry.locked(connection, building.LOCK),
    ):
        late.count(settings, connection)
        units = registry.units(connection)
    units = [unit for unit in units if (not first or first <= unit.last_day) and (not last or unit.first_day <= last)]
    left_out = tuple(unit for unit in units if unit.late_rows)
    for unit in left_out:
        _log.info(
            "%s of %s is not compared: %d rows came after it was published", unit.mart, unit.first_day, unit.late_rows
        )
    only = {(unit.mart, unit.first_day) for unit in units if not unit.late_rows}
    built = building.build(settings, full_refresh=True, only=only) if only else None
    if built is None:
        return Rebuilt(0, left_out)
    release.release(settings, built.build_id)
    return Rebuilt(len([each for each in built.units if each.due]), left_out)
