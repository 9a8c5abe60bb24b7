"""Every rule of every silo is documented, and rejects (or warns of) a record that breaks it, and only that record."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import polars as pl
import pytest
from silo_delivery import Deliver, write
from silo_records import GOOD, OTHERS

from infra.city.profile import City
from ingestion.contracts.checking import check
from ingestion.formats.recognition import named, recognise, sample
from ingestion.refusal import Refused
from ingestion.register import Dataset, Silo, silos
from ingestion.silos.telecom_footfall.contracts import WEIGHTS_UNBOUNDED

CONFORMED = {"conformed_contract", "not_nullable"}
"""Rules that no delivery can break, unless Calanque is at fault: proved on conformed tables, below."""


class Case(NamedTuple):
    silo: str
    rule: str
    layout: str
    changes: Mapping[str, str]
    warning: bool = False


PLACE = ("MIFVAO_CoordGPSLatitude", "MIFVAO_CoordGPSLongitude")
CASES = [
    Case("verbalisations", "record_missing", "pve", {"DI_Id": "  "}),
    Case("verbalisations", "date_unreadable", "pve", {"MI_DateHeureInfraction": "10 mars 2025"}),
    Case("verbalisations", "date_unreadable", "pve", {"MI_DateHeureInfraction": ""}),
    Case("verbalisations", "date_unreadable", "essen", {"date": "2025-02-30"}),
    Case("verbalisations", "date_out_of_range", "pve", {"MI_DateHeureInfraction": "1999-12-31 12:00:00"}),
    Case("verbalisations", "date_out_of_range", "pve", {"MI_DateHeureInfraction": "2999-01-01 12:00:00"}),
    Case("verbalisations", "time_unreadable", "pve", {"MI_DateHeureInfraction": "2025-03-10 25:00:00"}),
    Case("verbalisations", "time_unreadable", "los_angeles", {"Issue time": "1275"}),
    Case("verbalisations", "time_does_not_exist", "pve", {"MI_DateHeureInfraction": "2025-03-30 02:30:00"}),
    Case("verbalisations", "coordinates_unreadable", "pve", {PLACE[0]: "43°17'N"}),
    Case("verbalisations", "coordinates_unreadable", "pve", {PLACE[1]: "537650"}),
    Case("verbalisations", "outside_city", "pve", {PLACE[0]: "48.8566", PLACE[1]: "2.3522"}),
    Case("verbalisations", "outside_city", "pve", {PLACE[0]: "5.3765", PLACE[1]: "43.2965"}),
    Case("verbalisations", "offence_code_unknown", "pve", {"NI_CodeNatinf": "R417-10"}),
    Case("verbalisations", "offence_code_unknown", "pve", {"NI_CodeNatinf": "0"}),
    Case("verbalisations", "offence_code_unknown", "essen", {"tbnr": "0"}),
    Case("verbalisations", "offence_code_unknown", "los_angeles", {"Violation code": ""}),
    Case("verbalisations", "offence_code_unknown", "los_angeles", {"Violation code": "see remarks"}),
    Case("verbalisations", "coordinates_unknown", "pve", {PLACE[0]: "0", PLACE[1]: "0.000"}, warning=True),
    Case("verbalisations", "coordinates_unknown", "pve", {PLACE[0]: "99999"}, warning=True),
    Case("verbalisations", "coordinates_unknown", "pve", {PLACE[1]: ""}, warning=True),
    Case(
        "verbalisations",
        "coordinates_unknown",
        "los_angeles",
        {"Latitude": "99999", "Longitude": "99999"},
        warning=True,
    ),
    Case("verbalisations", "time_unknown", "pve", {"MI_DateHeureInfraction": "10/03/2025"}, warning=True),
    Case("verbalisations", "time_unknown", "los_angeles", {"Issue time": ""}, warning=True),
    Case("verbalisations", "plate_unusual", "pve", {"MIFVAO_VehiculeImmatriculation": "B-XY 12"}, warning=True),
    Case("verbalisations", "offence_code_damaged", "los_angeles", {"Violation code": "8.06E+02"}, warning=True),
    Case("tows", "record_missing", "fourriere", {"numero_dossier": ""}),
    Case("tows", "date_unreadable", "fourriere", {"date_heure_enlevement": "?"}),
    Case("tows", "date_unreadable", "chicago", {"Tow Date": "2025-03-10"}),
    Case("tows", "date_out_of_range", "fourriere", {"date_heure_enlevement": "2999-01-01 00:00"}),
    Case("tows", "time_unreadable", "fourriere", {"date_heure_enlevement": "2025-03-10 14h05"}),
    Case(
        "tows",
        "time_does_not_exist",
        "fourriere",
        {
            "date_heure_enlevement": "2025-03-30 02:30",
            "date_heure_mainlevee": "",
            "date_heure_restitution": "2025-04-01 10:00",
        },
    ),
    Case("tows", "time_does_not_exist", "fourriere", {"date_heure_restitution": "2025-03-30 02:30"}),
    Case("tows", "coordinates_unreadable", "fourriere", {"longitude": "est"}),
    Case("tows", "outside_city", "fourriere", {"longitude": "2.3522", "latitude": "48.8566"}),
    Case("tows", "coordinates_unknown", "fourriere", {"longitude": "", "latitude": ""}, warning=True),
    Case("tows", "time_unknown", "fourriere", {"date_heure_enlevement": "2025-03-10"}, warning=True),
    Case("tows", "plate_unusual", "fourriere", {"immatriculation": "B-XY 12"}, warning=True),
    Case("tows", "plate_unknown", "fourriere", {"immatriculation": "sans plaque"}, warning=True),
    Case("tows", "reason_unknown", "fourriere", {"motif": "M99"}),
    Case("tows", "reason_unknown", "fourriere", {"motif": ""}),
    Case("tows", "depot_missing", "fourriere", {"fourriere": " - "}),
    Case("tows", "depot_missing", "fourriere", {"fourriere": "01 99 00 00 00"}),
    Case("tows", "outcome_unknown", "fourriere", {"issue": "perdue"}),
    Case("tows", "release_unreadable", "fourriere", {"date_heure_restitution": "2025-03-11"}),
    Case("tows", "release_out_of_range", "fourriere", {"date_heure_restitution": "2025-03-09 10:00"}),
    Case("tows", "release_out_of_range", "fourriere", {"date_heure_restitution": "2999-01-01 10:00"}),
    Case("tows", "outcome_inconsistent", "fourriere", {"issue": "en cours"}, warning=True),
    Case(
        "tows",
        "outcome_inconsistent",
        "fourriere",
        {"date_heure_mainlevee": "", "date_heure_restitution": ""},
        warning=True,
    ),
    Case("crowd_flows", "place_missing", "counter", {"place_id": ""}),
    Case("crowd_flows", "place_missing", "melbourne", {"SensorID": "NaN"}),
    Case("crowd_flows", "place_missing", "melbourne_sensors", {"Sensor ID": ""}),
    Case("crowd_flows", "place_unknown", "counter", {"place_id": "champs-elysees"}),
    Case("crowd_flows", "place_unlisted", "moers", {"Lage": "Hauptstraße"}, warning=True),
    Case("crowd_flows", "place_unnamed", "melbourne_sensors", {"Sensor Description": ""}),
    Case("crowd_flows", "coordinates_missing", "melbourne_sensors", {"Latitude": "", "Longitude": ""}),
    Case("crowd_flows", "coordinates_unreadable", "melbourne_sensors", {"Latitude": "south"}),
    Case("crowd_flows", "outside_city", "melbourne_sensors", {"Latitude": "-33.87", "Longitude": "151.21"}),
    Case("crowd_flows", "direction_unknown", "counter", {"direction": "up"}),
    Case("crowd_flows", "date_unreadable", "counter", {"starts_at": "2025-03-10T14:15:00"}),
    Case("crowd_flows", "date_unreadable", "moers", {"Zeitpunkt der Messung": "gestern"}),
    Case("crowd_flows", "date_unreadable", "melbourne", {"Hour": "24"}),
    Case("crowd_flows", "date_out_of_range", "counter", {"starts_at": "2999-03-10T14:15:00+01:00"}),
    Case("crowd_flows", "date_out_of_range", "melbourne", {"Date": "01-Jan-1999"}),
    Case("crowd_flows", "time_does_not_exist", "melbourne", {"Date": "05-Oct-2025", "Hour": "2"}),
    Case("crowd_flows", "starts_off_grid", "counter", {"starts_at": "2025-03-10T14:20:00+01:00"}),
    Case("crowd_flows", "starts_off_grid", "moers", {"Zeitpunkt der Messung": "2025-03-10 14:15:00 +0100"}),
    Case("crowd_flows", "count_unreadable", "counter", {"count": "12.5"}),
    Case("crowd_flows", "count_unreadable", "counter", {"count": ""}),
    Case("crowd_flows", "count_unreadable", "moers", {"Kinder Richtung Neumarkt": "viele"}),
    Case("crowd_flows", "count_negative", "counter", {"count": "-1"}),
    Case("crowd_flows", "count_absurd", "counter", {"count": "30001"}),
    Case("crowd_flows", "count_absurd", "melbourne", {"PedestrianCount": "120001"}),
    Case("crowd_flows", "area_unreadable", "counter", {"area_m2": "0"}),
    Case("crowd_flows", "area_unreadable", "counter", {"area_m2": "grande"}),
    Case("telecom_footfall", "individual_level", "presence", {"zone": "208011234567890"}),
    Case("telecom_footfall", "individual_level", "presence", {"zone": "+33 6 00 00 00 00"}),
    Case("telecom_footfall", "individual_level", "presence", {"zone": "d41d8cd98f00b204e9800998ecf8427e"}),
    Case("telecom_footfall", "individual_level", "presence", {"zone": "43.29650"}),
    Case("telecom_footfall", "individual_level", "mitma", {"destino": "nobody@example.org"}),
    Case("telecom_footfall", "under_operator_threshold", "presence", {"count": "19"}, warning=True),
    Case("telecom_footfall", "under_operator_threshold", "presence", {"count": "0"}, warning=True),
    Case("telecom_footfall", "zone_missing", "presence", {"zone": ""}),
    Case("telecom_footfall", "zone_missing", "mitma_zones", {"municipio_mitma": ""}),
    Case("telecom_footfall", "zone_unknown", "presence", {"zone": "1399999"}),
    Case("telecom_footfall", "zone_outside_city", "mitma", {"destino": "28079"}, warning=True),
    Case("telecom_footfall", "category_unknown", "presence", {"category": "tourist"}),
    Case("telecom_footfall", "category_unknown", "mitma", {"actividad_destino": "NA"}),
    Case("telecom_footfall", "date_unreadable", "presence", {"hour": "2025-03-10 14h"}),
    Case("telecom_footfall", "date_unreadable", "mitma (English)", {"hour": "24"}),
    Case("telecom_footfall", "date_out_of_range", "presence", {"hour": "1999-03-10T14:00:00+01:00"}),
    Case("telecom_footfall", "time_does_not_exist", "mitma", {"fecha": "20250330", "periodo": "2"}),
    Case("telecom_footfall", "starts_off_grid", "presence", {"hour": "2025-03-10T14:30:00+01:00"}),
    Case("telecom_footfall", "count_unreadable", "presence", {"count": "many"}),
    Case("telecom_footfall", "count_unreadable", "mitma", {"viajes": "NA"}),
    Case("telecom_footfall", "count_absurd", "presence", {"count": "10000001"}),
    Case("telecom_footfall", "count_absurd", "mitma", {"viajes": "-1"}),
]


def test_every_rule_has_a_case() -> None:
    cases = {(case.silo, case.rule) for case in CASES}
    of_rows = {(silo.name, name) for silo in silos().values() for name in silo.rules if name not in CONFORMED}
    assert cases == of_rows - {("telecom_footfall", WEIGHTS_UNBOUNDED)}  # of a whole delivery
    assert all(set(silo.rules) >= CONFORMED for silo in silos().values())


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.layout}-{case.rule}-{'-'.join(case.changes.values())}")
def test_a_rule_finds_the_record_that_breaks_it_and_no_other(
    case: Case, deliver: Deliver, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    city_name, good, told_apart_by = GOOD[case.layout]
    city: City = request.getfixturevalue(city_name)
    silo = silos()[case.silo]
    accepted = next(
        found for found in silo.formats if set(found.required) <= set(good) and found.name == case.layout.split()[0]
    )
    other = {**good, told_apart_by: OTHERS[told_apart_by]}
    path = tmp_path / "delivery.csv"

    clean = deliver(case.silo, write(path, accepted, [good, other]), city)
    assert (clean.accepted, clean.tally.accepted, clean.tally.by_rule) == (accepted, 2, {})
    broken = deliver(case.silo, write(path, accepted, [{**good, **case.changes}, other]), city)

    told = {name for named in broken.rejects["column"].drop_nulls() for name in named.split(", ")}
    assert told <= {*accepted.required, *accepted.optional}  # the sender's names, not ours
    gained = {name: count - clean.tally.warnings.get(name, 0) for name, count in broken.tally.warnings.items()}
    if case.warning:
        assert (broken.tally.accepted, broken.tally.quarantined) == (2, 0)
        assert gained[case.rule] == 1
    else:
        assert (broken.tally.accepted, broken.tally.quarantined) == (1, 1)
        assert broken.tally.by_rule == {case.rule: 1}
        assert broken.rows.height * 2 == clean.rows.height


def _datasets() -> list[tuple[Silo, Dataset]]:
    return [(silo, dataset) for silo in silos().values() for dataset in silo.datasets]


DATASETS = pytest.mark.parametrize(("silo", "dataset"), _datasets(), ids=lambda part: getattr(part, "name", ""))


@DATASETS
def test_every_check_of_a_contract_is_a_documented_rule(silo: Silo, dataset: Dataset) -> None:
    for model in (dataset.delivered, dataset.conformed):
        schema = model.to_schema()
        assert schema.strict
        checks = {rule.name for column in schema.columns.values() for rule in column.checks}
        checks |= {rule.name for rule in schema.checks}
        assert checks <= set(silo.rules)


@DATASETS
def test_the_conformed_contract_rejects_each_value_out_of_place(
    silo: Silo, dataset: Dataset, deliver: Deliver, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    accepted = next(found for found in silo.formats if found.dataset == dataset.name)
    city_name, good, _ = GOOD[accepted.name]
    path = write(tmp_path / "delivery.csv", accepted, [good])
    delivered = deliver(silo.name, path, request.getfixturevalue(city_name)).rows.drop("format", "delivery_id")
    rows = delivered.head(1).with_columns(row=pl.lit(1, pl.Int64))
    assert check(dataset.conformed, rows).rejects.is_empty()

    for name, column in dataset.conformed.to_schema().columns.items():
        if not column.nullable:
            nothing = rows.with_columns(pl.lit(None, rows.schema[name]).alias(name))
            assert ("not_nullable", name) in check(dataset.conformed, nothing).rejects.select("rule", "column").rows()
        if column.checks:
            wrong = "nonsense" if rows.schema[name] == pl.String else -1
            corrupt = rows.with_columns(pl.lit(wrong, rows.schema[name]).alias(name))
            assert check(dataset.conformed, corrupt).rejects["rule"].to_list() == ["conformed_contract"]


INDIVIDUAL_HEADERS = [
    *({"imsi": "1"}, {"MSISDN": "1"}, {"deviceId": "1"}, {"user": "1"}, {"phone_number": "1"}, {"hash_id": "1"}),
    *({"Latitude": "1"}, {"lon": "1"}, {"Nom": "1"}, {"e-mail": "1"}, {"abonné": "1"}, {"id": "1"}, {"plaque": "1"}),
]


@pytest.mark.parametrize("column", INDIVIDUAL_HEADERS, ids=lambda column: next(iter(column)))
@pytest.mark.parametrize("layout", ["presence", "mitma", "mitma (English)"])
def test_a_column_about_individuals_refuses_the_whole_telecom_delivery(
    column: Mapping[str, str], layout: str, deliver: Deliver, tmp_path: Path, marseille: City
) -> None:
    accepted = next(
        found for found in silos()["telecom_footfall"].formats if set(found.required) <= set(GOOD[layout][1])
    )
    path = write(tmp_path / "delivery.csv", accepted, [{**GOOD[layout][1], **column}])
    with pytest.raises(Refused) as refused:
        deliver("telecom_footfall", path, marseille)
    assert refused.value.rule == "individual_level"


@pytest.mark.parametrize("layout", ["mitma", "mitma (English)"])
@pytest.mark.parametrize("name", [None, "mitma"])
def test_estimates_without_a_cap_of_their_weights_are_refused(layout: str, name: str | None, tmp_path: Path) -> None:
    silo = silos()["telecom_footfall"]
    accepted = next(found for found in silo.formats if set(found.required) <= set(GOOD[layout][1]))
    seen = sample(write(tmp_path / "trips.csv", accepted, [GOOD[layout][1]]))
    with pytest.raises(Refused, match="how much one device weighs at most") as refused:
        named(silo, name, seen, "trips.csv") if name else recognise(silo, seen, "trips.csv")
    assert refused.value.rule == WEIGHTS_UNBOUNDED


@pytest.mark.parametrize("count", ["0", "3", "19"])
def test_a_count_that_should_be_hidden_counts_like_one_that_is(
    count: str, deliver: Deliver, tmp_path: Path, marseille: City
) -> None:
    accepted = silos()["telecom_footfall"].format("presence")
    path = write(tmp_path / "delivery.csv", accepted, [{**GOOD["presence"][1], "count": count}])
    assert deliver("telecom_footfall", path, marseille).rows["people"].to_list() == [19]


def test_individual_records_alone_are_refused_too(deliver: Deliver, tmp_path: Path, marseille: City) -> None:
    path = tmp_path / "delivery.csv"
    path.write_text("imsi;latitude;longitude;timestamp\n1;2;3;4\n", encoding="utf-8")
    with pytest.raises(Refused) as refused:
        deliver("telecom_footfall", path, marseille)
    assert refused.value.rule == "individual_level"


def test_fines_in_the_telecom_folder_are_told_to_be_in_the_wrong_silo(
    deliver: Deliver, tmp_path: Path, marseille: City
) -> None:
    accepted = silos()["verbalisations"].format("los_angeles")
    path = write(tmp_path / "delivery.csv", accepted, [GOOD["los_angeles"][1]])
    with pytest.raises(Refused) as refused:
        deliver("telecom_footfall", path, marseille)
    assert refused.value.rule == "wrong_silo"
