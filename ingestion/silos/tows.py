"""Vehicle removals and the pound's register (mise en fourrière), and a foreign city's for trying the lake.

What is never read: make, model and colour of the vehicle, telephone and address of the pound, who ordered the removal.
What is read and not kept: the plate and the file number (pseudonymised), the coordinates (replaced by their zone).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated

import pandera.polars as pa
import polars as pl

from infra.calendar.clock import to_utc
from infra.city.profile import UNKNOWN, City
from infra.lineage.classification import Classification
from ingestion.contracts.columns import column
from ingestion.contracts.rules import (
    CONFORMED_RULES,
    DATE_RULES,
    LOCAL_TIME_RULES,
    PLACE_RULES,
    PLATE_RULES,
    TIME_RULES,
    in_period,
    latest_day,
    present,
    rule,
)
from ingestion.delivery import naming
from ingestion.formats import parsing
from ingestion.formats.parsing import text
from ingestion.formats.recognition import header_has
from ingestion.register import Dataset, Dialect, Format, Kind, Retention, Silo
from ingestion.rows.pseudonyms import Pseudonymiser

NOT_TOLD = "non_precise"
REASONS: Mapping[str, str] = {
    "stationnement_genant": "Obstructive parking (code de la route, R. 417-10)",
    "stationnement_tres_genant": "Very obstructive parking (R. 417-11)",
    "stationnement_abusif": "Parked more than seven days without moving (R. 417-12)",
    "stationnement_dangereux": "Dangerous parking (R. 417-9)",
    "manifestation_travaux": "Temporary ban: event, market, works, filming",
    "vehicule_epave": "Wreck, or vehicle missing indispensable parts",
    "infraction_conducteur": "Driver's offence: no insurance, no licence, alcohol, speed",
    "requisition_judiciaire": "At the request of justice or police: theft, inquiry",
    "accident_panne": "Accident or breakdown",
    "autre": "Another reason",
    NOT_TOLD: "The format tells no reason",
}
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

FOURRIERE_COLUMNS = (
    "numero_dossier",
    "date_heure_enlevement",
    "longitude",
    "latitude",
    "motif",
    "immatriculation",
    "fourriere",
    "autorite_prescriptrice",
    "date_heure_mainlevee",
    "date_heure_restitution",
    "issue",
)
"""The columns of format ``fourriere``, in the order of docs/formats.md; ``autorite_prescriptrice`` is not read."""

_REASON_SYNONYMS = {
    **{reason: reason for reason in REASONS if reason != NOT_TOLD},
    "genant": "stationnement_genant",
    "entrave_a_la_circulation": "stationnement_genant",
    "tres_genant": "stationnement_tres_genant",
    "abusif": "stationnement_abusif",
    "dangereux": "stationnement_dangereux",
    "arrete_temporaire": "manifestation_travaux",
    "evenement": "manifestation_travaux",
    "manifestation": "manifestation_travaux",
    "marche": "manifestation_travaux",
    "travaux": "manifestation_travaux",
    "tournage": "manifestation_travaux",
    "epave": "vehicule_epave",
    "voie_d_epave": "vehicule_epave",
    "defaut_d_assurance": "infraction_conducteur",
    "defaut_de_permis": "infraction_conducteur",
    "immobilisation": "infraction_conducteur",
    "requisition": "requisition_judiciaire",
    "vehicule_vole": "requisition_judiciaire",
    "accident": "accident_panne",
    "panne": "accident_panne",
}
_OUTCOME_SYNONYMS = {
    **{outcome: outcome for outcome in OUTCOMES if outcome != NOT_TOLD},
    "en_fourriere": "en_cours",
    "restitue": "restitution",
    "detruit": "destruction",
    "detruite": "destruction",
    "vente": "alienation",
    "vendu_par_les_domaines": "alienation",
    "remise_au_domaine": "alienation",
}
_CHICAGO_POUNDS = (
    ("doty", "doty"),
    ("sacramento", "sacramento"),
    ("lower_wacker", "lower_wacker"),
    ("o_?hare", "ohare"),
    ("police_pound", "police_pound"),
)
_RELEASED = ("mainlevee", "restitution", "restitution_sur_place", "destruction", "alienation")
_LONGEST_DEPOT = 40
_DEPOT_DIGITS = 3


def _told_time(second_of_day: pl.Expr) -> pl.Expr:
    return second_of_day.is_between(0, 86_399).fill_null(False)


class Delivered(pa.DataFrameModel):
    """A removal as delivered, whatever the format. Lives in memory only."""

    row: pl.Int64 = column(Classification.PROVENANCE)
    record: str = column(Classification.IDENTIFIER, nullable=True, description="File number.")
    removed_on: pl.Date = column(Classification.QUASI_IDENTIFIER, nullable=True, description="Local day.")
    second_of_day: pl.Int32 = column(
        Classification.QUASI_IDENTIFIER, nullable=True, description="Local time; null when the format tells none."
    )
    removed_at: Annotated[pl.Datetime, "us", "UTC"] = column(
        Classification.QUASI_IDENTIFIER, nullable=True, description="When delivered with an offset."
    )
    lon: float = column(Classification.QUASI_IDENTIFIER, nullable=True, description="WGS84 degrees; null when unknown.")
    lat: float = column(Classification.QUASI_IDENTIFIER, nullable=True)
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

    record_missing = rule("record_missing", "record", present)
    date_unreadable = rule("date_unreadable", "removed_on", present)
    date_out_of_range = rule("date_out_of_range", "removed_on", in_period)
    time_unreadable = rule("time_unreadable", "second_of_day", lambda seconds: seconds.is_between(0, 86_399))
    longitude_readable = rule("coordinates_unreadable", "lon", lambda lon: lon.is_between(-180, 180))
    latitude_readable = rule("coordinates_unreadable", "lat", lambda lat: lat.is_between(-90, 90))
    reason_unknown = rule("reason_unknown", "reason", present)
    depot_missing = rule("depot_missing", "depot", present)
    outcome_unknown = rule("outcome_unknown", "outcome", present)
    release_unreadable = rule(
        "release_unreadable",
        "release_told",
        lambda told: ~told | (pl.col("released_on").is_not_null() & _told_time(pl.col("released_second"))),
    )

    class Config:
        strict = True


class Conformed(pa.DataFrameModel):
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
        Classification.SENSITIVE, derives_from=("reason",), description="One of ingestion.silos.tows.REASONS."
    )
    depot: str = column(Classification.QUASI_IDENTIFIER, derives_from=("depot",), description="The pound.")
    released_at: Annotated[pl.Datetime, "us", "UTC"] = column(
        Classification.QUASI_IDENTIFIER,
        derives_from=("released_on", "released_second", "released_at"),
        nullable=True,
        description="Null: not released.",
    )
    outcome: str = column(
        Classification.SENSITIVE, derives_from=("outcome",), description="One of ingestion.silos.tows.OUTCOMES."
    )
    event_date: pl.Date = column(
        Classification.QUASI_IDENTIFIER,
        derives_from=("removed_on", "removed_at"),
        description="Local day of the removal.",
    )

    hours = rule("conformed_contract", "local_hour", lambda hour: hour.is_between(0, 23))
    listed_reasons = rule("conformed_contract", "reason", lambda reason: reason.is_in(list(REASONS)))
    listed_outcomes = rule("conformed_contract", "outcome", lambda outcome: outcome.is_in(list(OUTCOMES)))

    class Config:
        strict = True


def _depot(names: pl.Series) -> pl.Series:
    """The pounds' names as labels; null for what is no short name: a telephone number, an address."""
    return parsing.by_distinct(
        names,
        lambda distinct: (
            pl.DataFrame({"label": parsing.label(distinct)})
            .select(
                pl.when(
                    (pl.col("label").str.len_chars() <= _LONGEST_DEPOT)
                    & (pl.col("label").str.count_matches(r"\d") <= _DEPOT_DIGITS)
                ).then("label")
            )
            .to_series()
        ),
    )


