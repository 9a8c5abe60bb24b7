"""Single deliveries of any number of rows, for benchmarks: the demo city's rhythms, streamed to a file.

Memory depends on the rows of a day, or of a chunk where a day has more, not on those of the file. The same arguments
give the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import date, timedelta
from itertools import count
from pathlib import Path

import numpy as np

from infra.city.profile import City
from ingestion.silos.crowd_flows.demo import Crowds
from ingestion.silos.telecom_footfall.demo import Footfall
from ingestion.silos.tows.demo import Tows
from ingestion.silos.verbalisations.demo import Fines
from ingestion.synthetic.draws import generator
from ingestion.synthetic.table import Table, write_lines

CHUNK_ROWS = 250_000


def write_pve(path: Path, rows: int, *, city: City, seed: int, start: date, days: int) -> None:
    """``rows`` fines, spread evenly over ``days`` days, in format ``pve``."""
    fines = Fines(city, seed=seed)
    _write(
        path, (fines.table(day, n, _random(seed, day, first), first) for day, n, first in _shares(rows, start, days))
    )


def write_fourriere(path: Path, rows: int, *, city: City, seed: int, start: date, days: int) -> None:
    """``rows`` removals, spread evenly over ``days`` days, as known on the last evening, in format ``fourriere``."""
    tows = Tows(city, seed=seed)
    last = start + timedelta(days=days - 1)
    shares = _shares(rows, start, days)
    _write(path, (tows.table(day, n, _random(seed, day, first), as_of=last, first=first) for day, n, first in shares))


def write_counter(path: Path, rows: int, *, city: City, seed: int, start: date) -> date:
    """``rows`` counts in format ``counter``, of as many days as it takes; the last of these days."""
    return _write_days(path, rows, Crowds(city, seed=seed), start)


def write_presence(path: Path, rows: int, *, city: City, seed: int, start: date) -> date:
    """``rows`` counts in format ``presence``, of as many days as it takes; the last of these days."""
    return _write_days(path, rows, Footfall(city, seed=seed), start)


def _random(seed: int, day: date, first: int) -> np.random.Generator:
    return generator(seed, "bulk", day.toordinal(), first)


def _shares(rows: int, start: date, days: int) -> Iterator[tuple[date, int, int]]:
    """Days, rows and number of the first of them: a share of at most :data:`CHUNK_ROWS` each."""
    for offset in range(days):
        left = rows * (offset + 1) // days - rows * offset // days
        first = 1
        while left:
            share = min(left, CHUNK_ROWS)
            yield start + timedelta(days=offset), share, first
            first += share
            left -= share


def _write(path: Path, tables: Iterable[Table]) -> None:
    with path.open("wb") as target:
        for number, table in enumerate(tables):
            if number == 0:
                target.write(f"{table.header}\n".encode())
            write_lines(target, table.rows["line"])


def _write_days(path: Path, rows: int, sender: Crowds | Footfall, start: date) -> date:
    last = start

    def tables() -> Iterator[Table]:
        nonlocal last
        left = rows
        for offset in count():
            last = start + timedelta(days=offset)
            table = sender.day(last)
            yield Table(table.header, table.delimiter, table.rows.head(left))
            left -= min(left, table.rows.height)
            if left == 0:
                return

    _write(path, tables())
    return last
