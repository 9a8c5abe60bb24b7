"""What every holding of the lake is to the retention job: a place to clean, and then to look at again."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Protocol


@dataclass
class Tally:
    """What was removed from one holding of one silo: rows, objects or files, and their bytes."""

    holding: str
    silo: str | None
    limit: str
    first_day_kept: date | None  # None: nothing of this holding ever grows too old
    rows: int = 0
    objects: int = 0
    bytes: int = 0

    @property
    def anything(self) -> bool:
        return bool(self.rows or self.objects)


@dataclass(frozen=True)
class Sight:
    """What is there, listed again. ``overdue`` are sentences, one per thing that should not be there any more."""

    oldest: date | None
    overdue: tuple[str, ...] = ()


class Holding(Protocol):
    """One place of the lake, for one silo where it is divided by silo."""

    def clean(self) -> Tally:
        """Remove what is past its limit. Killed anywhere, it is simply called again."""
        ...

    def look(self) -> Sight:
        """List what is there now."""
        ...
