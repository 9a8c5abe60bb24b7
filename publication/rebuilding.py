"""Published units built again from what the lake holds today: they must come out as they were published."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date

from infra import catalog, database, ledger, registry
from infra.build_spec import CityReference
from infra.city import load_city
from infra.settings import Settings
from publication import building, late, project, release
from publication.due import Published
from publication.ledger import Book, RefusedError


@dataclass(frozen=True)
class Rebuilt:
    """How many published units came out the same, and which were left out because they cannot.

    ``late``: rows came for them after they were published, which is counted and told (``registry.unit``). ``older``:
    another version of the dbt project or of the city profile made them.
    """

    same: int
    late: tuple[registry.UnitRow, ...]
    older: tuple[registry.UnitRow, ...]


def rebuild(settings: Settings, *, first: date | None = None, last: date | None = None) -> Rebuilt:
    """Build published units again, all or those with a day from ``first`` to ``last``, and compare them.

    Nothing is published.

    Raises:
        publication.ledger.RefusedError: some came out otherwise; each is named.
        publication.dbt_run.BuildError: dbt stopped before building anything.
    """
    version = project.code_version(CityReference.of(load_city(settings)))
    late_then: set[Published] | None = None
    while True:
        units, versions = _published(settings)
        units = [
            unit for unit in units if (not first or first <= unit.last_day) and (not last or unit.first_day <= last)
        ]
        older = tuple(unit for unit in units if versions[unit.mart, unit.first_day] != version)
        left_out = tuple(unit for unit in units if unit.late_rows and unit not in older)
        late_now = {(unit.mart, unit.first_day) for unit in left_out}
        only = {(unit.mart, unit.first_day) for unit in units if unit not in {*older, *left_out}}
        try:
            return Rebuilt(_compare(settings, only), left_out, older)
        except RefusedError:
            if late_now == late_then:
                raise
            late_then = late_now  # rows may have come meanwhile: look again


def _published(settings: Settings) -> tuple[list[registry.UnitRow], dict[Published, str]]:
    """Every published unit, with the rows that came late for it counted, and the version that made it."""
    with (
        database.connect(settings, building.ROLE, catalog.DATABASE, autocommit=True) as connection,
        registry.locked(connection, building.LOCK),
    ):
        late.count(settings, connection)
        published = Book(ledger.lines(connection)).published()
        return registry.units(connection), {(each.mart, each.first_day): each.code_version for each in published}


def _compare(settings: Settings, only: Collection[Published]) -> int:
    """How many of these units came out the same, which is all of them."""
    built = building.build(settings, full_refresh=True, only=only) if only else None
    if built is None:
        return 0
    release.release(settings, built.build_id)
    return len([each for each in built.units if each.due])
