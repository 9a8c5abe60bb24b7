"""Sets of days as ranges: how they are kept in few words, written by people, and told to them."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from contextlib import suppress
from datetime import date, timedelta
from itertools import pairwise
from typing import Self

from pydantic import BaseModel, ConfigDict, model_validator

from infra.calendar import clock

FIRST_DAY = date(2000, 1, 1)
"""Nothing is about an earlier day: no row may lie on one, and nobody can declare one."""

_WRITTEN = re.compile(r"(\d{4}-\d{2}-\d{2})(?:/(\d{4}-\d{2}-\d{2}))?")


class DayRange(BaseModel):
    """Days from the first to the last, both included."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    first_day: date
    last_day: date

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.last_day < self.first_day:
            raise ValueError(f"the last day ({self.last_day}) comes before the first ({self.first_day})")
        return self

    def __str__(self) -> str:
        return str(self.first_day) if self.first_day == self.last_day else f"{self.first_day} to {self.last_day}"

    def __len__(self) -> int:
        return (self.last_day - self.first_day).days + 1

    @property
    def days(self) -> list[date]:
        return list(clock.days(self.first_day, self.last_day))


def ranges(days: Iterable[date]) -> tuple[DayRange, ...]:
    """The fewest ranges that hold exactly these days, earliest first."""
    ordered = sorted(set(days))
    firsts = ordered[:1] + [day for before, day in pairwise(ordered) if day - before > timedelta(days=1)]
    lasts = [before for before, day in pairwise(ordered) if day - before > timedelta(days=1)] + ordered[-1:]
    return tuple(DayRange(first_day=first, last_day=last) for first, last in zip(firsts, lasts, strict=True))


def within(days: Collection[date], first_day: date, last_day: date) -> list[date]:
    """Those of ``days`` that lie between two days, both included, in order."""
    return sorted(day for day in days if first_day <= day <= last_day)


def read(text: str) -> DayRange:
    """What ``2026-01-31`` or ``2026-01-01/2026-01-31`` says.

    Raises:
        ValueError: it says neither, or a day before :data:`FIRST_DAY`; the message is a sentence.
    """
    found = _WRITTEN.fullmatch(text.strip())
    if found is not None:
        with suppress(ValueError):
            read = DayRange(first_day=date.fromisoformat(found[1]), last_day=date.fromisoformat(found[2] or found[1]))
            if read.first_day >= FIRST_DAY:
                return read
    raise ValueError(
        f"{text.strip()[:40]!r} is neither a day (2026-01-31) nor days from the first to the last "
        f"(2026-01-01/2026-01-31), none before {FIRST_DAY.year}"
    )


def told(days: Iterable[date], most: int = 6) -> str:
    """Days in a sentence: ``2026-01-01 to 2026-01-31, 2026-02-03 and 4 more``; no more than ``most`` ranges."""
    found = ranges(days)
    named = ", ".join(map(str, found[:most]))
    rest = sum(map(len, found[most:]))
    return f"{named} and {rest:,} more days" if rest else named
