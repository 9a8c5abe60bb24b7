"""Fines: the national electronic fine extract (PVe), and two foreign cities' for trying the lake.

What is never read: the agent, unit and equipment, the offender's country and town, the street and number, make and kind
of the vehicle, amounts, points. What is read and not kept: the plate and the record number (pseudonymised), the
coordinates (replaced by their zone), the offence's label (replaced by its nature).
"""

from __future__ import annotations

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
    present,
    rule,
)
from ingestion.delivery import naming
from ingestion.formats import parsing
from ingestion.formats.natures import NATURES, natures
from ingestion.formats.parsing import text
from ingestion.formats.recognition import header_has
from ingestion.formats.state_plane import to_lon_lat
from ingestion.register import Dataset, Dialect, Format, Kind, Retention, Sample, Silo
from ingestion.rows.pseudonyms import Pseudonymiser

CORPS = ("police_municipale", "police_nationale", "gendarmerie", "autre")
OFFENCE_SYSTEMS = {"pve": "natinf", "los_angeles": "la", "essen": "tbnr"}

PVE_COLUMNS = (
    "DI_Id",
    "SD_Libelle",
    "MD_Libelle",
    "CV_DatePermisConduire",
    "TCV_Libelle",
    "CI_Libelle",
    "AC_Pays",
    "AC_Departement",
    "AC_Commune",
    "AC_CodePostal",
    "AC_CodeInsee",
    "AC_Npai",
    "EQUIPEMENT_IdentifiantEquipement",
    "FI_Id",
    "FI_Libelle",
    "NI_ClasseInfraction",
    "NI_CodeNatinf",
    "NI_Qualification",
    "NI_NombrePoints",
    "NI_MontantForfaitaireMinore",
    "NI_MontantForfaitaire",
    "NI_MontantForfaitaireMajore",
    "MI_Departement",
    "MI_CodeInsee",
    "MI_CodePostal",
    "MI_Arrondissement",
    "MI_Numero",
    "MI_NatureVoie",
    "MI_NomVoie",
    "MI_Ville",
    "MI_RepereKilometrique",
    "MI_NombreRecherchesRepereKilometrique",
    "MI_BisTer",
    "MI_SensCirculation",
    "MI_Pays",
    "TYPEVOIE_Libelle",
    "MIFVAO_CoordSite",
    "MIFVAO_CoordGPSLatitude",
    "MIFVAO_CoordGPSLongitude",
    "MIFVAO_CoordUTM",
    "MIFVAO_CoordAltitude",
    "MIFVAO_CoordComplement",
    "MIFVAO_FicheImmobilisationEtablie",
    "MIFVAO_EchangePermisConduire",
    "IS_PERSONNE_INTERCEPTEE",
    "MIFVAOVIT_VitesseRetenue",
    "MIFVAOVIT_VitesseLegaleAutorisee",
    "MI_DateHeureInfraction",
    "MI_DateHeureIntegration",
    "UNITE_Code",
    "UNITE_Libelle",
    "UNITE_ServiceSaisieSouche",
    "CORPSUNITE_Code",
    "CORPSUNITE_Libelle",
    "MIFVAO_VehiculeMarque",
    "MIFVAO_GenreVehiculeId",
    "GV_Code",
    "GV_Libelle",
    "DI_TypeImmatriculation",
    "MIFVAO_VehiculePaysImmatriculation",
)
"""The 60 columns of the national extract, in order."""
PVE_PLATE = "MIFVAO_VehiculeImmatriculation"

_NATINF = r"^0*[1-9]\d{0,5}$"
_TBNR = r"^[1-9]\d{5}$"
_LOS_ANGELES = r"^\d[0-9A-Z.+-]{0,9}$"
_DAMAGED_CODE = r"^\d(\.\d+)?E\+\d+$"
_ESSEN_RECORD = r"^\d{4}-\d\d-\d\d,.+,\d{1,6}$"


