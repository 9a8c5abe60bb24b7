"""Offences of three catalogues fall into the same twelve natures."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingestion.silos.verbalisations.natures import NATURES, OTHER, natures

NATINF = {
    "STATIONNEMENT GENANT DE VEHICULE SUR LE TROTTOIR": "stationnement_genant",
    "Stationnement très gênant d'un véhicule motorisé sur un passage piéton": "stationnement_tres_genant",
    "ARRET TRES GENANT SUR UNE VOIE RESERVEE AUX TRANSPORTS PUBLICS": "stationnement_tres_genant",
    "STATIONNEMENT ABUSIF DE VEHICULE PENDANT UNE DUREE EXCEDANT 7 JOURS": "stationnement_abusif",
    "STATIONNEMENT IRREGULIER EN ZONE DE STATIONNEMENT PAYANT": "stationnement_reglemente",
    "ARRET DANGEREUX DE VEHICULE": "arret_stationnement_dangereux",
    "EXCES DE VITESSE INFERIEUR A 20 KM/H": "vitesse",
    "INOBSERVATION DE L'ARRET IMPOSE PAR UN FEU ROUGE FIXE": "feu_stop_priorite",
    "REFUS DE PRIORITE A PIETON": "feu_stop_priorite",
    "USAGE D'UN TELEPHONE TENU EN MAIN": "telephone_ceinture_casque",
    "CONDUITE SANS PORT DE CEINTURE DE SECURITE": "telephone_ceinture_casque",
    "CIRCULATION SUR VOIE DE CIRCULATION RESERVEE AUX BUS": "circulation_voie_reservee",
    "CIRCULATION EN SENS INTERDIT": "circulation_voie_reservee",
    "MAINTIEN EN CIRCULATION SANS CONTROLE TECHNIQUE PERIODIQUE": "assurance_permis_controle",
    "ABANDON D'ORDURES SUR LA VOIE PUBLIQUE": "proprete_tranquillite",
    "CHASSE EN TEMPS PROHIBE": OTHER,
}
LOS_ANGELES = {
    "METER EXP.": "stationnement_reglemente",
    "EXCEED 72HRS-ST": "stationnement_abusif",
    "DISABLED PARKING/NO": "stationnement_tres_genant",
    "NO PARK/STREET CLEAN": "stationnement_genant",
    "DISPLAY OF TABS": "assurance_permis_controle",
    "22500H": "stationnement_genant",
    "17104h": OTHER,
}
TBNR = {
    "103202": "vitesse",
    "141236": "vitesse",
    "112454": "stationnement_genant",
    "141312": "stationnement_genant",
    "113140": "stationnement_reglemente",
    "137600": "feu_stop_priorite",
    "123624": "telephone_ceinture_casque",
    "141621": "circulation_voie_reservee",
    "329113": "assurance_permis_controle",
    "900100": OTHER,
}


@pytest.mark.parametrize(
    ("system", "told_by", "expected"),
    [("natinf", "label", NATINF), ("la", "label", LOS_ANGELES), ("tbnr", "code", TBNR)],
)
def test_known_offences(system: str, told_by: str, expected: dict[str, str]) -> None:
    words, nothing = pl.Series(list(expected)), pl.Series([None] * len(expected), dtype=pl.String)
    codes, labels = (nothing, words) if told_by == "label" else (words, nothing)
    assert dict(zip(expected, natures(system, codes, labels), strict=True)) == expected


@given(st.sampled_from(["natinf", "la", "tbnr"]), st.lists(st.none() | st.text(max_size=40), max_size=20))
def test_every_offence_has_one_of_the_natures(system: str, words: list[str | None]) -> None:
    series = pl.Series(words, dtype=pl.String)
    found = natures(system, series, series)
    assert len(found) == len(words)
    assert set(found) <= set(NATURES)
