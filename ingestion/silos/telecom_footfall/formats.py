"""How footfall is delivered: the city's operator, and the Spanish ministry's trips for trying the lake.

A delivery with a column that looks individual is refused as a whole. Estimates expanded by weights that nobody capped
are refused: what one device changes of them has no bound.
"""

from __future__ import annotations

from collections.abc import Callable

import duckdb
import polars as pl

from infra.build_spec import FOOTFALL_THRESHOLD
from ingestion.delivery import naming
from ingestion.formats import parsing
from ingestion.formats.format import Dialect, Format, Kind
from ingestion.formats.parsing import text
from ingestion.formats.recognition import folded, header_has
from ingestion.silos.telecom_footfall.contracts import INDIVIDUAL_LEVEL, WEIGHTS_UNBOUNDED

PRESENCE_COLUMNS = ("zone", "hour", "category", "count")

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

FORMATS = (
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
)
