"""What removals are held to, and how they are conformed.

What is read and not kept: the plate and the file number (pseudonymised), the coordinates (replaced by their zone).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import polars as pl

from infra.calendar.clock import to_utc
from infra.city.profile import UNKNOWN, City
from infra.lineage.classification import Classification
from ingestion.contracts.columns import column
from ingestion.contracts.contract import Contract
from ingestion.contracts.rules import (
    LOCAL_TIME_RULES,
    PLACE_RULES,
    PLATE_RULES,
    TIME_RULES,
    date_out_of_range,
    date_unreadable,
    latest_day,
    present,
    promise,
    rule,
    time_unreadable,
)
from ingestion.contracts.traits import Point, Strict
from ingestion.contracts.vocabulary import vocabulary
from ingestion.formats import parsing
from ingestion.formats.format import Format
from ingestion.rows.pseudonyms import Pseudonymiser

NOT_TOLD = "non_precise"
REASONS = vocabulary("tow_reasons")
OUTCOMES: Mapping[str, str] = {
    "en_cours": "Still in the pound",
    "mainlevee": "Release ordered (mainlevée), not yet collected",
    "restitution": "Given back to its owner",
    "restitution_sur_place": "Given back on the spot, before reaching the pound",
    "deplacement_technique": "Moved elsewhere on the street, never in the pound",
    "destruction": "Destroyed",
    "alienation": "Sold (by the Domaines)",
    NOT_TOLD: "The format tells no outcome",
}
_RELEASED = ("mainlevee", "restitution", "restitution_sur_place", "destruction", "alienation")


def _told_time(second_of_day: pl.Expr) -> pl.Expr:
    return second_of_day.is_between(0, 86_399).fill_null(False)


class Delivered(Point):
    """A removal as delivered, whatever the format. Lives in memory only."""

    record: str = column(Classification.IDENTIFIER, nullable=True, description="File number.")
    removed_on: pl.Date = column(Classification.QUASI_IDENTIFIER, nullable=True, description="Local day.")
    second_of_day: pl.Int32 = column(
        Classification.QUASI_IDENTIFIER, nullable=True, description="Local time; null when the format tells none."
    )
    removed_at: Annotated[pl.Datetime, "us", "UTC"] = column(
        Classification.QUASI_IDENTIFIER, nullable=True, description="When delivered with an offset."
    )
    reason: str = column(Classification.SENSITIVE, nullable=True, description="One of REASONS; null when it is none.")
    depot: str = column(
        Classification.QUASI_IDENTIFIER,
        nullable=True,
        description="The pound, as a label; null when it is no short name.",
    )
    plate: str = column(Classification.IDENTIFIER, nullable=True, description="Letters and digits only.")
    released_on: pl.Date = column(
        Classification.QUASI_IDENTIFIER, nullable=True, description="Local day of the release."
    )
    released_second: pl.Int32 = column(
        Classification.QUASI_IDENTIFIER, nullable=True, description="Local time of the release."
    )
    released_at: Annotated[pl.Datetime, "us", "UTC"] = column(
        Classification.QUASI_IDENTIFIER, nullable=True, description="When delivered with an offset."
    )
    release_told: bool = column(
        Classification.QUASI_IDENTIFIER, description="The delivery says something, readable or not, about the release."
    )
    outcome: str = column(Classification.SENSITIVE, nullable=True, description="One of OUTCOMES; null when it is none.")

    record_missing = rule(
        "record_missing",
        "record",
        present,
        "The removal has no file number. Deliver it again with the number of the pound's register.",
    )
    removal_readable = date_unreadable("removed_on")
    removal_in_range = date_out_of_range("removed_on")
    removal_told_in_full = time_unreadable("second_of_day")
    reason_unknown = rule(
        "reason_unknown",
        "reason",
        present,
        (
            "The reason is missing or none of the register's (see docs/formats.md). Correct it; when no reason fits, "
            "write autre."
        ),
    )
    depot_missing = rule(
        "depot_missing",
        "depot",
        present,
        "The pound is missing or not a short name. Give the pound's name, without address or number.",
    )
    outcome_unknown = rule(
        "outcome_unknown",
        "outcome",
        present,
        ("The outcome is none of the register's (see docs/formats.md). Correct it, or leave it blank."),
    )
    release_unreadable = rule(
        "release_unreadable",
        "release_told",
        lambda told: ~told | (pl.col("released_on").is_not_null() & _told_time(pl.col("released_second"))),
        (
            "The date and time of the release are not written as the format says. Correct them and deliver the row "
            "again."
        ),
    )


class Conformed(Strict):
    """A removal in the lake."""

    record_key: pl.Binary = column(
        Classification.PSEUDONYM,
        derives_from=("record", "removed_on", "removed_at"),
        description="Pseudonym of the file number.",
    )
    vehicle: pl.Binary = column(
        Classification.PSEUDONYM,
        derives_from=("plate", "removed_on", "removed_at"),
        nullable=True,
        description="Pseudonym of the plate; null when unknown.",
    )
    removed_at: Annotated[pl.Datetime, "us", "UTC"] = column(
        Classification.QUASI_IDENTIFIER,
        derives_from=("removed_on", "second_of_day", "removed_at"),
        nullable=True,
        description="Null: no time of day.",
    )
    local_hour: pl.Int32 = column(
        Classification.QUASI_IDENTIFIER,
        derives_from=("second_of_day", "removed_at"),
        nullable=True,
        description="Hour of the removal, 0 to 23, on the city's clock.",
    )
    zone_id: str = column(
        Classification.QUASI_IDENTIFIER, derives_from=("lon", "lat"), description="Zone of the city, or 'unknown'."
    )
    reason: str = column(
        Classification.SENSITIVE,
        derives_from=("reason",),
        description="Reason of the removal, from a fixed list.",
    )
    depot: str = column(Classification.QUASI_IDENTIFIER, derives_from=("depot",), description="The pound.")
    released_at: Annotated[pl.Datetime, "us", "UTC"] = column(
        Classification.QUASI_IDENTIFIER,
        derives_from=("released_on", "released_second", "released_at"),
        nullable=True,
        description="Null: not released.",
    )
    outcome: str = column(
        Classification.SENSITIVE,
        derives_from=("outcome",),
        description="What became of the vehicle, from a fixed list.",
    )
    event_date: pl.Date = column(
        Classification.QUASI_IDENTIFIER,
        derives_from=("removed_on", "removed_at"),
        description="Local day of the removal.",
    )

    hours = promise("local_hour", lambda hour: hour.is_between(0, 23))
    listed_reasons = promise("reason", lambda reason: reason.is_in(REASONS))
    listed_outcomes = promise("outcome", lambda outcome: outcome.is_in(list(OUTCOMES)))


def conform(tows: pl.DataFrame, accepted: Format, city: City, pseudonymiser: Pseudonymiser) -> pl.DataFrame:
    """Removals placed in a zone, in UTC and on the city's clock, under pseudonyms. See ``Dataset.conform``."""
    time_zone = accepted.clock(city)
    tows = parsing.on_clock(tows, time_zone, at="removed_at", day="removed_on", second="second_of_day")
    tows = parsing.on_clock(tows, time_zone, at="released_at", day="released_on", second="released_second")
    timed = tows.with_columns(
        removed_at=pl.coalesce("removed_at", to_utc(parsing.local_moment("removed_on", "second_of_day"), time_zone)),
        released_at=pl.coalesce(
            "released_at", to_utc(parsing.local_moment("released_on", "released_second"), time_zone)
        ),
        zone_id=city.locate(tows["lon"], tows["lat"]),
    )
    released = pl.col("outcome").is_in(_RELEASED)
    judged = timed.with_columns(
        reject=parsing.first_rule(
            {
                "time_does_not_exist": (pl.col("second_of_day").is_not_null() & pl.col("removed_at").is_null())
                | (pl.col("release_told") & pl.col("released_at").is_null()),
                "release_out_of_range": (pl.col("released_at") < pl.col("removed_at"))
                | (pl.col("released_on") > latest_day()),
                "outside_city": pl.col("lon").is_not_null() & pl.col("zone_id").is_null(),
            }
        ),
        warn=parsing.first_rule(
            {
                "outcome_inconsistent": (pl.col("outcome") != NOT_TOLD) & (released != pl.col("release_told")),
                "plate_unknown": pl.col("plate").is_null(),
                "plate_unusual": parsing.unusual_plate(pl.col("plate"), city.plates),
                "coordinates_unknown": pl.col("lon").is_null(),
                "time_unknown": pl.col("second_of_day").is_null(),
            }
        ),
    )
    records = judged.select(record=pl.concat_str(pl.lit(accepted.name), "record", separator="|"))["record"]
    return judged.select(
        "row",
        *pseudonymiser.records(records, tows["removed_on"]),
        pseudonymiser.pseudonyms("vehicle", tows["plate"], tows["removed_on"]).alias("vehicle"),
        "removed_at",
        (pl.col("second_of_day") // 3600).alias("local_hour"),
        pl.col("zone_id").fill_null(UNKNOWN),
        "reason",
        "depot",
        "released_at",
        "outcome",
        pl.col("removed_on").alias("event_date"),
        "reject",
        "warn",
    )


TOWS = Contract(
    Delivered,
    Conformed,
    conform,
    rules={
        **LOCAL_TIME_RULES,
        **TIME_RULES,
        **PLACE_RULES,
        **PLATE_RULES,
        "plate_unknown": (
            "Warning. The removal has no plate: it counts, its vehicle is unknown. Nothing to do for a few; many mean "
            "a damaged column."
        ),
        "release_out_of_range": (
            "The release is before the removal or in the future. Correct the date that is wrong and deliver the row "
            "again."
        ),
        "outcome_inconsistent": (
            "Warning. The outcome and the release contradict each other: released without a date, or dated and still "
            "in the pound. Complete the file and deliver the row again."
        ),
    },
)
