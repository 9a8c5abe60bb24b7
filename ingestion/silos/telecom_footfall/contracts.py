"""What footfall from mobile networks is held to, and how it is conformed.

Nothing about a person or a device may enter: a row whose zone looks like an identifier is rejected. A count that the
operator should have hidden counts like one that it hid (``infra.build_spec.FOOTFALL_HIDDEN``).
"""

from __future__ import annotations

from typing import Annotated

import polars as pl

from infra.build_spec import FOOTFALL_HIDDEN, FOOTFALL_THRESHOLD
from infra.calendar.clock import to_utc
from infra.city.profile import UNKNOWN, City
from infra.lineage.classification import Classification
from ingestion.contracts.columns import column
from ingestion.contracts.contract import Contract
from ingestion.contracts.rules import LOCAL_TIME_RULES, present, promise, rule
from ingestion.contracts.traits import Interval, Row, Strict, told
from ingestion.contracts.vocabulary import vocabulary
from ingestion.formats import parsing
from ingestion.formats.format import Format
from ingestion.register import REFERENCE_DAY
from ingestion.rows.pseudonyms import Pseudonymiser

CATEGORIES = vocabulary("footfall_categories")
MEASURES = {"presence": "presence", "mitma": "arrivals"}
ABSURD_PEOPLE = 10_000_000
INDIVIDUAL_LEVEL = "individual_level"
WEIGHTS_UNBOUNDED = "weights_unbounded"

_IDENTIFIER = (
    r"(?i)^\+?\d[\d .-]{7,18}\d$"  # IMSI, IMEI, telephone number
    r"|^[0-9a-f]{32,}$|^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-|^[a-z0-9+/]{40,}={0,2}$"  # hash, UUID, base64
    r"|^([0-9a-f]{2}[:-]){5}[0-9a-f]{2}$|@|^-?\d+[.,]\d{3,}"  # MAC address, e-mail, coordinate
)
ZONE_MISSING = "A zone code is missing. Deliver the row again with it."


class Delivered(Interval):
    """People in a zone during an hour, as the operator aggregated them."""

    zone: str = column(
        Classification.PUBLIC, nullable=True, description="The operator's or the city's code of the zone."
    )
    category: str = column(Classification.PUBLIC, nullable=True, description="One of CATEGORIES; null when it is none.")
    stratum: str = column(
        Classification.STATISTIC,
        description="Tells apart counts of one zone, category and hour; empty when there is one.",
    )
    people: float = column(Classification.STATISTIC, nullable=True, description="NaN when it is no number.")
    threshold: float = column(
        Classification.PUBLIC, nullable=True, description="The operator's own; null when it documents none."
    )

    individual_level = rule(
        INDIVIDUAL_LEVEL,
        "zone",
        lambda zone: ~zone.str.contains(_IDENTIFIER),
        (
            "It looks like data about individuals (an identifier, a number, a position). Ask the operator for counts "
            "by zone and hour only, and destroy the file."
        ),
    )
    zone_missing = rule("zone_missing", "zone", present, ZONE_MISSING)
    category_unknown = rule(
        "category_unknown",
        "category",
        present,
        "The category is none of resident, worker, visitor. Correct it and deliver the row again.",
    )
    starts_off_grid = rule(
        "starts_off_grid",
        "starts_at",
        lambda start: told(start).dt.epoch("s") % 3600 == 0,
        "The hour does not start on the hour. Deliver counts by whole hour.",
    )
    count_unreadable = rule(
        "count_unreadable",
        "people",
        lambda people: people.is_not_null() & people.is_finite(),
        "The count is missing or no number. Deliver the row again when the count is known.",
    )
    count_absurd = rule(
        "count_absurd",
        "people",
        lambda people: people.is_between(0, ABSURD_PEOPLE) | people.is_nan(),
        (
            f"The count is negative or above {ABSURD_PEOPLE:_}: no zone holds that many. Ask the operator to check it "
            "and deliver again."
        ),
    )
    under_operator_threshold = rule(
        "under_operator_threshold",
        "people",
        lambda people: ~people.is_between(0, pl.col("threshold"), closed="left"),
        (
            f"Warning. The count is under {FOOTFALL_THRESHOLD}, which the operator undertook to hide: it counts "
            f"{FOOTFALL_HIDDEN}, as a hidden one does. Ask the operator to apply its threshold."
        ),
        warns=True,
    )


