"""What the benchmark delivers: for each silo, one file of any number of rows, made as the demo city makes its days."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

from calanque.demo import bulk
from infra.city.profile import City, load_city
from infra.settings import Settings
from ingestion.delivery import notes

SEED = 7
START = date(2023, 1, 1)
EVENTS_A_DAY = 30_000
"""Fines, or tows, of a day: a big file is about more days, as in life, not about an ever busier day."""
QUARTER_DAYS = 90
"""A delivery of fines or tows is about a whole quarter at least: nothing less of a quarter is ever published."""
_SAMPLE_ROWS = 20_000
_PLACES = 150


@dataclass(frozen=True)
class Sender:
    """Who delivers a silo: the format, whether for the city of the ``metropolis``, and the writer of a file, which
    tells the last day that the file is about.
    """

    format: str
    metropolis: bool
    write: Callable[[Path, int, City], date]


def _days(rows: int) -> int:
    return max(math.ceil(rows / EVENTS_A_DAY), QUARTER_DAYS)


def _fines(path: Path, rows: int, city: City) -> date:
    bulk.write_pve(path, rows, city=city, seed=SEED, start=START, days=_days(rows))
    return START + timedelta(days=_days(rows) - 1)


def _tows(path: Path, rows: int, city: City) -> date:
    bulk.write_fourriere(path, rows, city=city, seed=SEED, start=START, days=_days(rows))
    return START + timedelta(days=_days(rows) - 1)


def _crowds(path: Path, rows: int, city: City) -> date:
    return bulk.write_counter(path, rows, city=city, seed=SEED, start=START)


def _footfall(path: Path, rows: int, city: City) -> date:
    return bulk.write_presence(path, rows, city=city, seed=SEED, start=START)


SENDERS: Mapping[str, Sender] = {
    "verbalisations": Sender("pve", metropolis=False, write=_fines),
    "tows": Sender("fourriere", metropolis=False, write=_tows),
    "crowd_flows": Sender("counter", metropolis=True, write=_crowds),
    "telecom_footfall": Sender("presence", metropolis=True, write=_footfall),
}


def city_name(silo: str, home: Path) -> str:
    """``CALANQUE_CITY`` for the lake of a silo.

    Counters and operators send as many rows a day as there are places and zones. To send millions in months instead of
    decades, they do it for a made-up metropolis, whose profile is written into ``home``.
    """
    if not SENDERS[silo].metropolis:
        return "marseille"
    path = home / "metropolis.toml"
    path.write_text(_metropolis())
    return str(path)


def _metropolis() -> str:
    """About 2,300 zones of a tenth of a square kilometre, and 150 places."""
    profile = """
name = "metropolis"
title = "Metropolis"
time_zone = "Europe/Paris"
footfall_measure = "presence"

[zoning]
kind = "h3"
resolution = 9
area_resolution = 6

[[zoning.box]]
name = "Metropolis"
west = 5.30
south = 43.22
east = 5.48
north = 43.37
"""
    places = (
        f'[[place]]\nplace_id = "place-{number:03d}"\nplace_name = "Place {number}"\n'
        f"lon = {5.31 + 0.01 * (number % 15):.3f}\nlat = {43.23 + 0.01 * (number // 15):.3f}\n"
        "area_m2 = 5000\ndensity_threshold = 2.5\n"
        for number in range(_PLACES)
    )
    return "\n".join([profile, *places])


def bytes_per_row(silo: str, city: City) -> float:
    """How long a row of a silo's file is, from the beginning of one."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "sample"
        SENDERS[silo].write(path, _SAMPLE_ROWS, city)
        return path.stat().st_size / _SAMPLE_ROWS


def write(settings: Settings, silo: str, rows: int, path: Path) -> None:
    """Write the file of a silo for the city of ``settings``, and its note; it appears only once complete."""
    draft = path.with_name(f".{path.name}.part")
    last_day = SENDERS[silo].write(draft, rows, load_city(settings))
    notes.write(path, notes.Note(covers=(f"{START}/{last_day}",)))
    draft.rename(path)
