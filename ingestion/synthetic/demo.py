"""What each silo adds to the demo city: a sender, good records, and ways to break every rule."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Protocol

from infra.city.profile import City
from ingestion.synthetic.faults import Break, Example, FileFault
from ingestion.synthetic.table import Table


class Sender(Protocol):
    """What sends the deliveries of a silo."""

    silo: str
    format: str

    def day(self, day: date) -> Table:
        """What is delivered about a local day."""
        ...


@dataclass(frozen=True)
class Demo:
    """What a silo adds to the demo city.

    ``sender`` makes the sender of a city, from a seed, a scale (1 is the volume of a real city) and the day before
    which nothing happened. ``examples`` has one good record by layout: the name of a format, and a word more where it
    has several. ``correction`` are the cells that a corrected delivery says instead.
    """

    sender: Callable[[City, int, float, date], Sender]
    examples: Mapping[str, Example]
    breaks: tuple[Break, ...]
    file_faults: tuple[FileFault, ...]
    correction: Mapping[str, str]
