"""The nature of an offence: twelve groups that compare across offence catalogues.

Catalogues differ by country: ``natinf`` (France), ``tbnr`` (the German Tatbestandskatalog), ``la`` (Los Angeles). Each
is mapped here, on distinct codes or labels only.
"""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from ingestion.contracts.vocabulary import vocabulary
from ingestion.formats.parsing import by_distinct, label

OTHER = "autre"
NATURES = vocabulary("natures")

_SPEED, _SIGNALS = "vitesse", "feu_stop_priorite"
_OBSTRUCTING, _GRAVELY_OBSTRUCTING = "stationnement_genant", "stationnement_tres_genant"
_REGULATED, _ABANDONED, _DANGEROUS = "stationnement_reglemente", "stationnement_abusif", "arret_stationnement_dangereux"
_SAFETY, _RESERVED = "telephone_ceinture_casque", "circulation_voie_reservee"
_PAPERS, _NUISANCE = "assurance_permis_controle", "proprete_tranquillite"

# Patterns are tried in order on the label, in lower-case ASCII words joined by "_" (see
# ingestion.formats.parsing.label).
_NATINF = (
    (r"feu_(rouge|jaune|de_signalisation)|(panneau|signal)_stop|arret_impose|priorite|cedez_le_passage", _SIGNALS),
    (r"stationnement.*(abusif|7_jours|sept_jours)", _ABANDONED),
    (r"(arret|stationnement).*dangereux", _DANGEROUS),
    (r"(arret|stationnement).*tres_genant", _GRAVELY_OBSTRUCTING),
    (r"stationnement.*(payant|paiement|horodateur|disque|zone_bleue|duree)", _REGULATED),
    (r"stationnement|arret_(genant|interdit|irregulier|unilateral|ou)|(^|_)arret_de_vehicule", _OBSTRUCTING),
    (r"vitesse", _SPEED),
    (r"telephone|ecouteur|oreillette|ecran|ceinture|casque|retenue_(homologue|pour_enfant)", _SAFETY),
    (r"assurance|permis|controle_technique|certificat_d_immatriculation|plaque|carte_grise|visite_technique", _PAPERS),
    (r"ordure|dechet|dejection|urin|bruit|tapage|graffiti|depot_.*(objet|epave)|eclats?_de_verre", _NUISANCE),
    (r"voies?_(de_.*)?reservee|voie_verte|couloir|aire_pietonne|piste_cyclable|bande_d_arret|trottoir", _RESERVED),
    (r"faibles_emissions|circulation_(restreinte|interdite|reglementee)|sens_(interdit|unique)", _RESERVED),
)
_LOS_ANGELES = (
    (r"72_?h", _ABANDONED),
    (r"meter|mtr|over_?time|ov_tm|time_l|pref|ovnight|ovrnght|city_lot|carshare", _REGULATED),
    (r"red_(zone|curb)|fire|hydrant|disabled|handicap|(^|_)dp(_|$)|ramp", _GRAVELY_OBSTRUCTING),
    (r"sidewalk|crosswalk|bus_zone|bike|safety_zone|intersection", _GRAVELY_OBSTRUCTING),
    (r"tabs|tags|plate|evidence_of_reg|^52\d\d|^4000", _PAPERS),
    (r"park|prk|(^|_)pk|stop|sta?ndn?|zone|curb|driveway|alley|double|angle|private_property|lines|veh", _OBSTRUCTING),
    (r"^225(00(b|f|i|l|1)|078|14|22|1157)", _GRAVELY_OBSTRUCTING),  # the code written in the label's place
    (r"^225|^80|^86", _OBSTRUCTING),
)

# Ranges of six-digit codes (first, last), the first that holds the code wins. The first digit is the regulation (1:
# StVO), the next two its paragraph; among signs (§§ 41, 42) the last three tell speed limits from parking bans.
_TBNR = (
    (103178, 103245, _SPEED),
    (103633, 103852, _SPEED),
    (108000, 108999, _SIGNALS),
    (112000, 112999, _OBSTRUCTING),
    (113000, 113999, _REGULATED),
    (121000, 121999, _SAFETY),
    (123000, 123999, _SAFETY),
    (132000, 132999, _NUISANCE),
    (137010, 137015, _OBSTRUCTING),
    (137000, 137999, _SIGNALS),
    (141000, 141056, _OBSTRUCTING),
    (141118, 141125, _OBSTRUCTING),
    (141164, 141164, _OBSTRUCTING),
    (141174, 141184, _GRAVELY_OBSTRUCTING),
    (141194, 141194, _OBSTRUCTING),
    (141060, 141199, _RESERVED),
    (141200, 141240, _SPEED),
    (141245, 141245, _OBSTRUCTING),
    (141292, 141445, _OBSTRUCTING),
    (141518, 141529, _OBSTRUCTING),
    (141622, 141624, _OBSTRUCTING),
    (141572, 141634, _RESERVED),
    (141635, 141727, _SPEED),
    (141743, 141767, _SPEED),
    (141774, 141777, _GRAVELY_OBSTRUCTING),
    (141828, 141866, _OBSTRUCTING),
    (142103, 142110, _OBSTRUCTING),
    (142118, 142131, _SPEED),
    (142154, 142170, _OBSTRUCTING),
    (142202, 142290, _REGULATED),
    (142605, 142636, _SPEED),
    (204000, 204999, _PAPERS),
    (329000, 329999, _PAPERS),
    (803000, 829999, _PAPERS),
)


def _first_match(patterns: tuple[tuple[str, str], ...]) -> pl.Expr:
    words = pl.col("words")
    return pl.coalesce(*(pl.when(words.str.contains(pattern)).then(pl.lit(nature)) for pattern, nature in patterns))


def _first_range(ranges: tuple[tuple[int, int, str], ...]) -> pl.Expr:
    code = pl.col("words").cast(pl.Int32, strict=False)
    return pl.coalesce(*(pl.when(code.is_between(first, last)).then(pl.lit(nature)) for first, last, nature in ranges))


def natures(system: str, codes: pl.Series, labels: pl.Series) -> pl.Series:
    """The nature of each offence of one catalogue; :data:`OTHER` where neither code nor label tells.

    Args:
        system: ``natinf``, ``la`` or ``tbnr``.
        codes: offence codes, strings.
        labels: what the catalogue calls the offence, strings; not looked at for ``tbnr``, whose codes tell.
    """
    told_by = codes if system == "tbnr" else labels
    mapping = _MAPPINGS[system]

    def of_distinct(distinct: pl.Series) -> pl.Series:
        return pl.DataFrame({"words": label(distinct)}).select(nature=mapping)["nature"]

    return by_distinct(told_by.cast(pl.String), of_distinct).fill_null(OTHER).alias("nature")


_MAPPINGS: Mapping[str, pl.Expr] = {
    "natinf": _first_match(_NATINF),
    "la": _first_match(_LOS_ANGELES),
    "tbnr": _first_range(_TBNR),
}
