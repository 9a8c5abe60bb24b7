"""People present in the demo city's zones by hour and category, as a mobile operator aggregates them (``presence``).

The operator hides counts under its threshold: such rows are not in its files.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date

import numpy as np
import polars as pl

from infra.build_spec import FOOTFALL_THRESHOLD
from infra.city.profile import City
from ingestion.silos.telecom_footfall.contracts import CATEGORIES, INDIVIDUAL_LEVEL
from ingestion.silos.telecom_footfall.formats import PRESENCE_COLUMNS
from ingestion.synthetic.demo import Demo
from ingestion.synthetic.draws import centrality, generator, thinned
from ingestion.synthetic.faults import Breaks, Example, FileFault, file_faults
from ingestion.synthetic.rhythms import RESIDENTS, VISITORS, WORKERS, day_kind
from ingestion.synthetic.table import Table, instants

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


_PRESENCE = Breaks("presence")
_MITMA = Breaks("mitma")
_MITMA_ENGLISH = Breaks("mitma (English)")
_MITMA_ZONES = Breaks("mitma_zones")

EXAMPLES: Mapping[str, Example] = {
    "presence": Example(
        {
            "zone": "1320101",
            "hour": "2025-03-10T14:00:00+01:00",
            "category": "resident",
            "count": "120",
        },
        city="marseille",
        other={"category": "worker"},
    ),
    "mitma": Example(
        {
            "fecha": "20250310",
            "periodo": "14",
            "origen": "01001",
            "destino": "01002",
            "distancia": "2-10",
            "actividad_origen": "casa",
            "actividad_destino": "trabajo_estudio",
            "estudio_origen_posible": "0",
            "estudio_destino_posible": "0",
            "residencia": "01",
            "renta": "10-15",
            "edad": "25-45",
            "sexo": "hombre",
            "viajes": "10.5",
            "viajes_km": "80.25",
        },
        city="elsewhere",
        other={"edad": "45-65"},
    ),
    "mitma (English)": Example(
        {
            "date": "2025-03-10",
            "hour": "14",
            "id_origin": "01001",
            "id_destination": "01002",
            "distance": "2-10",
            "activity_origin": "home",
            "activity_destination": "work_or_study",
            "study_possible_origin": "FALSE",
            "study_possible_destination": "FALSE",
            "residence_province_ine_code": "01",
            "residence_province_name": "Araba/Álava",
            "income": "10-15",
            "age": "25-45",
            "sex": "male",
            "n_trips": "10.5",
            "trips_total_length_km": "80.25",
            "year": "2025",
            "month": "3",
            "day": "10",
            "time_slot": "14",
        },
        city="elsewhere",
        other={"age": "45-65"},
    ),
    "mitma_zones": Example(
        {"distrito": "0100101", "distrito_mitma": "01001_AM", "municipio_mitma": "01001_AM"},
        city="elsewhere",
        other={"distrito": "0100201"},
    ),
}
BREAKS = (
    # What the demo city's senders do, in this order, and then what else breaks a rule.
    *_PRESENCE.of_counts(moment="hour", off_grid="10:15:00", last="count"),
    _PRESENCE("zone_unknown", {"zone": "9999"}, "bad_code"),
    _PRESENCE("category_unknown", {"category": "touriste?"}, "bad_category"),
    _PRESENCE("under_operator_threshold", {"count": "3"}, "under_threshold", warns=True),
    # The number of no subscriber: 001 is the test network.
    _PRESENCE(INDIVIDUAL_LEVEL, {"zone": "001019999999999"}, "individual_rows"),
    _PRESENCE("individual_level", {"zone": "208011234567890"}),
    _PRESENCE("individual_level", {"zone": "+33 6 00 00 00 00"}),
    _PRESENCE("individual_level", {"zone": "d41d8cd98f00b204e9800998ecf8427e"}),
    _PRESENCE("individual_level", {"zone": "43.29650"}),
    _MITMA("individual_level", {"destino": "nobody@example.org"}),
    _PRESENCE("under_operator_threshold", {"count": "19"}, warns=True),
    _PRESENCE("under_operator_threshold", {"count": "0"}, warns=True),
    _PRESENCE("zone_missing", {"zone": ""}),
    _MITMA_ZONES("zone_missing", {"municipio_mitma": ""}),
    _PRESENCE("zone_unknown", {"zone": "1399999"}),
    _MITMA("zone_outside_city", {"destino": "28079"}, warns=True),
    _PRESENCE("category_unknown", {"category": "tourist"}),
    _MITMA("category_unknown", {"actividad_destino": "NA"}),
    _PRESENCE("date_unreadable", {"hour": "2025-03-10 14h"}),
    _MITMA_ENGLISH("date_unreadable", {"hour": "24"}),
    _PRESENCE("date_out_of_range", {"hour": "1999-03-10T14:00:00+01:00"}),
    _MITMA("time_does_not_exist", {"fecha": "20250330", "periodo": "2"}),
    _PRESENCE("starts_off_grid", {"hour": "2025-03-10T14:30:00+01:00"}),
    _PRESENCE("count_unreadable", {"count": "many"}),
    _MITMA("count_unreadable", {"viajes": "NA"}),
    _PRESENCE("count_absurd", {"count": "10000001"}),
    _MITMA("count_absurd", {"viajes": "-1"}),
)


def _with_identifiers(table: Table, _: Table, random: np.random.Generator) -> bytes:
    """What an operator must never send: a line per subscriber. The numbers are of the test network (001 01)."""
    numbers = random.integers(0, 10**10, table.rows.height)
    lines = (f"{line};00101{number:010d}" for line, number in zip(table.rows["line"], numbers, strict=True))
    return "\n".join([f"{table.header};imsi", *lines, ""]).encode()


DEMO = Demo(
    lambda city, seed, scale, _: Footfall(city, seed=seed, scale=scale),
    EXAMPLES,
    BREAKS,
    file_faults=(
        *file_faults("category", ("hour", "heure")),
        FileFault("individual_columns", INDIVIDUAL_LEVEL, _with_identifiers),
    ),
    correction={"count": "77"},
)