class Conformed(Strict):
    """Footfall in the lake."""

    zone_id: str = column(Classification.PUBLIC, derives_from=("zone",), description="Zone of the city, or 'unknown'.")
    category: str = column(
        Classification.PUBLIC, derives_from=("category",), description="resident, worker or visitor."
    )
    measure: str = column(
        Classification.PUBLIC, description="presence (people there) or arrivals (trips that end there)."
    )
    stratum: str = column(
        Classification.STATISTIC,
        derives_from=("stratum",),
        description="Tells apart counts of one zone, category and hour; means nothing by itself.",
    )
    starts_at: Annotated[pl.Datetime, "us", "UTC"] = column(
        Classification.PUBLIC,
        derives_from=("starts_at", "starts_local"),
        description="Instant at which the hour begins.",
    )
    local_hour: pl.Int32 = column(
        Classification.PUBLIC, derives_from=("starts_at", "starts_local"), description="0 to 23, on the city's clock."
    )
    people: float = column(
        Classification.STATISTIC,
        derives_from=("people",),
        description="People estimated by the operator; not always a whole number.",
    )
    event_date: pl.Date = column(
        Classification.PUBLIC, derives_from=("starts_at", "starts_local"), description="Local day."
    )

    hours = promise("local_hour", lambda hour: hour.is_between(0, 23))
    listed_categories = promise("category", lambda category: category.is_in(CATEGORIES))
    listed_measures = promise("measure", lambda measure: measure.is_in(list(MEASURES.values())))
    counts = promise("people", lambda people: people >= 0)


class DeliveredZones(Row):
    """What a district is in the operator's zoning, as delivered."""

    district: str = column(Classification.PUBLIC, nullable=True)
    operator_zone: str = column(Classification.PUBLIC, nullable=True)
    municipality: str = column(Classification.PUBLIC, nullable=True)

    district_present = rule("zone_missing", "district", present, ZONE_MISSING)
    operator_zone_present = rule("zone_missing", "operator_zone", present, ZONE_MISSING)
    municipality_present = rule("zone_missing", "municipality", present, ZONE_MISSING)


class ConformedZones(Strict):
    """What a district is in the operator's zoning."""

    district: str = column(
        Classification.PUBLIC, derives_from=("district",), description="District of the national zoning."
    )
    operator_zone: str = column(
        Classification.PUBLIC, derives_from=("operator_zone",), description="Zone of the operator."
    )
    municipality: str = column(
        Classification.PUBLIC, derives_from=("municipality",), description="Municipality of the district."
    )
    event_date: pl.Date = column(Classification.PUBLIC, description="The same for all: a zoning belongs to no day.")


def _zones(codes: pl.Series, city: City) -> pl.Series:
    """The ``zone_id`` that each code means in the city; null when it means none."""

    def meant(distinct: pl.Series) -> pl.Series:
        return distinct.replace_strict(dict(city.zone_codes), default=None, return_dtype=pl.String)

    return parsing.by_distinct(codes, meant)


def conform(footfall: pl.DataFrame, accepted: Format, city: City, _: Pseudonymiser) -> pl.DataFrame:
    """Footfall by zone of the city, in UTC and on the city's clock. See ``Dataset.conform``."""
    time_zone = accepted.clock(city)
    starts_at = pl.coalesce("starts_at", to_utc(pl.col("starts_local"), time_zone))
    dated = footfall.with_columns(
        zone_id=_zones(footfall["zone"], city),
        starts_at=starts_at,
        local=parsing.calendar(starts_at, time_zone),
    )
    elsewhere = pl.col("zone_id").is_null()
    covers_only_the_city = accepted.name == "presence"
    return dated.select(
        "row",
        pl.col("zone_id").fill_null(UNKNOWN),
        "category",
        pl.lit(MEASURES[accepted.name]).alias("measure"),
        "stratum",
        "starts_at",
        pl.col("local").struct["hour"].alias("local_hour"),
        pl.when(pl.col("people") < pl.col("threshold")).then(FOOTFALL_HIDDEN).otherwise("people").alias("people"),
        pl.col("local").struct["day"].alias("event_date"),
        reject=parsing.first_rule(
            {
                "time_does_not_exist": pl.col("starts_at").is_null(),
                "zone_unknown": elsewhere & covers_only_the_city,
            }
        ),
        warn=parsing.first_rule({"zone_outside_city": elsewhere}),
    )


def conform_zones(zones: pl.DataFrame, _format: Format, _city: City, _: Pseudonymiser) -> pl.DataFrame:
    """The operator's zoning, as it is. See ``Dataset.conform``."""
    return zones.with_columns(
        event_date=pl.lit(REFERENCE_DAY), reject=pl.lit(None, pl.String), warn=pl.lit(None, pl.String)
    )


FOOTFALL = Contract(
    Delivered,
    Conformed,
    conform,
    rules={
        WEIGHTS_UNBOUNDED: (
            "It holds estimates expanded by weights, and nobody declared how much one device weighs at most: what one "
            "device changes would have no bound. Ask the ministry for a cap of its weights, and the data protection "
            "officer to declare it; until then deliver counts of devices."
        ),
        **LOCAL_TIME_RULES,
        "zone_unknown": "The zone is none of the city's. Correct the code, or add it to the city profile.",
        "zone_outside_city": (
            "Warning. The zone is none of the city's: the row counts in zone 'unknown'. Nothing to do for flows that "
            "cover more than the city."
        ),
    },
)
ZONES = Contract(DeliveredZones, ConformedZones, conform_zones)
