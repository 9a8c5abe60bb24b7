"""People present in the demo city's zones by hour and category, as a mobile operator aggregates them (``presence``).

The operator hides counts under its threshold: such rows are not in its files.
"""

from __future__ import annotations

from datetime import date

import numpy as np
import polars as pl

from calanque.demo.draws import centrality, generator, thinned
from calanque.demo.rhythms import RESIDENTS, VISITORS, WORKERS, day_kind
from calanque.demo.table import Table, instants
from infra.build_spec import FOOTFALL_THRESHOLD
from infra.city.profile import City
from ingestion.silos.telecom_footfall.contracts import CATEGORIES
from ingestion.silos.telecom_footfall.formats import PRESENCE_COLUMNS

HEADER = ";".join(PRESENCE_COLUMNS)
_PEOPLE = {"resident": 870_000, "worker": 310_000, "visitor": 140_000}
_RHYTHMS = {"resident": RESIDENTS, "worker": WORKERS, "visitor": VISITORS}


class Footfall:
    """Presence in a city's zones, day after day."""

    silo, format, key = "telecom_footfall", "presence", ("zone", "category", "hour")

    def __init__(self, city: City, *, seed: int, scale: float = 1.0) -> None:
        self._seed = seed
        self._time_zone = city.time_zone
        zones = city.points.height
        sending = thinned(zones, scale)
        self._zones = city.points["zone_id"][sending]
        random = generator(seed, self.silo, "zones")
        central = centrality(city)
        built = np.sqrt(np.minimum(city.points["area_km2"].to_numpy(), 3.0))  # large zones are mostly hills
        attraction = {"resident": built * (0.2 + central), "worker": built * central, "visitor": central * central}
        self._people = np.stack(
            [
                (_PEOPLE[name] * pull / pull.sum())[sending]
                for name in CATEGORIES
                for pull in [attraction[name] * (0.6 + 0.8 * random.random(zones))]
            ]
        )

    def day(self, day: date) -> Table:
        """The counts of a local day, hour after hour: 23, 24 or 25 hours of each zone and category."""
        random = generator(self._seed, self.silo, day.toordinal())
        times = instants(day, 60, self._time_zone)
        hour, hours, zones = times["hour"].to_numpy(), times.height, len(self._zones)
        rhythm = np.stack([np.array(_RHYTHMS[name][day_kind(day)])[hour] / 99 for name in CATEGORIES], axis=1)
        noise = 0.93 + 0.14 * random.random((hours, len(CATEGORIES), zones))
        people = (rhythm[:, :, None] * self._people * noise).astype(np.int64).ravel()
        cell = np.flatnonzero(people >= FOOTFALL_THRESHOLD)
        table = pl.DataFrame(
            {
                "zone": self._zones.gather(cell % zones),
                "hour": times["text"].gather(cell // (zones * len(CATEGORIES))),
                "category": pl.Series(list(CATEGORIES)).gather(cell // zones % len(CATEGORIES)),
                "count": pl.Series(people[cell]).cast(pl.String),
            }
        )
        return Table(
            header=HEADER,
            delimiter=";",
            rows=table.select(
                key=pl.concat_str(self.key, separator="|"),
                event_date=pl.lit(day),
                line=pl.concat_str(PRESENCE_COLUMNS, separator=";"),
            ),
        )
