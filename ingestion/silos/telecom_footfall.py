"""Footfall from mobile networks, accepted only as the operator aggregated it.

Nothing about a person or a device may enter: a delivery with a column that looks individual is refused as a whole, and
a row whose zone looks like an identifier is rejected. A count that the operator should have hidden counts like one that
it hid (``infra.build_spec.FOOTFALL_HIDDEN``). Estimates expanded by weights that nobody capped are refused: what one
device changes of them has no bound.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Annotated

import duckdb
import pandera.polars as pa
import polars as pl

from infra.build_spec import FOOTFALL_HIDDEN, FOOTFALL_THRESHOLD
from infra.calendar.clock import to_utc
from infra.city.profile import UNKNOWN, City
from infra.lineage.classification import Classification
from ingestion.contracts.columns import column
from ingestion.contracts.rules import CONFORMED_RULES, DATE_RULES, LOCAL_TIME_RULES, in_period, present, rule
from ingestion.delivery import naming
from ingestion.formats import parsing
from ingestion.formats.parsing import text
from ingestion.formats.recognition import folded, header_has
from ingestion.register import REFERENCE_DAY, Dataset, Dialect, Format, Kind, Retention, Silo
from ingestion.rows.pseudonyms import Pseudonymiser

CATEGORIES = ("resident", "worker", "visitor")
MEASURES = {"presence": "presence", "mitma": "arrivals"}
PRESENCE_COLUMNS = ("zone", "hour", "category", "count")
ABSURD_PEOPLE = 10_000_000
INDIVIDUAL_LEVEL = "individual_level"
WEIGHTS_UNBOUNDED = "weights_unbounded"

_PRESENCE_CATEGORIES = {
    "resident": "resident",
    "residents": "resident",
    "worker": "worker",
    "travailleur": "worker",
    "travailleurs": "worker",
    "actif": "worker",
    "visitor": "visitor",
    "visiteur": "visitor",
    "visiteurs": "visitor",
}
_MITMA_ACTIVITIES = {
    "home": "resident",
    "casa": "resident",
    "work_or_study": "worker",
    "trabajo_estudio": "worker",
    "frequent_activity": "visitor",
    "frecuente": "visitor",
    "infrequent_activity": "visitor",
    "no_frecuente": "visitor",
    "otros": "visitor",
}

# Words of a column's name (see ingestion.formats.parsing.label) that no aggregate needs. The first mean nothing else;
# the others are common words, and only tell in a header that has columns of the format.
_ALWAYS_INDIVIDUAL = r"imsi|imei|msisdn|iccid|subscriber|abonne|handset|adid|idfa|gaid"
_INDIVIDUAL = (
    r"device|phone|telephone|mobile|hash|uuid|guid|latitude|longitude|birth|naissance|prenom|surname|e_?mail|courriel|"
    r"user_?id|pseudonym|(^|_)(id|tel|user|person|personne|client|customer|lat|lon|lng|x|y|gps|cell|antenne|mac|ip|tac|"
    r"nom|name|plate|plaque|adresse|address)(_|$)"
)
_IDENTIFIER = (
    r"(?i)^\+?\d[\d .-]{7,18}\d$"  # IMSI, IMEI, telephone number
    r"|^[0-9a-f]{32,}$|^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-|^[a-z0-9+/]{40,}={0,2}$"  # hash, UUID, base64
    r"|^([0-9a-f]{2}[:-]){5}[0-9a-f]{2}$|@|^-?\d+[.,]\d{3,}"  # MAC address, e-mail, coordinate
)

_MITMA_ENGLISH = (
    "date",
    "hour",
    "id_origin",
    "id_destination",
    "distance",
    "activity_origin",
    "activity_destination",
    "study_possible_origin",
    "study_possible_destination",
    "residence_province_ine_code",
    "income",
    "age",
    "sex",
    "n_trips",
)
_MITMA_SPANISH = (
    "fecha",
    "periodo",
    "origen",
    "destino",
    "distancia",
    "actividad_origen",
    "actividad_destino",
    "estudio_origen_posible",
    "estudio_destino_posible",
    "residencia",
    "renta",
    "edad",
    "sexo",
    "viajes",
)
_TO_ENGLISH = dict(zip(_MITMA_SPANISH, _MITMA_ENGLISH, strict=True))
_STRATA = tuple(name for name in _MITMA_ENGLISH if name not in {"date", "hour", "n_trips"})
_STRATUM_CHARACTERS = 16


class Delivered(pa.DataFrameModel):
    """People in a zone during an hour, as the operator aggregated them."""

    row: pl.Int64 = column(Classification.PROVENANCE)
    zone: str = column(
        Classification.PUBLIC, nullable=True, description="The operator's or the city's code of the zone."
    )
    category: str = column(Classification.PUBLIC, nullable=True, description="One of CATEGORIES; null when it is none.")
    stratum: str = column(
        Classification.STATISTIC,
        description="Tells apart counts of one zone, category and hour; empty when there is one.",
    )
    starts_at: Annotated[pl.Datetime, "us", "UTC"] = column(
        Classification.PUBLIC, nullable=True, description="When delivered with an offset."
    )
    starts_local: Annotated[pl.Datetime, "us", None] = column(
        Classification.PUBLIC, nullable=True, description="When delivered without."
    )
    people: float = column(Classification.STATISTIC, nullable=True, description="NaN when it is no number.")
    threshold: float = column(
        Classification.PUBLIC, nullable=True, description="The operator's own; null when it documents none."
    )

    individual_level = rule(INDIVIDUAL_LEVEL, "zone", lambda zone: ~zone.str.contains(_IDENTIFIER))
    zone_missing = rule("zone_missing", "zone", present)
    category_unknown = rule("category_unknown", "category", present)
    date_unreadable = rule(
        "date_unreadable", "starts_at", lambda start: start.is_not_null() | pl.col("starts_local").is_not_null()
    )
    date_out_of_range = rule(
        "date_out_of_range",
        "starts_at",
        lambda start: in_period(pl.coalesce("starts_local", start.dt.replace_time_zone(None)).dt.date()),
    )
    starts_off_grid = rule(
        "starts_off_grid",
        "starts_at",
        lambda start: pl.coalesce("starts_local", start.dt.replace_time_zone(None)).dt.epoch("s") % 3600 == 0,
    )
    count_unreadable = rule("count_unreadable", "people", lambda people: people.is_not_null() & people.is_finite())
    count_absurd = rule("count_absurd", "people", lambda people: people.is_between(0, ABSURD_PEOPLE) | people.is_nan())
    under_operator_threshold = rule(
        "under_operator_threshold",
        "people",
        lambda people: ~people.is_between(0, pl.col("threshold"), closed="left"),
        warns=True,
    )

    class Config:
        strict = True


class Conformed(pa.DataFrameModel):
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
        Classification.PUBLIC, derives_from=("starts_at", "starts_local")
    )
    local_hour: pl.Int32 = column(
        Classification.PUBLIC, derives_from=("starts_at", "starts_local"), description="0 to 23, on the city's clock."
    )
    people: float = column(Classification.STATISTIC, derives_from=("people",))
    event_date: pl.Date = column(
        Classification.PUBLIC, derives_from=("starts_at", "starts_local"), description="Local day."
    )

    hours = rule("conformed_contract", "local_hour", lambda hour: hour.is_between(0, 23))
    listed_categories = rule("conformed_contract", "category", lambda category: category.is_in(CATEGORIES))
    listed_measures = rule("conformed_contract", "measure", lambda measure: measure.is_in(list(MEASURES.values())))
    counts = rule("conformed_contract", "people", lambda people: people >= 0)

    class Config:
        strict = True


class DeliveredZones(pa.DataFrameModel):
    """What a district is in the operator's zoning, as delivered."""

    row: pl.Int64 = column(Classification.PROVENANCE)
    district: str = column(Classification.PUBLIC, nullable=True)
    operator_zone: str = column(Classification.PUBLIC, nullable=True)
    municipality: str = column(Classification.PUBLIC, nullable=True)

    district_present = rule("zone_missing", "district", present)
    operator_zone_present = rule("zone_missing", "operator_zone", present)
    municipality_present = rule("zone_missing", "municipality", present)

    class Config:
        strict = True