def _from_fourriere(batch: pl.DataFrame) -> pl.DataFrame:
    """``fourriere``: the city's own CSV, see docs/formats.md. The vehicle is released when it is given back, or else
    when its release is ordered; a blank ``issue`` means that it is still in the pound.
    """
    prepared = batch.select(
        "row",
        record=text("numero_dossier"),
        removed=parsing.local_time(text("date_heure_enlevement")),
        lon=parsing.coordinate("longitude"),
        lat=parsing.coordinate("latitude"),
        reason=parsing.spelled("motif", _REASON_SYNONYMS),
        depot=pl.col("fourriere").map_batches(_depot, return_dtype=pl.String),
        plate=parsing.plate(pl.col("immatriculation")),
        released=pl.coalesce(text("date_heure_restitution"), text("date_heure_mainlevee")),
        outcome=parsing.spelled("issue", _OUTCOME_SYNONYMS, blank="en_cours"),
    ).with_columns(release=parsing.local_time(pl.col("released")))
    return prepared.select(
        pl.col("row").cast(pl.Int64),
        "record",
        pl.col("removed").struct["day"].alias("removed_on"),
        pl.col("removed").struct["second"].alias("second_of_day"),
        pl.col("removed").struct["at"].alias("removed_at"),
        *parsing.place(),
        "reason",
        "depot",
        "plate",
        pl.col("release").struct["day"].alias("released_on"),
        pl.col("release").struct["second"].alias("released_second"),
        pl.col("release").struct["at"].alias("released_at"),
        pl.col("released").is_not_null().alias("release_told"),
        "outcome",
    )


