"""What a restored lake does not publish: what the lake that it was made from may have published after the backup.

Of that the backup knows nothing: neither the line of the ledger nor, of a later month, the key of the noise. Published
here again, the same counts would carry other noise, and their mean less of it than was promised. So what had settled
when the lake was restored, and is not in its ledger, waits for a person's word that it was not published
(:func:`settle`); without it, it is never published here. What settles later was published by nobody.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from zoneinfo import ZoneInfo

import psycopg

from infra import catalog, database, registry
from infra.build_spec import Unit
from infra.calendar import trusted_clock
from infra.registry import Restoration
from infra.settings import Settings
from privacy.plan import Plan

ROLE = "publisher"


def held(connection: psycopg.Connection, plan: Plan, units: Iterable[Unit], time_zone: str) -> set[Unit]:
    """Those of ``units``, none of which is in the ledger, that another lake may have published."""
    last = max((each.restored_at for each in registry.open_restorations(connection)), default=None)
    if last is None:
        return set()
    day = last.astimezone(ZoneInfo(time_zone)).date()
    return {unit for unit in units if unit.last_day + timedelta(days=plan.budget_of(unit.mart).settling_days) < day}


def sentence(restoration: Restoration) -> str:
    """What a restoration holds back, and what to do."""
    backup, here = restoration.backup_at, restoration.restored_at
    return (
        f"this lake was restored on {here:%Y-%m-%d} from a backup of {backup:%Y-%m-%d %H:%M} UTC, and what had settled "
        "by then may have been published by the lake before, with other noise: it is not published until somebody "
        "knows better, see docs/runbooks/lake-restored.md"
    )


def waiting(settings: Settings) -> list[Restoration]:
    """The restorations that hold something back."""
    with database.connect(settings, ROLE, catalog.DATABASE) as connection:
        return registry.open_restorations(connection)


def settle(settings: Settings, *, by: str, reason: str) -> None:
    """Record a person's word that the lake before published nothing after the backup: all that is due is published.

    Raises:
        infra.calendar.trusted_clock.ClockDoubtedError: the clock is not believed.
    """
    now = trusted_clock.now(settings, ROLE)
    with database.connect(settings, ROLE, catalog.DATABASE) as connection:
        registry.settle_restorations(connection, by, reason, now)
