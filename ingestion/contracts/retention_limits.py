"""The limits: those of the register, and those of the places that belong to no silo.

What is of day D and may be kept n days (or months) is there until the day before D + n, and gone on D + n. Days are
UTC's. A day that the later month does not have counts as the first of the next: 31 January and 13 months is 1 March.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

from infra.calendar.clock import add_months
from ingestion.register import silos

CANDIDATES = timedelta(days=7)
WORK = timedelta(days=1)
LOGS = timedelta(days=365)
LINEAGE = timedelta(days=365)

# For what lies under a name that the register does not know (any more), nobody can claim a longer need.
_STRICTEST_LANDING = timedelta(days=7)
_STRICTEST_QUARANTINE = timedelta(days=30)


@dataclass(frozen=True)
class Limit:
    """How long something may be kept, in days or in months."""

    days: int = 0
    months: int = 0

    def first_day_kept(self, today: date) -> date:
        """The oldest day of which anything may still be there today."""
        return add_months(today, -self.months) - timedelta(days=self.days) + timedelta(days=1)

    def last_day(self, day: date) -> date:
        """The day on which what is of ``day`` is gone at the latest."""
        gone = add_months(day, self.months) + timedelta(days=self.days)
        return gone if add_months(gone, -self.months) - timedelta(days=self.days) >= day else gone + timedelta(days=1)

    def __str__(self) -> str:
        return f"{self.months} months" if self.months else f"{self.days} days"


def landing(silo: str) -> Limit:
    """How long the bucket landing may hold what is under the name of a silo, registered or not."""
    declared = silos().get(silo)
    return Limit(days=(declared.retention.landing if declared else _STRICTEST_LANDING).days)


def quarantine(silo: str) -> Limit:
    """How long the bucket quarantine may hold what is under the name of a silo, registered or not."""
    declared = silos().get(silo)
    return Limit(days=(declared.retention.quarantine if declared else _STRICTEST_QUARANTINE).days)


def conformed(silo: str) -> Limit | None:
    """How long the conformed tables of a registered silo may hold a row; None: they are not personal, and kept."""
    months = silos()[silo].retention.conformed_months
    return None if months is None else Limit(months=months)
