"""Removals of the demo city, as the pound's daily register (``fourriere``).

A day's register lists the vehicles removed that day, and again those removed earlier that left the pound that day: the
same file number, now with its release. The later row takes the place of the earlier one in the lake.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from functools import lru_cache

import numpy as np
import polars as pl

from infra.calendar.clock import clock_changes, to_utc
from infra.city.profile import City
from ingestion.silos.tows.formats import FOURRIERE_COLUMNS
from ingestion.synthetic.demo import Demo
from ingestion.synthetic.draws import VEHICLES, Choice, addresses, generator, spread, vehicles
from ingestion.synthetic.faults import Breaks, Example, file_faults
from ingestion.synthetic.rhythms import TOWS, day_kind
from ingestion.synthetic.table import Table

HEADER = ";".join(FOURRIERE_COLUMNS)
TOWS_A_YEAR = 20_000
LONGEST_STAY = 45
"""Days after which every vehicle has left the pound."""
_DAY_WEIGHT = {"weekday": 1.14, "saturday": 0.8, "sunday": 0.5}

# Percents, whatever they add up to.
_REASONS = {
    "stationnement gênant": 46,
    "stationnement très gênant": 24,
    "stationnement abusif": 9,
    "stationnement dangereux": 3,
    "manifestation": 5,
    "travaux": 4,
    "épave": 2,
    "défaut d'assurance": 3,
    "réquisition": 2,
    "accident": 1,
    "autre": 1,
}
_POUNDS = {"Fourrière Nord": 45, "Fourrière Sud": 35, "Pré-fourrière Centre": 20}
_AUTHORITIES = {"police municipale": 70, "police nationale": 30}
# What becomes of a vehicle: outcome, its weight, and between how many minutes and how many minutes later.
_FATES = (
    ("restitution sur place", 11, 10, 40),
    ("déplacement technique", 3, 0, 0),
    ("restitution", 20, 60, 6 * 60),
    ("restitution", 22, 6 * 60, 24 * 60),
    ("restitution", 24, 24 * 60, 72 * 60),
    ("restitution", 12, 3 * 1440, 10 * 1440),
    ("restitution", 4, 10 * 1440, 30 * 1440),
    ("destruction", 3, 15 * 1440, (LONGEST_STAY - 1) * 1440),
    ("aliénation", 1, 30 * 1440, (LONGEST_STAY - 1) * 1440),
)
_NEVER_RELEASED = "déplacement technique"


class Tows:
    """Removals of a city, day after day. At ``scale`` 1: 20 000 a year, of the same vehicles that are fined."""

    silo, format, key = "tows", "fourriere", ("numero_dossier",)

    def __init__(self, city: City, *, seed: int, scale: float = 1.0, since: date | None = None) -> None:
        """``since``: the first day of the register; earlier removals do not appear in it."""
        self._seed = seed
        self._since = since
        self._a_day = TOWS_A_YEAR * scale / 365.25
        self._time_zone = city.time_zone
        where = addresses(city, seed)
        self._address = Choice(where.weight)
        self._places = where.table.select("lon", "lat")
        self._vehicles = vehicles(seed, max(round(VEHICLES * scale), 1_000))
        self._fate = Choice([weight for _, weight, *_ in _FATES])
        # Each day tells of the ones before it: drawn anew for each, a year of days would take an hour.
        self._removals = lru_cache(maxsize=LONGEST_STAY + 1)(self._removals_of)

    def day(self, day: date) -> Table:
        """The register of a day: its removals in order of time, then the earlier ones released that day."""
        own = self._removals(day)
        first = max(day - timedelta(days=LONGEST_STAY), self._since or date.min)
        earlier = [self._removals(first + timedelta(days=n)) for n in range((day - first).days)]
        released = [table.filter(pl.col("released").dt.date() == day) for table in earlier]
        return self._written(pl.concat([own, *released]), as_of=day)

    def table(self, day: date, rows: int, random: np.random.Generator, *, as_of: date, first: int = 1) -> Table:
        """``rows`` removals of a local day, numbered from ``first`` on, as they were known at the end of ``as_of``."""
        return self._written(self._drawn(day, rows, random, first), as_of)

    def _removals_of(self, day: date) -> pl.DataFrame:
        random = generator(self._seed, self.silo, day.toordinal())
        return self._drawn(day, spread(random, self._a_day * _DAY_WEIGHT[day_kind(day)]), random)

    def _drawn(self, day: date, rows: int, random: np.random.Generator, first: int = 1) -> pl.DataFrame:
        hours = list(TOWS[day_kind(day)])
        length = clock_changes(self._time_zone, day, day).get(day, 24)
        hours[2] = 0 if length < 24 else hours[2] * 2 if length > 24 else hours[2]  # 2 a.m. is skipped, or comes twice
        second = np.sort(Choice(hours).draw(random, rows) * 3600 + random.integers(0, 3600, rows))
        fate = self._fate.draw(random, rows)
        shortest, longest = (np.array([each[i] for each in _FATES])[fate] * 60 for i in (2, 3))
        stay = shortest + (random.random(rows) * (longest - shortest)).astype(np.int64)
        removed = pl.lit(day).cast(pl.Datetime("us")) + pl.duration(seconds="second", time_unit="us")
        released = pl.col("removed") + pl.duration(seconds="stay", time_unit="us")
        return (
            pl.DataFrame(
                {
                    "second": second,
                    "stay": stay,
                    "number": np.arange(first, first + rows),
                    "place": self._address.draw(random, rows),
                    "plate": self._vehicles.plates.gather(self._vehicles.draw(random, rows)),
                    "issue": pl.Series([name for name, *_ in _FATES]).gather(fate),
                    **{
                        name: pl.Series(list(words)).gather(Choice(list(words.values())).draw(random, rows))
                        for name, words in (("motif", _REASONS), ("pound", _POUNDS), ("authority", _AUTHORITIES))
                    },
                }
            )
            .with_columns(
                removed=removed,
                day=pl.lit(day),
                record=pl.format("{}-{}", pl.lit(f"{day:%Y%m%d}"), pl.col("number").cast(pl.String).str.zfill(6)),
            )
            .with_columns(released=pl.when(pl.col("issue") != _NEVER_RELEASED).then(released))
            .with_columns(
                # Nothing happens in the hour that clocks skip in spring.
                released=pl.when(to_utc(pl.col("released"), self._time_zone).is_null())
                .then(pl.col("released") + pl.duration(hours=1))
                .otherwise("released")
            )
        )

    def _written(self, removals: pl.DataFrame, as_of: date) -> Table:
        gone = pl.col("released").dt.date() <= as_of  # null: never was in the pound
        ordered = gone & pl.col("issue").is_in(["restitution", "aliénation"])
        blank = pl.lit("")
        cells: dict[str, pl.Expr | pl.Series] = {
            "numero_dossier": pl.col("record"),
            "date_heure_enlevement": _spelled(pl.col("removed")),
            "longitude": self._places["lon"].gather(removals["place"]),
            "latitude": self._places["lat"].gather(removals["place"]),
            "motif": pl.col("motif"),
            "immatriculation": pl.col("plate"),
            "fourriere": pl.col("pound"),
            "autorite_prescriptrice": pl.col("authority"),
            "date_heure_mainlevee": pl.when(ordered)
            .then(_spelled(pl.col("released") - pl.duration(minutes=25)))
            .otherwise(blank),
            "date_heure_restitution": pl.when(gone).then(_spelled(pl.col("released"))).otherwise(blank),
            "issue": pl.when(gone | gone.is_null()).then("issue").otherwise(blank),
        }
        return Table(
            header=HEADER,
            delimiter=";",
            rows=removals.select(
                pl.col("record").alias("key"),
                event_date="day",
                line=pl.concat_str([cells[column] for column in FOURRIERE_COLUMNS], separator=";"),
            ),
        )


def _spelled(moment: pl.Expr) -> pl.Expr:
    return moment.dt.strftime("%Y-%m-%d %H:%M:%S")


_FOURRIERE = Breaks("fourriere")
_CHICAGO = Breaks("chicago")

EXAMPLES: Mapping[str, Example] = {
    "fourriere": Example(
        {
            "numero_dossier": "2025-000001",
            "date_heure_enlevement": "2025-03-10 14:05:00",
            "longitude": "5.3765",
            "latitude": "43.2965",
            "motif": "Stationnement gênant",
            "immatriculation": "AA-001-AA",
            "fourriere": "Fourrière Nord",
            "autorite_prescriptrice": "police municipale",
            "date_heure_mainlevee": "2025-03-11 09:00:00",
            "date_heure_restitution": "2025-03-11 10:30:00",
            "issue": "restitution",
        },
        city="marseille",
        other={"numero_dossier": "2025-000002"},
    ),
    "chicago": Example(
        {
            "Tow Date": "03/10/2025",
            "Make": "FORD",
            "Plate": "AB12345",
            "State": "IL",
            "Towed to Address": "10300 S. Doty",
            "Tow Facility Phone": "",
            "Inventory Number": "1000001",
        },
        city="elsewhere",
        other={"Inventory Number": "1000002"},
    ),
}
BREAKS = (
    # What the demo city's senders do, in this order, and then what else breaks a rule.
    *_FOURRIERE.of_events(
        moment="date_heure_enlevement", lon="longitude", lat="latitude", last="issue", record="numero_dossier"
    ),
    _FOURRIERE("reason_unknown", {"motif": "motif 17"}, "bad_code"),
    _FOURRIERE("outcome_unknown", {"issue": "on verra"}, "bad_outcome"),
    _FOURRIERE("depot_missing", {"fourriere": ""}, "missing_depot"),
    _FOURRIERE("plate_unknown", {"immatriculation": ""}, "missing_plate", warns=True),
    _FOURRIERE(
        "release_out_of_range",
        {"date_heure_mainlevee": "", "date_heure_restitution": "2001-01-01 10:00:00", "issue": "restitution"},
        "release_before_removal",
    ),
    _FOURRIERE("date_unreadable", {"date_heure_enlevement": "?"}),
    _CHICAGO("date_unreadable", {"Tow Date": "2025-03-10"}),
    _FOURRIERE("date_out_of_range", {"date_heure_enlevement": "2999-01-01 00:00"}),
    _FOURRIERE("time_unreadable", {"date_heure_enlevement": "2025-03-10 14h05"}),
    _FOURRIERE(
        "time_does_not_exist",
        {
            "date_heure_enlevement": "2025-03-30 02:30",
            "date_heure_mainlevee": "",
            "date_heure_restitution": "2025-04-01 10:00",
        },
    ),
    _FOURRIERE("time_does_not_exist", {"date_heure_restitution": "2025-03-30 02:30"}),
    _FOURRIERE("coordinates_unreadable", {"longitude": "est"}),
    _FOURRIERE("outside_city", {"longitude": "2.3522", "latitude": "48.8566"}),
    _FOURRIERE("time_unknown", {"date_heure_enlevement": "2025-03-10"}, warns=True),
    _FOURRIERE("plate_unusual", {"immatriculation": "B-XY 12"}, warns=True),
    _FOURRIERE("plate_unknown", {"immatriculation": "sans plaque"}, warns=True),
    _FOURRIERE("reason_unknown", {"motif": "M99"}),
    _FOURRIERE("reason_unknown", {"motif": ""}),
    _FOURRIERE("depot_missing", {"fourriere": " - "}),
    _FOURRIERE("depot_missing", {"fourriere": "01 99 00 00 00"}),
    _FOURRIERE("outcome_unknown", {"issue": "perdue"}),
    _FOURRIERE("release_unreadable", {"date_heure_restitution": "2025-03-11"}),
    _FOURRIERE("release_out_of_range", {"date_heure_restitution": "2025-03-09 10:00"}),
    _FOURRIERE("release_out_of_range", {"date_heure_restitution": "2999-01-01 10:00"}),
    _FOURRIERE("outcome_inconsistent", {"issue": "en cours"}, warns=True),
    _FOURRIERE("outcome_inconsistent", {"date_heure_mainlevee": "", "date_heure_restitution": ""}, warns=True),
)

DEMO = Demo(
    lambda city, seed, scale, since: Tows(city, seed=seed, scale=scale, since=since),
    EXAMPLES,
    BREAKS,
    file_faults=file_faults("motif", ("date_heure_enlevement", "date_enlevement")),
    correction={"motif": "tournage"},
)