class ConformedZones(pa.DataFrameModel):
    """What a district is in the operator's zoning."""

    district: str = column(Classification.PUBLIC, derives_from=("district",))
    operator_zone: str = column(Classification.PUBLIC, derives_from=("operator_zone",))
    municipality: str = column(Classification.PUBLIC, derives_from=("municipality",))
    event_date: pl.Date = column(Classification.PUBLIC, description="The same for all: a zoning belongs to no day.")

    class Config:
        strict = True


def refuse_individuals(declared: tuple[str, ...]) -> Callable[[tuple[str, ...]], str | None]:
    """The ``Format.forbidden`` of an aggregate: refuses a header that has, beyond ``declared``, an individual's "
    "column.
    """
    known = set(map(folded, declared))

    def forbidden(header: tuple[str, ...]) -> str | None:
        others = [name for name in header if folded(name) not in known]
        is_this_format = len(set(map(folded, header)) & known) >= 2
        pattern = f"{_ALWAYS_INDIVIDUAL}|{_INDIVIDUAL}" if is_this_format else _ALWAYS_INDIVIDUAL
        looks_individual = parsing.label(pl.Series(others, dtype=pl.String)).str.contains(pattern)
        return INDIVIDUAL_LEVEL if looks_individual.any() else None

    return forbidden


