"""Published units built again from what the lake holds today: they must come out as they were published.

Every unit is compared, whatever made it. The same bytes are proof. Other bytes, or other counts behind the same bytes,
under the version of its mart that made it are a breach; under another version they say that the code is another, and
nothing of the data.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import date

from infra import catalog, database, logs, registry
from infra.build_spec import CityReference
from infra.city.profile import load_city
from infra.settings import Settings
from privacy import ledger
from privacy.spending import Book, Published, RefusedError
from publication import due, settling
from publication.builds import building, project
from publication.releases import late_arriving, release

log = logging.getLogger(__name__)

LATE = "rows came for it after it was published"
RETAINED = "retention has deleted rows of it"
NO_NOISE = "the key of its noise was destroyed"
FILLED = "days were declared that it was published without"
UNDECLARED = "the dbt project has no such mart any more"


@dataclass(frozen=True)
class Rebuilt:
    """What became of the published units: how many came out the same, and the others.

    ``other_code`` came out otherwise, made today by another version of their mart. ``left_out`` could not be compared,
    and why.
    """

    same: int
    other_code: tuple[Published, ...]
    left_out: Mapping[due.Published, str]

    @property
    def sentence(self) -> str:
        reasons = Counter(self.left_out.values())
        others = [f"{len(self.other_code):,} are made otherwise by today's code"] if self.other_code else []
        others += [f"{count:,} left out: {why}" for why, count in sorted(reasons.items())]
        return "; ".join([f"{self.same:,} published periods built again came out the same, byte for byte", *others])


def rebuild(settings: Settings, *, first: date | None = None, last: date | None = None) -> Rebuilt:
    """Build published units again, all or those with a day from ``first`` to ``last``, and compare them.

    Nothing is published.

    Raises:
        privacy.spending.RefusedError: some came out otherwise; each is named. Or, of all that is published, nothing
            came out the same, or fewer were compared than left out. What retention took does not count as left out as
            long as anything was proven: in time it takes the rows of everything.
        publication.builds.dbt_run.BuildError: dbt stopped before building anything.
    """
    while True:
        units = _published(settings, first, last)
        too_late = {_key(unit) for unit in units if unit.late_rows}
        try:
            found = _compare(settings, {_key(unit) for unit in units}, too_late)
        except RefusedError:
            if {_key(unit) for unit in _published(settings, first, last) if unit.late_rows} == too_late:
                raise
            continue  # rows came meanwhile: look again
        logs.tell(log, found.sentence)
        if units and not (first or last):
            _require_proof(found)
        return found


def _require_proof(found: Rebuilt) -> None:
    compared = found.same + len(found.other_code)
    if not found.same or compared < len([why for why in found.left_out.values() if why != RETAINED]):
        raise RefusedError(
            f"the proof of what is published says too little: {found.sentence}; look at the reason that most have"
        )


def _published(settings: Settings, first: date | None, last: date | None) -> list[registry.UnitRow]:
    """Every published unit with a day from ``first`` to ``last``, with the rows that came late for it counted."""
    with (
        database.connect(settings, building.ROLE, catalog.DATABASE, autocommit=True) as connection,
        registry.locked(connection, building.LOCK),
    ):
        late_arriving.count(settings, connection)
        published = {(each.mart, each.first_day) for each in Book(ledger.lines(connection)).published()}
        return [
            unit
            for unit in registry.units(connection)
            if _key(unit) in published
            and (not first or first <= unit.last_day)
            and (not last or unit.first_day <= last)
        ]


def _key(unit: registry.UnitRow) -> due.Published:
    return unit.mart, unit.first_day


def _compare(settings: Settings, units: Collection[due.Published], too_late: Collection[due.Published]) -> Rebuilt:
    only = set(units) - set(too_late)
    built = building.build(settings, full_refresh=True, only=only) if only else None
    made = {(each.unit.mart, each.unit.first_day) for each in built.units if each.due} if built else set()
    left_out = dict.fromkeys(too_late, LATE) | _reasons(settings, only - made)
    other_code = release.compare(settings, built.build_id) if built else ()
    return Rebuilt(len(made) - len(other_code), tuple(other_code), left_out)


def _reasons(settings: Settings, units: Iterable[due.Published]) -> dict[due.Published, str]:
    """Why these units were not built."""
    declared = project.load(settings, CityReference.of(load_city(settings))).marts
    destroyed = settling.destroyed_months(settings)
    with database.connect(settings, building.ROLE, catalog.DATABASE) as connection:
        rows = registry.units(connection)
        covered = registry.covered_days(connection, sorted({row.silo for row in rows}))
    filled = {_key(row) for row in rows if covered[row.silo] & set(row.missing)}
    reasons = {}
    for mart, first_day in units:
        if mart not in declared:
            reasons[mart, first_day] = UNDECLARED
        elif (mart, first_day) in filled:
            reasons[mart, first_day] = FILLED
        else:
            reasons[mart, first_day] = NO_NOISE if f"{first_day:%Y-%m}" in destroyed else RETAINED
    return reasons