def _from_chicago(batch: pl.DataFrame) -> pl.DataFrame:
    """``chicago``: towed vehicles. A day without a time, no place of removal, no reason, no release; of the pound's
    address only its name is kept. The issuing state of the plate is not read: the few vehicles of different states with
    the same plate count as one.
    """
    return batch.select(
        pl.col("row").cast(pl.Int64),
        record=text("Inventory Number"),
        removed_on=parsing.day(text("Tow Date"), "%m/%d/%Y"),
        second_of_day=pl.lit(None, pl.Int32),
        removed_at=pl.lit(None, pl.Datetime("us", "UTC")),
        lon=pl.lit(None, pl.Float64),
        lat=pl.lit(None, pl.Float64),
        reason=pl.lit(NOT_TOLD),
        depot=text("Towed to Address").map_batches(
            lambda values: parsing.by_distinct(values, _chicago_pound), return_dtype=pl.String
        ),
        plate=parsing.plate(pl.col("Plate")),
        released_on=pl.lit(None, pl.Date),
        released_second=pl.lit(None, pl.Int32),
        released_at=pl.lit(None, pl.Datetime("us", "UTC")),
        release_told=pl.lit(False),
        outcome=pl.lit(NOT_TOLD),
    )


def _chicago_pound(addresses: pl.Series) -> pl.Series:
    words = pl.col("words")
    named = pl.coalesce(*(pl.when(words.str.contains(part)).then(pl.lit(name)) for part, name in _CHICAGO_POUNDS))
    return pl.DataFrame({"words": parsing.label(addresses)}).select(depot=named.fill_null("autre"))["depot"]


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


_SEMICOLON = Dialect(delimiter=";")
_COMMA = Dialect(delimiter=",")
_FOURRIERE_READ = tuple(column for column in FOURRIERE_COLUMNS if column != "autorite_prescriptrice")
_FOURRIERE_MAY_BE_BLANK = (
    "longitude",
    "latitude",
    "immatriculation",
    "date_heure_mainlevee",
    "date_heure_restitution",
    "issue",
)
_CHICAGO_READ = ("Tow Date", "Plate", "Towed to Address", "Inventory Number")

