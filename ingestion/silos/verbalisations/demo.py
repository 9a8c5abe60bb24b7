"""Fines of the demo city, in the national extract's format (``pve``) with the plate as its 61st column.

The 60 columns are in the order of the national extract. Those the lake never reads hold plausible fillers, so that
files have the weight and the shape of real ones; none describes a person.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import NamedTuple

import numpy as np
import polars as pl

from infra.calendar.clock import clock_changes
from infra.city.profile import City
from ingestion.silos.verbalisations.formats import PVE_COLUMNS, PVE_PLATE
from ingestion.synthetic.demo import Demo
from ingestion.synthetic.draws import VEHICLES, Choice, addresses, generator, spread, vehicles
from ingestion.synthetic.faults import Breaks, Example, file_faults
from ingestion.synthetic.rhythms import FINES, day_kind
from ingestion.synthetic.table import Table

HEADER = "\t".join((*PVE_COLUMNS, PVE_PLATE))
FINES_A_YEAR = 400_000
WITHOUT_PLATE = 0.02
_DAY_WEIGHT = {"weekday": 1.12, "saturday": 0.85, "sunday": 0.55}
_LAST_ID = 10_000_000  # fines a day, at most


class _Offence(NamedTuple):
    natinf: int
    grade: str
    label: str
    points: int
    amounts: tuple[int, int, int]
    by_day: float
    by_night: float


# Codes have the look of NATINF codes, labels the words of real qualifications.
_PARKING = (0, 35, 75)
OFFENCES = (
    _Offence(6803, "2", "STATIONNEMENT GÊNANT D'UN VÉHICULE SUR UN EMPLACEMENT INTERDIT", 0, _PARKING, 17, 9),
    _Offence(6797, "2", "STATIONNEMENT IRRÉGULIER EN DOUBLE FILE", 0, _PARKING, 9, 8),
    _Offence(7507, "2", "STATIONNEMENT GÊNANT DEVANT UNE ENTRÉE CARROSSABLE D'IMMEUBLE RIVERAIN", 0, _PARKING, 5, 4),
    _Offence(7511, "2", "STATIONNEMENT INTERDIT PAR ARRÊTÉ MUNICIPAL", 0, _PARKING, 5, 2),
    _Offence(32749, "4", "STATIONNEMENT TRÈS GÊNANT D'UN VÉHICULE MOTORISÉ SUR UN TROTTOIR", 0, (90, 135, 375), 12, 12),
    _Offence(32742, "4", "STATIONNEMENT TRÈS GÊNANT SUR UN PASSAGE RÉSERVÉ À LA CIRCULATION DES PIÉTONS", 0,
             (90, 135, 375), 5, 4),
    _Offence(32746, "4", "STATIONNEMENT TRÈS GÊNANT SUR UNE VOIE RÉSERVÉE AUX TRANSPORTS PUBLICS", 0,
             (90, 135, 375), 4, 3),
    _Offence(32755, "4", "ARRÊT TRÈS GÊNANT SUR UN EMPLACEMENT RÉSERVÉ AUX PERSONNES HANDICAPÉES", 0,
             (90, 135, 375), 2, 1),
    _Offence(215, "2", "STATIONNEMENT ABUSIF DE PLUS DE 7 JOURS", 0, _PARKING, 2, 0.5),
    _Offence(23093, "2", "STATIONNEMENT DÉPASSANT LA DURÉE MAXIMALE AUTORISÉE EN ZONE BLEUE", 0, _PARKING, 6, 0.5),
    _Offence(7008, "4", "STATIONNEMENT DANGEREUX D'UN VÉHICULE", 3, (90, 135, 375), 1, 2),
    _Offence(10953, "3", "EXCÈS DE VITESSE INFÉRIEUR À 20 KM/H EN AGGLOMÉRATION", 1, (90, 135, 375), 5, 12),
    _Offence(10945, "4", "EXCÈS DE VITESSE D'AU MOINS 20 KM/H ET INFÉRIEUR À 30 KM/H", 2, (90, 135, 375), 1.5, 5),
    _Offence(6182, "4", "INOBSERVATION DE L'ARRÊT IMPOSÉ PAR UN FEU ROUGE", 4, (90, 135, 375), 3, 7),
    _Offence(6193, "4", "INOBSERVATION DE L'ARRÊT IMPOSÉ PAR LE PANNEAU STOP", 4, (90, 135, 375), 1.5, 2),
    _Offence(23800, "4", "USAGE D'UN TÉLÉPHONE TENU EN MAIN PAR LE CONDUCTEUR", 3, (90, 135, 375), 5, 2),
    _Offence(7548, "4", "CONDUITE SANS PORT DE LA CEINTURE DE SÉCURITÉ", 3, (90, 135, 375), 2, 2),
    _Offence(22881, "4", "CONDUITE D'UN DEUX-ROUES SANS CASQUE HOMOLOGUÉ", 3, (90, 135, 375), 2, 4),
    _Offence(6213, "4", "CIRCULATION SUR UNE VOIE RÉSERVÉE AUX BUS", 0, (90, 135, 375), 3, 2),
    _Offence(32700, "3", "CIRCULATION EN ZONE À FAIBLES ÉMISSIONS SANS CERTIFICAT", 0, (45, 68, 180), 1, 0.2),
    _Offence(6154, "2", "NON APPOSITION DU CERTIFICAT D'ASSURANCE", 0, (0, 35, 75), 2, 2),
    _Offence(6172, "4", "MAINTIEN EN CIRCULATION SANS CONTRÔLE TECHNIQUE VALIDE", 0, (90, 135, 375), 2, 1.5),
    _Offence(3671, "3", "ABANDON D'ORDURES OU DE DÉCHETS SUR LA VOIE PUBLIQUE", 0, (45, 68, 180), 1.5, 2),
    _Offence(7058, "3", "BRUIT OU TAPAGE NOCTURNE TROUBLANT LA TRANQUILLITÉ D'AUTRUI", 0, (45, 68, 180), 0.1, 6),
    _Offence(6088, "2", "EMPLOI D'UN AVERTISSEUR SONORE SANS NÉCESSITÉ", 0, (22, 35, 75), 0.5, 0.8),
)  # fmt: skip
_UNITS = (
    ("30", "POLICE MUNICIPALE", "PM CENTRE", 62),
    ("31", "AGENTS DE SURVEILLANCE DE LA VOIE PUBLIQUE (ASVP)", "BRIGADE DE SURVEILLANCE", 20),
    ("10", "POLICE NATIONALE", "SÉCURITÉ PUBLIQUE", 17),
    ("20", "GENDARMERIE NATIONALE", "BRIGADE MOTORISÉE", 1),
)
_MAKES = ("RENAULT", "PEUGEOT", "CITROEN", "VOLKSWAGEN", "TOYOTA", "FIAT", "FORD", "DACIA", "YAMAHA", "MERCEDES")


def _joined(parts: Sequence[object]) -> str:
    return "\t".join("" if part is None else str(part) for part in parts)


class Fines:
    """Fines of a city, day after day. At ``scale`` 1: 400 000 a year by 250 000 vehicles."""

    silo, format, key = "verbalisations", "pve", ("DI_Id",)

    def __init__(self, city: City, *, seed: int, scale: float = 1.0) -> None:
        self._seed = seed
        self._a_day = FINES_A_YEAR * scale / 365.25
        self._time_zone = city.time_zone
        where = addresses(city, seed)
        self._address = Choice(where.weight)
        self._vehicles = vehicles(seed, max(round(VEHICLES * scale), 1_000))
        self._unit = Choice([weight for *_, weight in _UNITS])
        self._offences = {
            True: Choice([offence.by_day for offence in OFFENCES]),
            False: Choice([offence.by_night for offence in OFFENCES]),
        }
        # A line is a few ready-made pieces of consecutive columns, put together. Piece by piece, in order:
        statuses = [("DOSSIER CLOS", "PAIEMENT"), ("DOSSIER EN COURS", "EN ATTENTE"), ("DOSSIER CLOS", "MAJORATION")]
        self._files = pl.Series(
            [  # SD_Libelle to FI_Libelle
                _joined((status, mode, None, "CI", "TITULAIRE", "FRANCE", "13", None, None,
                         None, "N", f"PVE{terminal:05d}", 1 + terminal % 4, "CONTRAVENTION"))
                for status, mode in statuses for terminal in range(100)
            ]
        )  # fmt: skip
        self._natures = pl.Series(
            [  # NI_ClasseInfraction to NI_MontantForfaitaireMajore
                _joined((each.grade, each.natinf, each.label, each.points, *each.amounts)) for each in OFFENCES
            ]
        )
        self._places = pl.Series(
            [  # MI_Departement to IS_PERSONNE_INTERCEPTEE
                _joined((area[:2], area, None, None, number, street.split(" ")[0], street.split(" ", 1)[1],
                         city.title.upper(), None, None, None, None, "FRANCE", None, None, lat, lon,
                         None, None, None, "N", "N", "N"))
                for lon, lat, _, area, number, street in where.table.iter_rows()
            ]
        )  # fmt: skip
        self._speeds = pl.Series(
            [  # MIFVAOVIT_VitesseRetenue and MIFVAOVIT_VitesseLegaleAutorisee
                "64\t50" if "VITESSE" in each.label else "\t" for each in OFFENCES
            ]
        )
        self._units = pl.Series(
            [  # UNITE_Code to CORPSUNITE_Libelle
                _joined((f"{code}{city.name[:3].upper()}", service, None, code, corps))
                for code, corps, service, _ in _UNITS
            ]
        )
        plates = pl.concat([self._vehicles.plates, pl.Series([""])])  # the last one: no plate
        make = pl.Series(_MAKES).gather(np.arange(len(plates)) % len(_MAKES))
        self._cars = pl.DataFrame({"make": make, "plate": plates}).select(
            pl.format("{}\t01\tVP\tVOITURE\tSIV\tFRANCE\t{}", "make", "plate")
        ).to_series()  # fmt: skip
        self._clock = pl.select(pl.time_ranges(interval="1s", closed="both").explode()).to_series().cast(pl.String)

    def day(self, day: date) -> Table:
        """The extract of a day: fines of that local day, in order of time."""
        random = generator(self._seed, self.silo, day.toordinal())
        return self.table(day, spread(random, self._a_day * _DAY_WEIGHT[day_kind(day)]), random)

    def table(self, day: date, rows: int, random: np.random.Generator, first: int = 1) -> Table:
        """``rows`` fines of a local day, in order of time, numbered from ``first`` on."""
        if first + rows > _LAST_ID:
            raise ValueError(f"at most {_LAST_ID - 1} fines a day: spread them over more days")
        hours = list(FINES[day_kind(day)])
        length = clock_changes(self._time_zone, day, day).get(day, 24)
        hours[2] = 0 if length < 24 else hours[2] * 2 if length > 24 else hours[2]  # 2 a.m. is skipped, or comes twice
        second = np.sort(Choice(hours).draw(random, rows) * 3600 + random.integers(0, 3600, rows))
        by_day = (second >= 7 * 3600) & (second < 20 * 3600)
        offence = np.where(by_day, *(self._offences[when].draw(random, rows) for when in (True, False)))
        car = self._vehicles.draw(random, rows)
        car[random.random(rows) < WITHOUT_PLATE] = len(self._cars) - 1
        pieces = pl.DataFrame(
            {
                "id": day.toordinal() * _LAST_ID + np.arange(first, first + rows),
                "file": self._files.gather(random.integers(0, len(self._files), rows)),
                "nature": self._natures.gather(offence),
                "place": self._places.gather(self._address.draw(random, rows)),
                "speed": self._speeds.gather(offence),
                "time": self._clock.gather(second),
                "unit": self._units.gather(self._unit.draw(random, rows)),
                "car": self._cars.gather(car),
            }
        )
        layout = f"{{}}\t{{}}\t{{}}\t{{}}\t{{}}\t{day} {{}}\t{day + timedelta(days=1)} 04:00:00\t{{}}\t{{}}"
        return Table(
            header=HEADER,
            delimiter="\t",
            rows=pieces.select(
                key=pl.col("id").cast(pl.String),
                event_date=pl.lit(day),
                line=pl.format(layout, "id", "file", "nature", "place", "speed", "time", "unit", "car"),
            ),
        )


_PVE = Breaks("pve")
_LOS_ANGELES = Breaks("los_angeles")
_ESSEN = Breaks("essen")

EXAMPLES: Mapping[str, Example] = {
    "pve": Example(
        {
            **dict.fromkeys(PVE_COLUMNS, ""),
            "DI_Id": "1000000001",
            "NI_CodeNatinf": "6803",
            "NI_Qualification": "STATIONNEMENT GÊNANT D'UN VÉHICULE SUR UN EMPLACEMENT INTERDIT",
            "MIFVAO_CoordGPSLatitude": "43.2965",
            "MIFVAO_CoordGPSLongitude": "5.3765",
            "MI_DateHeureInfraction": "2025-03-10 14:05:00",
            "CORPSUNITE_Libelle": "Police municipale",
            PVE_PLATE: "AA-001-AA",
        },
        city="marseille",
        other={"DI_Id": "1000000002"},
    ),
    "los_angeles": Example(
        {
            "Ticket number": "1000000001",
            "Issue Date": "2025-03-10T00:00:00",
            "Issue time": "905",
            "Violation code": "80.69BS",
            "Violation Description": "NO PARK/STREET CLEAN",
            "Latitude": "6488151.2",  # the file's own misnomers: these are feet
            "Longitude": "1842013.4",
        },
        city="elsewhere",
        other={"Ticket number": "1000000002"},
    ),
    "essen": Example(
        {"date": "2025-03-10", "street": "Musterstraße", "tbnr": "112454"},
        city="elsewhere",
        other={"street": "Beispielweg"},
    ),
}
BREAKS = (
    # What the demo city's senders do, in this order, and then what else breaks a rule.
    *_PVE.of_events(
        moment="MI_DateHeureInfraction",
        lon="MIFVAO_CoordGPSLongitude",
        lat="MIFVAO_CoordGPSLatitude",
        last=PVE_PLATE,
        record="DI_Id",
    ),
    _PVE("offence_code_unknown", {"NI_CodeNatinf": "STAT-12"}, "bad_code"),
    _PVE("plate_unusual", {PVE_PLATE: "XX-123456-CD-99"}, "foreign_plate", warns=True),
    _PVE("record_missing", {"DI_Id": "  "}),
    _PVE("date_unreadable", {"MI_DateHeureInfraction": "10 mars 2025"}),
    _PVE("date_unreadable", {"MI_DateHeureInfraction": ""}),
    _ESSEN("date_unreadable", {"date": "2025-02-30"}),
    _PVE("date_out_of_range", {"MI_DateHeureInfraction": "1999-12-31 12:00:00"}),
    _PVE("date_out_of_range", {"MI_DateHeureInfraction": "2999-01-01 12:00:00"}),
    _PVE("time_unreadable", {"MI_DateHeureInfraction": "2025-03-10 25:00:00"}),
    _LOS_ANGELES("time_unreadable", {"Issue time": "1275"}),
    _PVE("coordinates_unreadable", {"MIFVAO_CoordGPSLongitude": "537650"}),
    _PVE("outside_city", {"MIFVAO_CoordGPSLatitude": "48.8566", "MIFVAO_CoordGPSLongitude": "2.3522"}),
    _PVE("outside_city", {"MIFVAO_CoordGPSLatitude": "5.3765", "MIFVAO_CoordGPSLongitude": "43.2965"}),
    _PVE("offence_code_unknown", {"NI_CodeNatinf": "R417-10"}),
    _PVE("offence_code_unknown", {"NI_CodeNatinf": "0"}),
    _ESSEN("offence_code_unknown", {"tbnr": "0"}),
    _LOS_ANGELES("offence_code_unknown", {"Violation code": ""}),
    _LOS_ANGELES("offence_code_unknown", {"Violation code": "see remarks"}),
    _PVE("coordinates_unknown", {"MIFVAO_CoordGPSLatitude": "0", "MIFVAO_CoordGPSLongitude": "0.000"}, warns=True),
    _PVE("coordinates_unknown", {"MIFVAO_CoordGPSLatitude": "99999"}, warns=True),
    _PVE("coordinates_unknown", {"MIFVAO_CoordGPSLongitude": ""}, warns=True),
    _LOS_ANGELES("coordinates_unknown", {"Latitude": "99999", "Longitude": "99999"}, warns=True),
    _PVE("time_unknown", {"MI_DateHeureInfraction": "10/03/2025"}, warns=True),
    _LOS_ANGELES("time_unknown", {"Issue time": ""}, warns=True),
    _PVE("plate_unusual", {PVE_PLATE: "B-XY 12"}, warns=True),
    _LOS_ANGELES("offence_code_damaged", {"Violation code": "8.06E+02"}, warns=True),
)

DEMO = Demo(
    lambda city, seed, scale, _: Fines(city, seed=seed, scale=scale),
    EXAMPLES,
    BREAKS,
    file_faults=file_faults("NI_CodeNatinf", ("MI_DateHeureInfraction", "MI_DateInfraction")),
    correction={"NI_CodeNatinf": "6088", "NI_Qualification": "EMPLOI D'UN AVERTISSEUR SONORE"},
)