class Delivered(pa.DataFrameModel):
    """A fine as delivered, whatever the format. Lives in memory only."""

    row: pl.Int64 = column(Classification.PROVENANCE)
    record: str = column(
        Classification.IDENTIFIER,
        nullable=True,
        description="Record number; where there is none, content and occurrence.",
    )
    occurred_on: pl.Date = column(Classification.QUASI_IDENTIFIER, nullable=True, description="Local day.")
    second_of_day: pl.Int32 = column(
        Classification.QUASI_IDENTIFIER, nullable=True, description="Local time; null when the format tells none."
    )
    occurred_at: Annotated[pl.Datetime, "us", "UTC"] = column(
        Classification.QUASI_IDENTIFIER, nullable=True, description="When delivered with an offset."
    )
    lon: float = column(Classification.QUASI_IDENTIFIER, nullable=True, description="WGS84 degrees; null when unknown.")
    lat: float = column(Classification.QUASI_IDENTIFIER, nullable=True)
    offence_code: str = column(
        Classification.SENSITIVE, nullable=True, description="Code in the format's own catalogue."
    )
    offence_label: str = column(Classification.SENSITIVE, nullable=True)
    corps: str = column(
        Classification.QUASI_IDENTIFIER, nullable=True, description="The force that fined, in its own words."
    )
    plate: str = column(Classification.IDENTIFIER, nullable=True, description="Letters and digits only.")

    record_missing = rule("record_missing", "record", present)
    date_unreadable = rule("date_unreadable", "occurred_on", present)
    date_out_of_range = rule("date_out_of_range", "occurred_on", in_period)
    time_unreadable = rule("time_unreadable", "second_of_day", lambda seconds: seconds.is_between(0, 86_399))
    longitude_readable = rule("coordinates_unreadable", "lon", lambda lon: lon.is_between(-180, 180))
    latitude_readable = rule("coordinates_unreadable", "lat", lambda lat: lat.is_between(-90, 90))
    offence_code_unknown = rule("offence_code_unknown", "offence_code", present)

    class Config:
        strict = True


class Conformed(pa.DataFrameModel):
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
        description="One of ingestion.natures.NATURES.",
    )
    offence_system: str = column(Classification.PROVENANCE, description="Catalogue of the code: natinf, la, tbnr.")
    offence_code: str = column(Classification.SENSITIVE, derives_from=("offence_code",))
    corps: str = column(
        Classification.QUASI_IDENTIFIER,
        derives_from=("corps",),
        nullable=True,
        description="Force that fined; null when the format does not tell.",
    )
    event_date: pl.Date = column(
        Classification.QUASI_IDENTIFIER, derives_from=("occurred_on", "occurred_at"), description="Local day."
    )

    hours = rule("conformed_contract", "local_hour", lambda hour: hour.is_between(0, 23))
    listed_natures = rule("conformed_contract", "nature", lambda nature: nature.is_in(list(NATURES)))
    listed_corps = rule("conformed_contract", "corps", lambda corps: corps.is_in(CORPS))

    class Config:
        strict = True


def _code(value: pl.Expr, pattern: str) -> pl.Expr:
    return pl.when(value.str.contains(pattern)).then(value)


def _from_pve(batch: pl.DataFrame) -> pl.DataFrame:
    """``pve``: columns of the national extract (tab-separated, no quoting, local time without offset).

    The national extract carries no plate. A city's own copy may: its 61st column, ``MIFVAO_VehiculeImmatriculation``,
    is read when present. One unknown coordinate (0, 99999) makes the place unknown, except a longitude of 0, which
    crosses France, with a known latitude.
    """
    plate = parsing.plate(pl.col(PVE_PLATE)) if PVE_PLATE in batch.columns else pl.lit(None, pl.String)
    longitude = parsing.number(pl.col("MIFVAO_CoordGPSLongitude"))
    prepared = batch.select(
        "row",
        "DI_Id",
        "NI_CodeNatinf",
        "NI_Qualification",
        "CORPSUNITE_Libelle",
        moment=parsing.local_time(text("MI_DateHeureInfraction")),
        longitude=longitude,
        lat=parsing.coordinate("MIFVAO_CoordGPSLatitude"),
        plate=plate,
    ).with_columns(
        lon=pl.when(~pl.col("longitude").is_in(parsing.UNKNOWN_COORDINATES) | (pl.col("longitude") == 0)).then(
            "longitude"
        ),
    )
    return prepared.select(
        pl.col("row").cast(pl.Int64),
        text("DI_Id").alias("record"),
        pl.col("moment").struct["day"].alias("occurred_on"),
        pl.col("moment").struct["second"].alias("second_of_day"),
        pl.col("moment").struct["at"].alias("occurred_at"),
        *parsing.place(),
        _code(text("NI_CodeNatinf"), _NATINF).str.strip_chars_start("0").alias("offence_code"),
        text("NI_Qualification").alias("offence_label"),
        text("CORPSUNITE_Libelle").alias("corps"),
        "plate",
    )