def refuse_unbounded(declared: tuple[str, ...]) -> Callable[[tuple[str, ...]], str | None]:
    """The ``Format.forbidden`` of estimates expanded by weights: refuses individuals, and then whatever there is.

    To accept them, the sender has to declare how much a device weighs at most, and counts be divided by it: bounds are
    those of a device that counts for one.
    """
    individuals = refuse_individuals(declared)

    def forbidden(header: tuple[str, ...]) -> str | None:
        is_this_format = len(set(header) & set(declared)) >= 2
        return individuals(header) or (WEIGHTS_UNBOUNDED if is_this_format else None)

    return forbidden


def _from_presence(batch: pl.DataFrame) -> pl.DataFrame:
    """``presence``: people present by zone, hour and category, see docs/formats.md."""
    return batch.select(
        pl.col("row").cast(pl.Int64),
        zone=text("zone"),
        category=parsing.spelled("category", _PRESENCE_CATEGORIES),
        stratum=pl.lit(""),
        starts_at=parsing.instant(pl.col("hour")),
        starts_local=pl.lit(None, pl.Datetime("us")),
        people=parsing.whole(pl.col("count")).cast(pl.Float64),
        threshold=pl.lit(FOOTFALL_THRESHOLD, pl.Float64),
    )


def _from_mitma(batch: pl.DataFrame) -> pl.DataFrame:
    """``mitma``: trips between districts, from the Spanish ministry of transport, as arrivals at their destination.

    Two layouts: the ministry's (Spanish, pipes) and that of its open-data tools (English, commas). Numbers of trips are
    estimates with decimals; the ministry documents no threshold under which it hides them, so none is checked.
    """
    english = batch.rename(_TO_ENGLISH, strict=False)
    day = parsing.day(text("date"), "%Y-%m-%d", "%Y%m%d")
    hour = parsing.whole(pl.col("hour"))
    start = pl.when(hour.is_between(0, 23)).then(day.cast(pl.Datetime("us")) + pl.duration(hours=hour, time_unit="us"))
    strata = english.select(pl.concat_str(pl.col(_STRATA).fill_null(""), separator="|")).to_series()
    return english.select(
        pl.col("row").cast(pl.Int64),
        zone=text("id_destination"),
        category=parsing.spelled("activity_destination", _MITMA_ACTIVITIES),
        stratum=_short_hash(strata),
        starts_at=pl.lit(None, pl.Datetime("us", "UTC")),
        starts_local=start,
        people=parsing.number(pl.col("n_trips")),
        threshold=pl.lit(None, pl.Float64),
    )


def _short_hash(values: pl.Series) -> pl.Series:
    """64 bits of MD5, in hexadecimal: short, and the same whatever the version of any library. Hides nothing."""
    with duckdb.connect() as connection:
        connection.register("strata", pl.DataFrame({"value": values}).to_arrow())
        hashed = connection.sql(f"select substr(md5(value), 1, {_STRATUM_CHARACTERS}) as stratum from strata").pl()
    return hashed["stratum"]


def _from_mitma_zones(batch: pl.DataFrame) -> pl.DataFrame:
    """``mitma_zones``: the ministry's table from census districts to the zones of its mobility data."""
    return batch.select(
        pl.col("row").cast(pl.Int64),
        district=text("distrito"),
        operator_zone=text("distrito_mitma"),
        municipality=text("municipio_mitma"),
    )


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


_COMMA = Dialect(delimiter=",")
_SEMICOLON = Dialect(delimiter=";")
_PIPE = Dialect(delimiter="|")
_MITMA_ZONES = ("distrito", "distrito_mitma", "municipio_mitma")
_MITMA_DECLARED = (
    *_MITMA_ENGLISH,
    *_MITMA_SPANISH,
    "residence_province_name",
    "trips_total_length_km",
    "year",
    "month",
    "day",
    "time_slot",
    "viajes_km",
)

