"""People counted in the public places of the demo city, by quarter of an hour and direction (``counter``).

Every counter sends every quarter of an hour, so the number of rows depends on the places and days. Now and then an
event fills a place beyond its density threshold.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date

import numpy as np
import polars as pl

from infra.city.profile import City
from ingestion.silos.crowd_flows.contracts import ABSURD_PEOPLE_PER_MINUTE
from ingestion.silos.crowd_flows.formats import COUNTER_COLUMNS, COUNTER_MINUTES
from ingestion.synthetic.demo import Demo
from ingestion.synthetic.draws import generator, thinned
from ingestion.synthetic.faults import Breaks, Example, file_faults
from ingestion.synthetic.rhythms import CROWDS, day_kind
from ingestion.synthetic.table import Table, instants

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


_COUNTER = Breaks("counter")
_MOERS = Breaks("moers")
_MELBOURNE = Breaks("melbourne")
_MELBOURNE_SENSORS = Breaks("melbourne_sensors")

EXAMPLES: Mapping[str, Example] = {
    "counter": Example(
        {
            "place_id": "vieux-port",
            "direction": "in",
            "starts_at": "2025-03-10T14:15:00+01:00",
            "count": "120",
            "area_m2": "10000",
        },
        city="marseille",
        other={"direction": "out"},
    ),
    "moers": Example(
        {
            "Lage": "Steinstraße, Moers",
            "Zeitpunkt der Messung": "2025-03-10 14:00:00 +0100",
            "Fußgänger insgesamt": "10",
            "Erwachsene Richtung Neumarkt": "4",
            "Erwachsene Richtung Neuer Wall": "3",
            "Kinder Richtung Neumarkt": "2",
            "Kinder Richtung Neuer Wall": "1",
        },
        city="elsewhere",
        other={"Zeitpunkt der Messung": "2025-03-10 15:00:00 +0100"},
    ),
    "melbourne": Example(
        {
            "Date": "10-Mar-2025",
            "Day_of_week": "Monday",
            "Hour": "14",
            "SensorID": "4",
            "SensorName": "Made up",
            "PedestrianCount": "120",
        },
        city="elsewhere",
        other={"SensorID": "17"},
    ),
    "melbourne_sensors": Example(
        {
            "Sensor ID": "4",
            "Sensor Name": "Mad_T",
            "Sensor Description": "Made up (West)",
            "Status": "Installed",
            "Latitude": "-37.8150",
            "Longitude": "144.9660",
        },
        city="elsewhere",
        other={"Sensor ID": "17"},
    ),
}
BREAKS = (
    # What the demo city's senders do, in this order, and then what else breaks a rule.
    *_COUNTER.of_counts(moment="starts_at", off_grid="10:07:00", last="area_m2"),
    _COUNTER("place_unknown", {"place_id": "nulle-part"}, "bad_code"),
    _COUNTER("direction_unknown", {"direction": "de travers"}, "bad_direction"),
    _COUNTER("count_negative", {"count": "-5"}, "negative_count"),
    _COUNTER("area_unreadable", {"area_m2": "-3"}, "bad_area"),
    _COUNTER("place_missing", {"place_id": ""}),
    _MELBOURNE("place_missing", {"SensorID": "NaN"}),
    _MELBOURNE_SENSORS("place_missing", {"Sensor ID": ""}),
    _COUNTER("place_unknown", {"place_id": "champs-elysees"}),
    _MOERS("place_unlisted", {"Lage": "Hauptstraße"}, warns=True),
    _MELBOURNE_SENSORS("place_unnamed", {"Sensor Description": ""}),
    _MELBOURNE_SENSORS("coordinates_missing", {"Latitude": "", "Longitude": ""}),
    _MELBOURNE_SENSORS("coordinates_unreadable", {"Latitude": "south"}),
    _MELBOURNE_SENSORS("outside_city", {"Latitude": "-33.87", "Longitude": "151.21"}),
    _COUNTER("direction_unknown", {"direction": "up"}),
    _COUNTER("date_unreadable", {"starts_at": "2025-03-10T14:15:00"}),
    _MOERS("date_unreadable", {"Zeitpunkt der Messung": "gestern"}),
    _MELBOURNE("date_unreadable", {"Hour": "24"}),
    _COUNTER("date_out_of_range", {"starts_at": "2999-03-10T14:15:00+01:00"}),
    _MELBOURNE("date_out_of_range", {"Date": "01-Jan-1999"}),
    _MELBOURNE("time_does_not_exist", {"Date": "05-Oct-2025", "Hour": "2"}),
    _COUNTER("starts_off_grid", {"starts_at": "2025-03-10T14:20:00+01:00"}),
    _MOERS("starts_off_grid", {"Zeitpunkt der Messung": "2025-03-10 14:15:00 +0100"}),
    _COUNTER("count_unreadable", {"count": "12.5"}),
    _COUNTER("count_unreadable", {"count": ""}),
    _MOERS("count_unreadable", {"Kinder Richtung Neumarkt": "viele"}),
    _COUNTER("count_negative", {"count": "-1"}),
    _COUNTER("count_absurd", {"count": "30001"}),
    _MELBOURNE("count_absurd", {"PedestrianCount": "120001"}),
    _COUNTER("area_unreadable", {"area_m2": "0"}),
    _COUNTER("area_unreadable", {"area_m2": "grande"}),
)

DEMO = Demo(
    lambda city, seed, scale, _: Crowds(city, seed=seed, scale=scale),
    EXAMPLES,
    BREAKS,
    file_faults=file_faults("direction", ("starts_at", "debut")),
    correction={"count": "77"},
)
