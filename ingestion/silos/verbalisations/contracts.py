"""What fines are held to, and how they are conformed.

What is read and not kept: the plate and the record number (pseudonymised), the coordinates (replaced by their zone),
the offence's label (replaced by its nature).
"""

from __future__ import annotations

from typing import Annotated

import polars as pl

from infra.calendar.clock import to_utc
from infra.city.profile import UNKNOWN, City
from infra.lineage.classification import Classification
from ingestion.contracts.columns import column
from ingestion.contracts.contract import Contract
from ingestion.contracts.rules import LOCAL_TIME_RULES, PLACE_RULES, PLATE_RULES, TIME_RULES, present, promise, rule
from ingestion.contracts.traits import Moment, Point, Strict
from ingestion.formats import parsing
from ingestion.formats.format import Format
from ingestion.rows.pseudonyms import Pseudonymiser
from ingestion.silos.verbalisations.natures import NATURES, natures

CORPS = ("police_municipale", "police_nationale", "gendarmerie", "autre")
OFFENCE_SYSTEMS = {"pve": "natinf", "los_angeles": "la", "essen": "tbnr"}
_DAMAGED_CODE = r"^\d(\.\d+)?E\+\d+$"


class Delivered(Point, Moment):
    """A fine as delivered, whatever the format. Lives in memory only."""

    record: str = column(
        Classification.IDENTIFIER,
        nullable=True,
        description="Record number; where there is none, content and occurrence.",
    )
    offence_code: str = column(
        Classification.SENSITIVE, nullable=True, description="Code in the format's own catalogue."
    )
    offence_label: str = column(Classification.SENSITIVE, nullable=True)
    corps: str = column(
        Classification.QUASI_IDENTIFIER, nullable=True, description="The force that fined, in its own words."
    )
    plate: str = column(Classification.IDENTIFIER, nullable=True, description="Letters and digits only.")

    record_missing = rule(
        "record_missing",
        "record",
        present,
        "The fine has no record number. Deliver it again with the number the source system gave it.",
    )
    offence_code_unknown = rule(
        "offence_code_unknown",
        "offence_code",
        present,
        (
            "The offence code is not written as its catalogue writes codes (NATINF: up to six digits; TBNR: six "
            "digits). Correct it and deliver the row again."
        ),
    )


class Conformed(Strict):
    """A fine in the lake."""

    record_key: pl.Binary = column(
        Classification.PSEUDONYM,
        derives_from=("record", "occurred_on", "occurred_at"),
        description="Pseudonym of the record number.",
    )
    vehicle: pl.Binary = column(
        Classification.PSEUDONYM,
        derives_from=("plate", "occurred_on", "occurred_at"),
        nullable=True,
        description="Pseudonym of the plate; null when unknown.",
    )
    occurred_at: Annotated[pl.Datetime, "us", "UTC"] = column(
        Classification.QUASI_IDENTIFIER,
        derives_from=("occurred_on", "second_of_day", "occurred_at"),
        nullable=True,
        description="Null: no time of day.",
    )
    local_hour: pl.Int32 = column(
        Classification.QUASI_IDENTIFIER,
        derives_from=("second_of_day", "occurred_at"),
        nullable=True,
        description="0 to 23, on the city's clock.",
    )
    zone_id: str = column(
        Classification.QUASI_IDENTIFIER, derives_from=("lon", "lat"), description="Zone of the city, or 'unknown'."
    )
    nature: str = column(
        Classification.SENSITIVE,
        derives_from=("offence_code", "offence_label"),
        description="Nature of the offence, from a fixed list.",
    )
    offence_system: str = column(Classification.PROVENANCE, description="Catalogue of the code: natinf, la, tbnr.")
    offence_code: str = column(
        Classification.SENSITIVE, derives_from=("offence_code",), description="Code of the offence in that catalogue."
    )
    corps: str = column(
        Classification.QUASI_IDENTIFIER,
        derives_from=("corps",),
        nullable=True,
        description="Force that fined; null when the format does not tell.",
    )
    event_date: pl.Date = column(
        Classification.QUASI_IDENTIFIER, derives_from=("occurred_on", "occurred_at"), description="Local day."
    )

    hours = promise("local_hour", lambda hour: hour.is_between(0, 23))
    listed_natures = promise("nature", lambda nature: nature.is_in(NATURES))
    listed_corps = promise("corps", lambda corps: corps.is_in(CORPS))


def _corps(values: pl.Series) -> pl.Series:
    def of_distinct(distinct: pl.Series) -> pl.Series:
        words = pl.col("words")
        named = (
            pl.when(words.str.contains(r"municip|asvp"))
            .then(pl.lit(CORPS[0]))
            .when(words.str.contains(r"gendarm"))
            .then(pl.lit(CORPS[2]))
            .when(words.str.contains(r"police|securite_publique|crs"))
            .then(pl.lit(CORPS[1]))
            .otherwise(pl.lit(CORPS[3]))
        )
        return pl.DataFrame({"words": parsing.label(distinct)}).select(named)["literal"]

    return parsing.by_distinct(values, of_distinct)


def conform(fines: pl.DataFrame, accepted: Format, city: City, pseudonymiser: Pseudonymiser) -> pl.DataFrame:
    """Fines placed in a zone, in UTC and on the city's clock, under pseudonyms. See ``Dataset.conform``."""
    system, time_zone = OFFENCE_SYSTEMS[accepted.name], accepted.clock(city)
    fines = parsing.on_clock(fines, time_zone, at="occurred_at", day="occurred_on", second="second_of_day")
    placed = fines.with_columns(
        occurred_at=pl.coalesce("occurred_at", to_utc(parsing.local_moment("occurred_on", "second_of_day"), time_zone)),
        zone_id=city.locate(fines["lon"], fines["lat"]),
        nature=natures(system, fines["offence_code"], fines["offence_label"]),
        corps=_corps(fines["corps"]),
    ).with_columns(
        reject=parsing.first_rule(
            {
                "time_does_not_exist": pl.col("second_of_day").is_not_null() & pl.col("occurred_at").is_null(),
                "outside_city": pl.col("lon").is_not_null() & pl.col("zone_id").is_null(),
            }
        ),
        warn=parsing.first_rule(
            {
                "coordinates_unknown": pl.col("lon").is_null(),
                "offence_code_damaged": pl.col("offence_code").str.contains(_DAMAGED_CODE),
                "plate_unusual": parsing.unusual_plate(pl.col("plate"), city.plates),
                "time_unknown": pl.col("second_of_day").is_null(),
            }
        ),
    )
    records = placed.select(record=pl.concat_str(pl.lit(accepted.name), "record", separator="|"))["record"]
    return placed.select(
        "row",
        *pseudonymiser.records(records, fines["occurred_on"]),
        pseudonymiser.pseudonyms("vehicle", fines["plate"], fines["occurred_on"]).alias("vehicle"),
        "occurred_at",
        (pl.col("second_of_day") // 3600).alias("local_hour"),
        pl.col("zone_id").fill_null(UNKNOWN),
        "nature",
        pl.lit(system).alias("offence_system"),
        "offence_code",
        "corps",
        pl.col("occurred_on").alias("event_date"),
        "reject",
        "warn",
    )


FINES = Contract(
    Delivered,
    Conformed,
    conform,
    rules={
        **LOCAL_TIME_RULES,
        **TIME_RULES,
        **PLACE_RULES,
        **PLATE_RULES,
        "offence_code_damaged": (
            "Warning. A spreadsheet rewrote the offence code as a number (8.06E+02). The nature comes from the label; "
            "export the column as text."
        ),
    },
)
