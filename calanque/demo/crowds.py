"""People counted in the public places of the demo city, by quarter of an hour and direction (``counter``).

Every counter sends every quarter of an hour, so the number of rows depends on the places and days. Now and then an
event fills a place beyond its density threshold.
"""

from __future__ import annotations

from datetime import date

import numpy as np
import polars as pl

from calanque.demo.draws import generator, thinned
from calanque.demo.rhythms import CROWDS, day_kind
from calanque.demo.table import Table, instants
from infra.city.profile import City
from ingestion.silos.crowd_flows.contracts import ABSURD_PEOPLE_PER_MINUTE
from ingestion.silos.crowd_flows.formats import COUNTER_COLUMNS, COUNTER_MINUTES

HEADER = ";".join(COUNTER_COLUMNS)
BUSY = 0.12
"""Share of its density threshold that an ordinary busy hour brings to a place."""
_EVENTS = {"weekday": 0.03, "saturday": 0.12, "sunday": 0.06}  # an evening, per place
_MOST = ABSURD_PEOPLE_PER_MINUTE * COUNTER_MINUTES * 0.95
_USUAL_AREA, _USUAL_THRESHOLD = 5_000.0, 2.5


class Crowds:
    """Counts of a city's places, day after day."""

    silo, format, key = "crowd_flows", "counter", ("place_id", "direction", "starts_at")

    def __init__(self, city: City, *, seed: int, scale: float = 1.0) -> None:
        self._seed = seed
        self._time_zone = city.time_zone
        places = city.places[thinned(city.places.height, scale)].with_columns(
            full=pl.col("area_m2").fill_null(_USUAL_AREA) * pl.col("density_threshold").fill_null(_USUAL_THRESHOLD),
            area=pl.col("area_m2").cast(pl.Int64).cast(pl.String).fill_null(""),
        )
        self._full = places["full"].to_numpy()
        directions = ("in", "out")
        self._counters = places.select(
            pl.col("place_id", "area").repeat_by(len(directions)).list.explode()
        ).with_columns(direction=pl.Series(directions * places.height))

    def day(self, day: date) -> Table:
        """The counts of a local day, counter by counter: 92, 96 or 100 quarters of an hour each."""
        random = generator(self._seed, self.silo, day.toordinal())
        kind = day_kind(day)
        times = instants(day, COUNTER_MINUTES, self._time_zone)
        hour, slots, places = times["hour"].to_numpy(), times.height, len(self._full)
        level = (
            BUSY * np.array(CROWDS[kind])[hour] / 99 * self._full[:, None] * (0.7 + 0.6 * random.random((places, 1)))
        )
        evening = random.random((places, 1)) < _EVENTS[kind]
        begins = random.integers(17, 22, (places, 1))
        crowded = evening & (hour >= begins) & (hour < begins + 2)
        level = np.where(crowded, self._full[:, None] * (0.8 + 0.6 * random.random((places, 1))), level)
        inwards = np.where(hour < 14, 0.58, 0.44)
        people = np.stack([level * inwards, level * (1 - inwards)], axis=1) * (
            0.8 + 0.4 * random.random((places, 2, slots))
        )
        count = np.minimum(people, _MOST).astype(np.int64)
        counters = self._counters.select(pl.all().repeat_by(slots).list.explode())
        cells = {
            "place_id": counters["place_id"],
            "direction": counters["direction"],
            "starts_at": pl.concat([times["text"]] * self._counters.height),
            "count": pl.Series(count.ravel()).cast(pl.String),
            "area_m2": counters["area"],
        }
        table = pl.DataFrame(cells)
        return Table(
            header=HEADER,
            delimiter=";",
            rows=table.select(
                key=pl.concat_str(self.key, separator="|"),
                event_date=pl.lit(day),
                line=pl.concat_str(COUNTER_COLUMNS, separator=";"),
            ),
        )
