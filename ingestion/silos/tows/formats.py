"""How removals are delivered: the city's own register of the pound, and a foreign city's for trying the lake.

What is never read: make, model and colour of the vehicle, telephone and address of the pound, who ordered the removal.
"""

from __future__ import annotations

import polars as pl

from ingestion.delivery import naming
from ingestion.formats import parsing
from ingestion.formats.format import Dialect, Format, Kind
from ingestion.formats.parsing import text
from ingestion.formats.recognition import header_has
from ingestion.silos.tows.contracts import NOT_TOLD, OUTCOMES, REASONS

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
_LONGEST_DEPOT = 40
_DEPOT_DIGITS = 3


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

FORMATS = (
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
)
