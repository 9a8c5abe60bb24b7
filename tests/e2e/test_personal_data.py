"""What a lake physically keeps past landing: columns, values and bytes, after deliveries full of personal data."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

import canaries
import polars as pl
import pyarrow.parquet as pq
import pytest
from canaries import Canaries
from lakes import running

from calanque.demo.generate import generate
from infra import catalog, database, object_store
from infra.city.profile import load_city
from infra.lineage.classification import Classification
from infra.settings import Settings
from ingestion.contracts.columns import classes, conformed_classes
from ingestion.register import Dataset, silos
from ingestion.silos.tows.formats import FOURRIERE_COLUMNS
from ingestion.silos.verbalisations.formats import PVE_COLUMNS, PVE_PLATE
from publication.contracts import CONTRACTS

pytestmark = [pytest.mark.live, pytest.mark.slow]

MONTH, DAYS = date(2026, 4, 1), 30
TODAY = datetime(2026, 5, 20, 9, tzinfo=UTC)

PLANTED = {
    "plate": ["ZQ-731-XJ", "QZ-137-JX", "1739 ZQX 13"],
    "name": ["Hyacinthe Quasimodo-Éluard", "Zénaïde Vercingétorix"],
    "phone": ["06 73 19 84 25", "+33 7 91 38 46 52"],
    "imsi": ["208011739481726", "208201937284615"],
    "e-mail": ["zenaide.vercingetorix@courriel.example"],
    "agent": ["MATRICULE-739184", "AG7391846"],
    "record": ["7391846251", "PV-2026-739184"],
    "position": ["43.29731", "5.38173"],
    "address": ["173 impasse des Zinnias-Quercitrons"],
    "photo": ["https://photos.example/zq731xj.jpg"],
}


@dataclass(frozen=True)
class Landed:
    """A lake in which everything was delivered, ingested, built and released; what its commands said."""

    settings: Settings
    said: str
    plates: list[str]


@pytest.fixture(scope="module")
def landed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Landed]:
    """A month of the demo city, and deliveries with a canary in every field that a sender might fill."""
    with running(airflow=False, prefix="calanque-personal-") as settings:
        city = load_city(settings)
        generate(city, seed=11, start=MONTH, days=DAYS, scale=0.1, drop_dir=settings.drop_dir, days_per_delivery=10)
        plates = sorted(_plates(settings.drop_dir))[:400]
        _plant(settings.drop_dir)
        said = ""
        told = (("site", "publish"), ("watch", "--daily"), ("quarantine", "list"), ("alerts",))
        for arguments in (("run",), ("report", "--json"), ("run",), *told):
            ran = subprocess.run(
                (sys.executable, "-m", "calanque.cli", *arguments),
                env={
                    **os.environ,
                    **settings.environment(),
                    "CALANQUE_HOME": str(settings.home),
                    "CALANQUE_NOW": TODAY.isoformat(),
                },
                capture_output=True,
                text=True,
                check=False,
            )
            said += ran.stdout + ran.stderr
        yield Landed(settings, said, plates)


def _plates(drop: Path) -> set[str]:
    """Plates and record numbers out of the generated deliveries."""
    found: set[str] = set()
    for silo, separator, columns in (
        ("verbalisations", "\t", (PVE_PLATE, "DI_Id")),
        ("tows", ";", ("immatriculation", "numero_dossier")),
    ):
        for path in (drop / silo).iterdir():
            header, *lines = path.read_bytes().decode("latin-1").splitlines() or [""]
            names = header.split(separator)
            for column in set(columns) & set(names):
                cells = (line.split(separator)[names.index(column) :] for line in lines)
                found.update(cell[0] for cell in cells if cell and len(cell[0]) >= 7)
    return found


def _plant(drop: Path) -> None:
    """Deliveries whose every unread field holds a canary, in good rows and bad; individuals in the telecom feed."""
    words = [value for kind, values in PLANTED.items() if kind not in {"position", "record"} for value in values]
    fines = []
    for number, plate in enumerate(PLANTED["plate"]):
        record = {column: words[(number + place) % len(words)] for place, column in enumerate(PVE_COLUMNS)}
        record |= {
            "DI_Id": PLANTED["record"][number % 2] + str(number),
            "NI_CodeNatinf": "6803",
            "NI_Qualification": "STATIONNEMENT GENANT",
            "MIFVAO_CoordGPSLatitude": PLANTED["position"][0],
            "MIFVAO_CoordGPSLongitude": PLANTED["position"][1],
            "MI_DateHeureInfraction": "2026-04-10 14:05:00",
            "CORPSUNITE_Libelle": PLANTED["name"][0],
            PVE_PLATE: plate,
        }
        fines.append(record)
        # The same with a canary in each field that is read: quarantined, or of unknown nature.
        read = ("NI_CodeNatinf", "MIFVAO_CoordGPSLatitude", "MI_DateHeureInfraction", "NI_Qualification")
        fines += [{**record, "DI_Id": f"{record['DI_Id']}{column}", column: PLANTED["name"][1]} for column in read]
    _write(drop / "verbalisations" / "zz-planted.tsv", [*PVE_COLUMNS, PVE_PLATE], fines, "\t")
    tow = dict(
        zip(
            FOURRIERE_COLUMNS,
            (
                *(PLANTED["record"][1], "2026-04-10 14:05:00", "5.38173", "43.29731", "stationnement gênant"),
                *("ZQ-731-XJ", "Fourrière Nord", PLANTED["name"][0], "", "2026-04-11 10:30:00", "restitution"),
            ),
            strict=True,
        )
    )
    extra = dict(
        zip(("proprietaire", "telephone", "courriel", "photo"), (words[3], words[5], words[9], words[-1]), strict=True)
    )
    tows = [{**tow, **extra}] + [
        {**tow, **extra, "numero_dossier": f"{PLANTED['record'][1]}-{column}", column: value}
        for column, value in (
            ("fourriere", PLANTED["phone"][0]),
            ("fourriere", PLANTED["address"][0]),
            ("motif", PLANTED["name"][1]),
            ("date_heure_enlevement", PLANTED["plate"][0]),
            ("issue", PLANTED["e-mail"][0]),
        )
    ]
    _write(drop / "tows" / "zz-planted.csv", list(tows[0]), tows, ";")
    presence = {"zone": "1320101", "hour": "2026-04-10T14:00:00+02:00", "category": "resident", "count": "120"}
    single = [{**presence, "imsi": imsi} for imsi in PLANTED["imsi"]]
    _write(drop / "telecom_footfall" / "zz-single.csv", list(single[0]), single, ";")
    zones = [{**presence, "zone": imsi} for imsi in PLANTED["imsi"]]
    _write(drop / "telecom_footfall" / "zz-zones.csv", list(presence), zones, ";")
    flow = {"place_id": PLANTED["name"][0], "direction": "in", "starts_at": "2026-04-10T14:15:00+02:00", "count": "12"}
    _write(drop / "crowd_flows" / "zz-planted.csv", [*flow, "area_m2"], [{**flow, "area_m2": ""}], ";")


def _write(path: Path, columns: list[str], records: list[dict[str, str]], separator: str) -> None:
    lines = [separator.join(columns), *(separator.join(record[column] for column in columns) for record in records)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _datasets() -> dict[str, Dataset]:
    return {dataset.name: dataset for silo in silos().values() for dataset in silo.datasets}


def _pseudonyms(settings: Settings) -> dict[str, set[bytes]]:
    """Every pseudonym that conformed holds, by table and column."""
    tables = catalog.open_catalog(settings, "pipeline")
    found: dict[str, set[bytes]] = {}
    for name, dataset in _datasets().items():
        columns = [column for column, each in conformed_classes(dataset).items() if each is Classification.PSEUDONYM]
        if columns and tables.table_exists(f"conformed.{name}"):
            rows = pl.DataFrame(tables.load_table(f"conformed.{name}").scan(selected_fields=tuple(columns)).to_arrow())
            found |= {f"{name}.{column}": set(rows[column].drop_nulls().to_list()) for column in columns}
    return found


def test_something_was_landed_refused_quarantined_and_released(landed: Landed) -> None:
    """Otherwise there would be nothing to look at."""
    with database.connect(landed.settings, "steward", "lake") as connection:
        statuses = dict(connection.execute("select status, count(*) from registry.delivery group by 1").fetchall())
        released = {mart for (mart,) in connection.execute("select distinct mart from registry.release").fetchall()}
    assert statuses["committed"] >= 12
    assert statuses["refused"] >= 1
    assert {mart.partition("_")[0] for mart in released} == {"fines", "tows", "crowd", "footfall"}
    assert {column: len(values) for column, values in _pseudonyms(landed.settings).items() if len(values) < 100} == {}
    planted = Canaries(PLANTED).search(canaries.objects(landed.settings, ["landing"]))
    assert {hit.kind for hit in planted} == set(PLANTED), "the control: what was delivered is there, and is found"


def test_no_delivered_personal_value_is_anywhere_past_landing(landed: Landed) -> None:
    search = Canaries({**PLANTED, "delivered": landed.plates})
    assert search.search(canaries.everywhere(landed.settings)) == []
    assert search.search([("output of the commands", landed.said.encode())]) == []


def test_a_value_that_slipped_through_would_be_found(landed: Landed) -> None:
    """Controls in the lake itself: one in an object, one in a table, one in a log."""
    store = object_store.client(landed.settings, "admin")
    leaked = pl.DataFrame({"zone_id": ["1320101"], "note": ["vehicule zq731xj"]})
    parquet = io.BytesIO()
    leaked.write_parquet(parquet)
    log = landed.settings.logs_dir / "planted.log"
    object_store.put_bytes(store, "lake", "marts/planted.parquet", parquet.getvalue())
    try:
        log.write_text("skipped 0673198425")
        with database.connect(landed.settings, "admin", "bi", autocommit=True) as connection:
            connection.execute("create table marts.planted as select 'AG7391846' as who")
        found = {(hit.where, hit.kind) for hit in Canaries(PLANTED).search(canaries.everywhere(landed.settings))}
    finally:
        store.remove_object("lake", "marts/planted.parquet")
        log.unlink()
        with database.connect(landed.settings, "admin", "bi", autocommit=True) as connection:
            connection.execute("drop table if exists marts.planted")
    assert found == {
        ("lake/marts/planted.parquet", "plate"),
        ("logs/planted.log", "phone"),
        ("bi.marts.planted", "agent"),
    }


def test_pseudonyms_are_in_conformed_only(landed: Landed) -> None:
    some = {column: sorted(values)[:200] for column, values in _pseudonyms(landed.settings).items()}
    search = Canaries({}, some)
    hits = search.search(canaries.everywhere(landed.settings))
    assert {hit.where.partition("/")[2].split("/")[0] for hit in hits} == {"conformed"}
    assert {hit.kind for hit in hits} == set(some)


def test_conformed_tables_have_the_columns_of_the_register_and_no_identifier(landed: Landed) -> None:
    tables = catalog.open_catalog(landed.settings, "pipeline")
    datasets = _datasets()
    present = [name for _, name in tables.list_tables("conformed")]
    assert {"verbalisations", "tows", "crowd_flows", "telecom_footfall"} <= set(present)
    for name in present:
        declared = conformed_classes(datasets[name])
        table = tables.load_table(f"conformed.{name}")
        for schema in table.metadata.schemas:
            assert [field.name for field in schema.fields] == list(declared), name
        assert Classification.IDENTIFIER not in declared.values()
        rows = pl.DataFrame(table.scan().to_arrow())
        for column, classification in declared.items():
            is_pseudonym = classification is Classification.PSEUDONYM
            assert (rows.schema[column] == pl.Binary) == is_pseudonym, f"{name}.{column}"
            if is_pseudonym:
                assert rows[column].drop_nulls().bin.size().unique().to_list() == [16], f"{name}.{column}"


def test_marts_have_the_columns_of_their_contract_wherever_they_are(landed: Landed) -> None:
    """In Iceberg, in PostgreSQL and in files; none is called as something delivered or conformed that identifies."""
    telling = {Classification.IDENTIFIER, Classification.PSEUDONYM}
    personal = {
        name
        for dataset in _datasets().values()
        for declared in (classes(dataset.delivered), conformed_classes(dataset))
        for name, classification in declared.items()
        if classification in telling
    }
    assert {"plate", "record", "vehicle", "record_key"} == personal
    tables = catalog.open_catalog(landed.settings, "publisher")
    with database.connect(landed.settings, "analyst", "bi") as connection:
        columns: dict[str, set[str]] = {}
        for table, column in connection.execute(
            "select table_name, column_name from information_schema.columns where table_schema = 'marts'"
        ).fetchall():
            columns.setdefault(table, set()).add(column)
    for _, mart in tables.list_tables("marts"):
        expected = list(CONTRACTS[mart].columns)
        for schema in tables.load_table(f"marts.{mart}").metadata.schemas:
            assert [field.name for field in schema.fields] == expected
        assert columns[mart] == set(expected)
        assert not personal & set(expected)
    store = object_store.client(landed.settings, "admin")
    looked = 0
    for key in object_store.list_keys(store, "lake"):
        if key.endswith(".parquet") and not key.startswith("conformed/"):
            names = pq.read_schema(io.BytesIO(object_store.get_bytes(store, "lake", key))).names
            mart = next(part for part in key.split("/") if part.removesuffix(".parquet") in CONTRACTS)
            assert names == list(CONTRACTS[mart.removesuffix(".parquet")].columns), key
            looked += 1
    assert looked > 12


def test_quarantine_and_receipts_name_rows_and_rules_only(landed: Landed) -> None:
    store = object_store.client(landed.settings, "steward")
    kept = list(object_store.list_keys(store, "quarantine"))
    assert kept
    for key in kept:
        rows = pl.read_parquet(io.BytesIO(object_store.get_bytes(store, "quarantine", key)))
        assert rows.columns == ["row", "rule", "column", "severity"]
        assert set(rows["rule"].unique()) <= {rule for silo in silos().values() for rule in silo.rules} | set(_ENGINE)


_ENGINE = ("row_malformed", "duplicate_key", "value_too_long")