SILO = Silo(
    name="telecom_footfall",
    title="Fréquentation par téléphonie mobile (telecom footfall)",
    steward="Direction de la police municipale et de la sécurité, cellule statistique",
    purpose="Residents, workers and visitors per zone and time band, to size means to the people really there.",
    legal_basis=(
        "Task carried out in the public interest: GDPR art. 6(1)(e). The operator may only pass on anonymous data: "
        "code des postes et des communications électroniques, art. L. 34-1; the city accepts counts the operator "
        "aggregated, and nothing else. To be confirmed by the DPO."
    ),
    recipients=("Analysts of the security department: marts only", "Stewards and DPO: receipts and quarantine"),
    retention=Retention(
        landing=timedelta(days=7),
        quarantine=timedelta(days=30),
        conformed_months=None,
    ),
    privacy_unit="device-month, by the operator",
    freshness=timedelta(days=3),
    cadence="40 */6 * * *",
    datasets=(
        Dataset(
            name="telecom_footfall",
            description="People by zone, hour and category, as the operator aggregated them.",
            delivered=Delivered,
            conformed=Conformed,
            key=("zone_id", "category", "measure", "stratum", "starts_at"),
            conform=conform,
        ),
        Dataset(
            name="telecom_zones",
            description="What a district is in the operator's zoning.",
            delivered=DeliveredZones,
            conformed=ConformedZones,
            key=("district",),
            conform=conform_zones,
            reference=True,
        ),
    ),
    formats=(
        Format(
            name="presence",
            title="People present by zone, hour and category (semicolons)",
            dataset="telecom_footfall",
            dialect=_SEMICOLON,
            required=PRESENCE_COLUMNS,
            recognise=header_has(_SEMICOLON, PRESENCE_COLUMNS),
            to_delivered=_from_presence,
            layout=PRESENCE_COLUMNS,
            told_in={"starts_at": ("hour",), "people": ("count",)},
            kinds={"zone": Kind.NUMBER, "count": Kind.COUNT},
            forbidden=refuse_individuals(PRESENCE_COLUMNS),
            covers=naming.period,
        ),
        Format(
            name="mitma",
            title="Ministerio de Transportes, viajes (Spanish, pipes)",
            time_zone="Europe/Madrid",
            dataset="telecom_footfall",
            dialect=_PIPE,
            required=_MITMA_SPANISH,
            recognise=header_has(_PIPE, _MITMA_SPANISH),
            to_delivered=_from_mitma,
            told_in={
                "zone": ("destino",),
                "category": ("actividad_destino",),
                "starts_at": ("fecha", "periodo"),
                "people": ("viajes",),
            },
            kinds={"destino": Kind.NUMBER},
            forbidden=refuse_unbounded(_MITMA_DECLARED),
        ),
        Format(
            name="mitma",
            title="Ministerio de Transportes, viajes (English, commas)",
            time_zone="Europe/Madrid",
            dataset="telecom_footfall",
            dialect=_COMMA,
            required=_MITMA_ENGLISH,
            recognise=header_has(_COMMA, _MITMA_ENGLISH),
            to_delivered=_from_mitma,
            told_in={
                "zone": ("id_destination",),
                "category": ("activity_destination",),
                "starts_at": ("date", "hour"),
                "people": ("n_trips",),
            },
            kinds={"id_destination": Kind.NUMBER},
            forbidden=refuse_unbounded(_MITMA_DECLARED),
        ),
        Format(
            name="mitma_zones",
            title="Ministerio de Transportes, relaciones distrito (pipes)",
            dataset="telecom_zones",
            dialect=_PIPE,
            required=_MITMA_ZONES,
            recognise=header_has(_PIPE, _MITMA_ZONES),
            to_delivered=_from_mitma_zones,
            told_in={
                "district": ("distrito",),
                "operator_zone": ("distrito_mitma",),
                "municipality": ("municipio_mitma",),
            },
        ),
    ),
    rules={
        INDIVIDUAL_LEVEL: (
            "It looks like data about individuals (an identifier, a number, a position). Ask the operator for counts "
            "by zone and hour only, and destroy the file."
        ),
        WEIGHTS_UNBOUNDED: (
            "It holds estimates expanded by weights, and nobody declared how much one device weighs at most: what one "
            "device changes would have no bound. Ask the ministry for a cap of its weights, and the data protection "
            "officer to declare it; until then deliver counts of devices."
        ),
        "under_operator_threshold": (
            f"Warning. The count is under {FOOTFALL_THRESHOLD}, which the operator undertook to hide: it counts "
            f"{FOOTFALL_HIDDEN}, as a hidden one does. Ask the operator to apply its threshold."
        ),
        "zone_missing": "A zone code is missing. Deliver the row again with it.",
        "zone_unknown": "The zone is none of the city's. Correct the code, or add it to the city profile.",
        "zone_outside_city": (
            "Warning. The zone is none of the city's: the row counts in zone 'unknown'. Nothing to do for flows that "
            "cover more than the city."
        ),
        "category_unknown": "The category is none of resident, worker, visitor. Correct it and deliver the row again.",
        **DATE_RULES,
        **LOCAL_TIME_RULES,
        "starts_off_grid": "The hour does not start on the hour. Deliver counts by whole hour.",
        "count_unreadable": "The count is missing or no number. Deliver the row again when the count is known.",
        "count_absurd": (
            f"The count is negative or above {ABSURD_PEOPLE:_}: no zone holds that many. Ask the operator to check it "
            "and deliver again."
        ),
        **CONFORMED_RULES,
    },
)