def _from_los_angeles(batch: pl.DataFrame) -> pl.DataFrame:
    """``los_angeles``: parking citations. Coordinates in State Plane feet (99999: unknown), time as HHMM without
    leading zeros. The file's vehicle identification numbers are not read and it has no plates: vehicles are unknown.
    """
    lon, lat = to_lon_lat(*batch.select(parsing.coordinate("Latitude"), parsing.coordinate("Longitude")).get_columns())
    return batch.with_columns(lon=lon, lat=lat).select(
        pl.col("row").cast(pl.Int64),
        text("Ticket number").alias("record"),
        parsing.day(text("Issue Date").str.slice(0, 10), "%Y-%m-%d", "%m/%d/%Y").alias("occurred_on"),
        parsing.second_of_day_hhmm(text("Issue time")).alias("second_of_day"),
        pl.lit(None, pl.Datetime("us", "UTC")).alias("occurred_at"),
        *parsing.place(),
        _code(text("Violation code"), _LOS_ANGELES).alias("offence_code"),
        text("Violation Description").alias("offence_label"),
        pl.lit(None, pl.String).alias("corps"),
        pl.lit(None, pl.String).alias("plate"),
    )


def _from_essen(batch: pl.DataFrame) -> pl.DataFrame:
    """``essen``: day, street, offence code, without a header. Identical records are distinct fines: ``occurrence``
    tells them apart. The street only serves to identify the record and is not kept: the place is unknown.
    """
    return (
        batch.lazy()
        .select(
            pl.col("row").cast(pl.Int64),
            record=pl.concat_str(
                pl.col("date", "street", "tbnr", "occurrence").cast(pl.String).fill_null(""), separator="|"
            ),
            occurred_on=parsing.day(text("date"), "%Y-%m-%d"),
            second_of_day=pl.lit(None, pl.Int32),
            occurred_at=pl.lit(None, pl.Datetime("us", "UTC")),
            lon=pl.lit(None, pl.Float64),
            lat=pl.lit(None, pl.Float64),
            offence_code=_code(text("tbnr"), _TBNR),
            offence_label=pl.lit(None, pl.String),
            corps=pl.lit(None, pl.String),
            plate=pl.lit(None, pl.String),
        )
        .collect()
    )


def _looks_like_essen(sample: Sample) -> bool:
    records = pl.Series([line for line in sample.lines if line.strip()], dtype=pl.String)
    return len(records) > 0 and bool(records.str.contains(_ESSEN_RECORD).mean() >= 0.8)  # type: ignore[operator]


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


_TAB = Dialect(delimiter="\t", quote=None)
_COMMA = Dialect(delimiter=",")
_ESSEN = Dialect(delimiter=",", columns=("date", "street", "tbnr"))
_PVE_REQUIRED = (
    "DI_Id",
    "NI_CodeNatinf",
    "NI_Qualification",
    "MIFVAO_CoordGPSLatitude",
    "MIFVAO_CoordGPSLongitude",
    "MI_DateHeureInfraction",
    "CORPSUNITE_Libelle",
)
_LOS_ANGELES_REQUIRED = (
    "Ticket number",
    "Issue Date",
    "Issue time",
    "Violation code",
    "Violation Description",
    "Latitude",
    "Longitude",
)

