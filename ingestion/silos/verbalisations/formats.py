"""How fines are delivered: the national electronic fine extract (PVe), and two foreign cities' for trying the lake.

What is never read: the agent, unit and equipment, the offender's country and town, the street and number, make and kind
of the vehicle, amounts, points.
"""

from __future__ import annotations

import polars as pl

from ingestion.delivery import naming
from ingestion.formats import parsing
from ingestion.formats.format import Dialect, Format, Kind, Sample
from ingestion.formats.parsing import text
from ingestion.formats.recognition import header_has
from ingestion.formats.state_plane import to_lon_lat

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
_ESSEN_RECORD = r"^\d{4}-\d\d-\d\d,.+,\d{1,6}$"


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

FORMATS = (
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
)