SILO = Silo(
    name="tows",
    title="Enlèvements et fourrière (tows)",
    steward="Direction de la police municipale et de la sécurité, gestion de la fourrière",
    purpose=(
        "Statistics of removals by place, time, reason and delay, and of the demand for tow trucks. Never to look for "
        "a vehicle or its owner."
    ),
    legal_basis=(
        "Task carried out in the public interest: GDPR art. 6(1)(e), for statistics as art. 5(1)(b) and 89 allow; loi "
        "no 78-17 du 6 janvier 1978; fourrière: code de la route, art. L. 325-1 s. and R. 325-12 s., décret no "
        "2020-775 du 24 juin 2020. To be confirmed by the DPO."
    ),
    recipients=("Analysts of the security department: marts only", "Stewards and DPO: receipts and quarantine"),
    retention=Retention(
        landing=timedelta(days=7),
        quarantine=timedelta(days=30),
        conformed_months=13,
    ),
    privacy_unit="vehicle-month",
    freshness=timedelta(days=2),
    cadence="25 5-22 * * *",
    datasets=(
        Dataset(
            name="tows",
            description="One row per vehicle removed.",
            version="1.1.0",
            delivered=Delivered,
            conformed=Conformed,
            key=("record_key",),
            conform=conform,
        ),
    ),
    formats=(
        Format(
            name="fourriere",
            title="Registre de la fourrière (semicolons)",
            dataset="tows",
            dialect=_SEMICOLON,
            required=_FOURRIERE_READ,
            recognise=header_has(_SEMICOLON, _FOURRIERE_READ),
            to_delivered=_from_fourriere,
            may_be_blank=_FOURRIERE_MAY_BE_BLANK,
            layout=FOURRIERE_COLUMNS,
            told_in={
                "record": ("numero_dossier",),
                "removed_on": ("date_heure_enlevement",),
                "second_of_day": ("date_heure_enlevement",),
                "lon": ("longitude",),
                "lat": ("latitude",),
                "reason": ("motif",),
                "plate": ("immatriculation",),
                "depot": ("fourriere",),
                "release_told": ("date_heure_restitution", "date_heure_mainlevee"),
                "outcome": ("issue",),
            },
            kinds={
                "numero_dossier": Kind.NUMBER,
                "date_heure_enlevement": Kind.DAY_FIRST,
                "date_heure_mainlevee": Kind.DAY_FIRST,
                "date_heure_restitution": Kind.DAY_FIRST,
                "longitude": Kind.WRITTEN,
                "latitude": Kind.WRITTEN,
                "immatriculation": Kind.WRITTEN,
                "fourriere": Kind.NAME,
            },
            covers=naming.period,
        ),
        Format(
            name="chicago",
            title="City of Chicago, towed vehicles",
            time_zone="America/Chicago",
            dataset="tows",
            dialect=_COMMA,
            required=_CHICAGO_READ,
            recognise=header_has(_COMMA, _CHICAGO_READ),
            to_delivered=_from_chicago,
            may_be_blank=("Plate",),
            told_in={
                "record": ("Inventory Number",),
                "removed_on": ("Tow Date",),
                "depot": ("Towed to Address",),
                "plate": ("Plate",),
            },
            kinds={"Inventory Number": Kind.NUMBER, "Tow Date": Kind.MONTH_FIRST, "Plate": Kind.WRITTEN},
        ),
    ),
    rules={
        "record_missing": "The removal has no file number. Deliver it again with the number of the pound's register.",
        **DATE_RULES,
        **TIME_RULES,
        **LOCAL_TIME_RULES,
        **PLACE_RULES,
        **PLATE_RULES,
        "plate_unknown": (
            "Warning. The removal has no plate: it counts, its vehicle is unknown. Nothing to do for a few; many mean "
            "a damaged column."
        ),
        "reason_unknown": (
            "The reason is missing or none of the register's (see docs/formats.md). Correct it; when no reason fits, "
            "write autre."
        ),
        "depot_missing": "The pound is missing or not a short name. Give the pound's name, without address or number.",
        "outcome_unknown": (
            "The outcome is none of the register's (see docs/formats.md). Correct it, or leave it blank."
        ),
        "release_unreadable": (
            "The date and time of the release are not written as the format says. Correct them and deliver the row "
            "again."
        ),
        "release_out_of_range": (
            "The release is before the removal or in the future. Correct the date that is wrong and deliver the row "
            "again."
        ),
        "outcome_inconsistent": (
            "Warning. The outcome and the release contradict each other: released without a date, or dated and still "
            "in the pound. Complete the file and deliver the row again."
        ),
        **CONFORMED_RULES,
    },
)