SILO = Silo(
    name="verbalisations",
    title="Verbalisations électroniques (fines)",
    steward="Direction de la police municipale et de la sécurité, cellule statistique",
    purpose=(
        "Statistics of fines by place, time and nature, to plan the presence of the municipal police. Never to look "
        "for a vehicle, a person or an agent."
    ),
    legal_basis=(
        "Task carried out in the public interest: GDPR art. 6(1)(e), for statistics as art. 5(1)(b) and 89 allow; loi "
        "no 78-17 du 6 janvier 1978; missions of the municipal police: code de la sécurité intérieure, art. L. 511-1; "
        "arrêté du 14 avril 2009 (traitements des communes pour la constatation des infractions). To be confirmed by "
        "the DPO."
    ),
    recipients=("Analysts of the security department: marts only", "Stewards and DPO: receipts and quarantine"),
    retention=Retention(
        landing=timedelta(days=7),
        quarantine=timedelta(days=30),
        conformed_months=13,
    ),
    privacy_unit="vehicle-month",
    freshness=timedelta(days=2),
    cadence="20 5-22 * * *",
    datasets=(
        Dataset(
            name="verbalisations",
            description="One row per fine.",
            version="1.1.0",
            delivered=Delivered,
            conformed=Conformed,
            key=("record_key",),
            conform=conform,
        ),
    ),
    formats=(
        Format(
            name="pve",
            title="Procès-verbal électronique, extraction nationale (60 columns, tab-separated)",
            dataset="verbalisations",
            dialect=_TAB,
            required=_PVE_REQUIRED,
            optional=(PVE_PLATE,),
            recognise=header_has(_TAB, _PVE_REQUIRED),
            to_delivered=_from_pve,
            layout=PVE_COLUMNS,
            told_in={
                "record": ("DI_Id",),
                "occurred_on": ("MI_DateHeureInfraction",),
                "second_of_day": ("MI_DateHeureInfraction",),
                "lon": ("MIFVAO_CoordGPSLongitude",),
                "lat": ("MIFVAO_CoordGPSLatitude",),
                "offence_code": ("NI_CodeNatinf",),
            },
            kinds={
                "DI_Id": Kind.NUMBER,
                "NI_CodeNatinf": Kind.NUMBER,
                "MI_DateHeureInfraction": Kind.DAY_FIRST,
                "MIFVAO_CoordGPSLongitude": Kind.WRITTEN,
                "MIFVAO_CoordGPSLatitude": Kind.WRITTEN,
                PVE_PLATE: Kind.WRITTEN,
            },
            covers=naming.period,
        ),
        Format(
            name="los_angeles",
            title="City of Los Angeles, parking citations",
            time_zone="America/Los_Angeles",
            dataset="verbalisations",
            dialect=_COMMA,
            required=_LOS_ANGELES_REQUIRED,
            recognise=header_has(_COMMA, _LOS_ANGELES_REQUIRED),
            to_delivered=_from_los_angeles,
            may_be_blank=("Issue time", "Latitude", "Longitude"),
            told_in={
                "record": ("Ticket number",),
                "occurred_on": ("Issue Date",),
                "second_of_day": ("Issue time",),
                "lon": ("Latitude", "Longitude"),
                "lat": ("Latitude", "Longitude"),
                "offence_code": ("Violation code",),
            },
            kinds={"Ticket number": Kind.NUMBER, "Issue Date": Kind.MONTH_FIRST},
        ),
        Format(
            name="essen",
            title="Stadt Essen, Ordnungswidrigkeiten (day, street, offence code; no header)",
            time_zone="Europe/Berlin",
            dataset="verbalisations",
            dialect=_ESSEN,
            required=("date", "street", "tbnr"),
            recognise=_looks_like_essen,
            to_delivered=_from_essen,
            occurrence_columns=("date", "street", "tbnr"),
            told_in={"occurred_on": ("date",), "offence_code": ("tbnr",)},
            covers=naming.german_month,
        ),
    ),
    rules={
        "record_missing": "The fine has no record number. Deliver it again with the number the source system gave it.",
        **DATE_RULES,
        **TIME_RULES,
        **LOCAL_TIME_RULES,
        **PLACE_RULES,
        **PLATE_RULES,
        "offence_code_unknown": (
            "The offence code is not written as its catalogue writes codes (NATINF: up to six digits; TBNR: six "
            "digits). Correct it and deliver the row again."
        ),
        "offence_code_damaged": (
            "Warning. A spreadsheet rewrote the offence code as a number (8.06E+02). The nature comes from the label; "
            "export the column as text."
        ),
        **CONFORMED_RULES,
    },
)
