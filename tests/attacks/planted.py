"""P0: personal values planted in deliveries, looked for in everything that a lake keeps past landing.

Every field that a sender might fill holds one, read or not; those that are read are spoilt by it, so the row is turned
away: neither the lake nor the reasons it gives may repeat it.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path

import polars as pl

from infra import object_store
from infra.settings import Settings
from ingestion.silos.tows.formats import FOURRIERE_COLUMNS
from ingestion.silos.verbalisations.formats import PVE_COLUMNS, PVE_PLATE
from tests.attacks.findings import Control, Finding
from tests.canaries import Canaries, everywhere, objects

VALUES: Mapping[str, Sequence[str]] = {
    "plate": ("ZW-918-KQ", "KQ-274-WZ"),
    "name": ("Théophraste Bringuebale-Ozanne", "Euphrosyne Quatrebarbes"),
    "phone": ("06 52 83 17 49", "+33 7 46 29 81 35"),
    "IMSI": ("208019284716352",),
    "e-mail": ("euphrosyne.quatrebarbes@messagerie.example",),
    "agent number": ("MATRICULE-582917", "AG5829174"),
    "record number": ("PV-582917-4463", "FR-582917-4464"),
    "GPS to 5 decimals": ("43.29746", "5.38159"),
    "address": ("184 impasse des Belles-de-Nuit-Violettes",),
}
_WORDS = [value for kind, values in VALUES.items() if kind != "GPS to 5 decimals" for value in values]


def plant(drop: Path, day: date) -> None:
    """Deliveries of fines and tows of one day, good rows and bad ones; and single people in the telecom feed."""
    good = {column: _WORDS[place % len(_WORDS)] for place, column in enumerate(PVE_COLUMNS)} | {
        "DI_Id": VALUES["record number"][0],
        "NI_CodeNatinf": "6803",
        "NI_Qualification": "STATIONNEMENT GENANT",
        "MIFVAO_CoordGPSLatitude": VALUES["GPS to 5 decimals"][0],
        "MIFVAO_CoordGPSLongitude": VALUES["GPS to 5 decimals"][1],
        "MI_DateHeureInfraction": f"{day} 14:05:00",
        PVE_PLATE: VALUES["plate"][0],
    }
    read = ("NI_CodeNatinf", "MIFVAO_CoordGPSLatitude", "MI_DateHeureInfraction")
    bad = [{**good, "DI_Id": f"{good['DI_Id']}{column}", column: VALUES["name"][1]} for column in read]
    _write(drop / "verbalisations" / "zz-planted.tsv", [good, *bad], "\t")
    values = (
        *(VALUES["record number"][1], f"{day} 14:05:00", "5.38159", "43.29746", "stationnement gênant"),
        *(VALUES["plate"][1], "Fourrière Nord", VALUES["name"][0], "", "", "en cours"),
    )
    tow = dict(zip(FOURRIERE_COLUMNS, values, strict=True))
    tow |= {"proprietaire": VALUES["name"][0], "telephone": VALUES["phone"][0], "courriel": VALUES["e-mail"][0]}
    spoilt = {**tow, "numero_dossier": f"{tow['numero_dossier']}-2", "motif": VALUES["phone"][1]}
    _write(drop / "tows" / "zz-planted.csv", [tow, spoilt], ";")
    person = {"zone": "1320101", "hour": f"{day}T14:00:00+02:00", "category": "resident", "count": "120"}
    _write(drop / "telecom_footfall" / "zz-single.csv", [{**person, "imsi": VALUES["IMSI"][0]}], ";")


def _write(path: Path, records: Sequence[Mapping[str, str]], separator: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [separator.join(records[0]), *(separator.join(record.values()) for record in records)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def attack(settings: Settings, plates: Sequence[str]) -> Finding:
    """Look everywhere past landing for what was planted and for ``plates`` of the city; then for what is slipped in."""
    search = Canaries({**VALUES, "delivered plate": plates})
    delivered = {hit.kind for hit in search.search(objects(settings, ["landing"]))}
    missing = set(VALUES) - delivered
    if missing:
        raise AssertionError(f"nothing of kind {sorted(missing)} was ever delivered: there is nothing to look for")
    found = search.search(everywhere(settings))
    slipped = _slipped(settings, search)
    return Finding(
        "P0",
        f"places past landing with a planted or delivered personal value or its digest ({len(plates)} plates, "
        f"{sum(map(len, VALUES.values()))} planted values)",
        limit=0,
        measured=len(found),
        control=Control("a plate in a Parquet file, a digest in a log: found of 2", slipped, 2),
        details={"found": [f"{hit.kind} in {hit.where}" for hit in found[:20]]},
    )


def _slipped(settings: Settings, search: Canaries) -> int:
    """How many of two leaks, put there for the purpose and taken away again, the search finds."""
    store = object_store.client(settings, "admin")
    content = io.BytesIO()
    pl.DataFrame({"zone_id": ["1320101"], "note": ["zw918kq"]}).write_parquet(content)
    log = settings.logs_dir / "slipped.log"
    object_store.put_bytes(store, "lake", "marts/slipped/slipped.parquet", content.getvalue())
    log.write_text(f"row of {hashlib.sha256(VALUES['plate'][1].encode()).hexdigest()} skipped\n")
    try:
        hits = search.search(objects(settings, ["lake"], below="marts/slipped/"))
        hits += search.search([("slipped.log", log.read_bytes())])
    finally:
        store.remove_object("lake", "marts/slipped/slipped.parquet")
        log.unlink()
    return len({hit.where for hit in hits})
