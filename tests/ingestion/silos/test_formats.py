"""What the formats make of a record: place, time, vocabulary, pseudonyms; and what they must never keep."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from silo_delivery import Deliver, write
from silo_records import GOOD, MITMA_ENGLISH, MITMA_SPANISH

from infra.city.profile import City, load_city
from infra.settings import Settings
from ingestion.formats.format import Format, Sample
from ingestion.register import silos


def layout(name: str) -> tuple[str, Format]:
    good = GOOD[name].record
    return next(
        (silo.name, accepted)
        for silo in silos().values()
        for accepted in silo.formats
        if set(accepted.required) <= set(good) and accepted.name == name.split(maxsplit=1)[0]
    )


@pytest.fixture
def conformed(deliver: Deliver, tmp_path: Path, request: pytest.FixtureRequest) -> Any:
    """The conformed rows of records that differ from the good one by the changes given, in order of delivery."""

    def of(name: str, *changes: Mapping[str, str]) -> pl.DataFrame:
        silo, accepted = layout(name)
        city_name, good = GOOD[name].city, GOOD[name].record
        city: City = request.getfixturevalue(city_name)
        path = write(tmp_path / "delivery.csv", accepted, [{**good, **change} for change in changes or ({},)])
        outcome = deliver(silo, path, city)
        assert outcome.tally.by_rule == {}
        return outcome.rows

    return of


def zone_of(city: City, lon: float, lat: float) -> str:
    zone: str = city.locate(pl.Series([lon]), pl.Series([lat])).item()
    assert zone is not None
    return zone


def test_a_fine(conformed: Any, marseille: City) -> None:
    fine = conformed("pve").row(0, named=True)
    assert len(fine.pop("record_key")) == len(fine.pop("vehicle")) == 16
    assert fine == {
        "occurred_at": datetime(2025, 3, 10, 13, 5, tzinfo=UTC),
        "local_hour": 14,
        "zone_id": zone_of(marseille, 5.3765, 43.2965),
        "nature": "stationnement_genant",
        "offence_system": "natinf",
        "offence_code": "6803",
        "corps": "police_municipale",
        "event_date": date(2025, 3, 10),
        "format": "pve",
        "delivery_id": "0" * 64,
    }


@pytest.mark.parametrize(
    ("written", "hour", "utc"),
    [
        ("2025-03-10 14:05", 14, (10, 13, 5)),
        ("2025-03-10T14:05:59", 14, (10, 13, 5, 59)),
        ("2025-03-10 14:05:59.999", 14, (10, 13, 5, 59)),
        ("10/03/2025 00:05", 0, (9, 23, 5)),
        ("10/03/2025 14:05:00", 14, (10, 13, 5)),
    ],
)
def test_times_of_fines(written: str, hour: int, utc: tuple[int, ...], conformed: Any) -> None:
    fine = conformed("pve", {"MI_DateHeureInfraction": written})
    assert fine.select("local_hour", "occurred_at", "event_date").row(0) == (
        hour,
        datetime(2025, 3, *utc, tzinfo=UTC),  # type: ignore[misc]
        date(2025, 3, 10),
    )


def test_the_hour_that_comes_twice_is_the_first(conformed: Any) -> None:
    fine = conformed("pve", {"MI_DateHeureInfraction": "2025-10-26 02:30:00"})
    assert fine["occurred_at"].to_list() == [datetime(2025, 10, 26, 0, 30, tzinfo=UTC)]


@pytest.mark.parametrize(
    ("written", "hour", "utc"),
    [
        ("2025-10-26T02:30:00+01:00", 2, (26, 1, 30)),  # the second time
        ("2025-10-26 02:30:00.000 +02", 2, (26, 0, 30)),
        ("2025-10-26T00:30:00Z", 2, (26, 0, 30)),
        ("26/10/2025 12:05 UTC", 13, (26, 12, 5)),
        ("2025-10-25T23:30:00Z", 1, (25, 23, 30)),  # the day of the city, not that of the offset
    ],
)
def test_a_time_of_a_fine_or_removal_may_tell_its_offset(
    written: str, hour: int, utc: tuple[int, ...], conformed: Any
) -> None:
    instant = datetime(2025, 10, *utc, tzinfo=UTC)  # type: ignore[misc]
    fine = conformed("pve", {"MI_DateHeureInfraction": written})
    assert fine.select("local_hour", "occurred_at", "event_date").row(0) == (hour, instant, date(2025, 10, 26))
    tow = conformed("fourriere", {"date_heure_enlevement": written, "date_heure_restitution": written})
    told = ("local_hour", "removed_at", "released_at", "event_date")
    assert tow.select(told).row(0) == (hour, instant, instant, date(2025, 10, 26))


def test_an_extract_without_plates_has_no_vehicles(deliver: Deliver, tmp_path: Path, marseille: City) -> None:
    silo, accepted = layout("pve")
    extract = {name: value for name, value in GOOD["pve"].record.items() if name != "MIFVAO_VehiculeImmatriculation"}
    assert len(extract) == 60
    outcome = deliver(silo, write(tmp_path / "extract.csv", accepted, [extract]), marseille)
    assert outcome.rows["vehicle"].to_list() == [None]
    assert outcome.tally.warnings == {}


def test_spellings_of_a_plate_are_one_vehicle(conformed: Any) -> None:
    spellings = ["AA-001-AA", "aa 001 aa", "AA001AA", "Aa·001–aA"]
    plates = [*spellings, "AA-00I-AA", "AA-OO1-AA"]  # letters that look like digits are other plates
    changes = [{"DI_Id": str(n), "MIFVAO_VehiculeImmatriculation": plate} for n, plate in enumerate(plates, 1)]
    vehicles = conformed("pve", *changes)["vehicle"]
    assert (vehicles.null_count(), vehicles.n_unique()) == (0, 3)


@pytest.mark.parametrize("name", ["pve", "los_angeles", "essen", "fourriere", "chicago"])
def test_nothing_of_the_record_that_identifies_is_kept(name: str, conformed: Any) -> None:
    secrets = {"NI_Qualification": "SECRET", "fourriere": "Fourrière Nord", "street": "Secret", "Plate": "SECRET1"}
    good = GOOD[name].record
    change = {column: value for column, value in secrets.items() if column in good}
    rows = conformed(name, change)
    columns = (
        "DI_Id",
        "Ticket number",
        "numero_dossier",
        "Inventory Number",
        "immatriculation",
        "Latitude",
        "latitude",
    )
    identifying = {good[column].upper() for column in columns if column in good} | {"SECRET", "SECRET1", "AA001AA"}
    kept = [value for value in rows.row(0) if value is not None]
    texts = {str(value).upper() for value in kept if not isinstance(value, bytes)}
    assert not identifying & texts
    assert not any(word.encode() in value for word in identifying for value in kept if isinstance(value, bytes))
    assert not any(isinstance(value, float) for value in kept)


def test_identical_records_without_a_number_are_distinct_fines(conformed: Any) -> None:
    fines = conformed("essen", {}, {}, {}, {"street": "Beispielweg"})
    assert fines["record_key"].n_unique() == fines.height == 4
    assert fines["occurred_at"].null_count() == fines["local_hour"].null_count() == 4
    assert set(fines["zone_id"]) == {"unknown"}


def test_los_angeles_feet_become_a_zone_of_los_angeles(conformed: Any, elsewhere: City) -> None:
    fine = conformed("los_angeles")
    assert fine["zone_id"].item() == zone_of(elsewhere, -118.2427, 34.0537)
    assert fine["occurred_at"].to_list() == [datetime(2025, 3, 10, 16, 5, tzinfo=UTC)]  # 9:05 there
    assert fine["vehicle"].to_list() == [None]


def test_a_removal(conformed: Any, marseille: City) -> None:
    tow = conformed("fourriere").row(0, named=True)
    assert len(tow.pop("record_key")) == len(tow.pop("vehicle")) == 16
    assert tow == {
        "removed_at": datetime(2025, 3, 10, 13, 5, tzinfo=UTC),
        "local_hour": 14,
        "zone_id": zone_of(marseille, 5.3765, 43.2965),
        "reason": "stationnement_genant",
        "depot": "fourriere_nord",
        "released_at": datetime(2025, 3, 11, 9, 30, tzinfo=UTC),
        "outcome": "restitution",
        "event_date": date(2025, 3, 10),
        "format": "fourriere",
        "delivery_id": "0" * 64,
    }


def test_a_vehicle_still_in_the_pound(conformed: Any) -> None:
    tow = conformed("fourriere", {"issue": "", "date_heure_mainlevee": "", "date_heure_restitution": ""})
    assert tow.select("outcome", "released_at").row(0) == ("en_cours", None)


def test_a_release_that_is_ordered_counts_when_nobody_came(conformed: Any) -> None:
    tow = conformed("fourriere", {"issue": "Mainlevée", "date_heure_restitution": ""})
    assert tow.select("outcome", "released_at").row(0) == ("mainlevee", datetime(2025, 3, 11, 8, tzinfo=UTC))


@pytest.mark.parametrize(
    ("address", "depot"),
    [
        ("10300 S. Doty", "doty"),
        ("Chicago O'hare International Airport remote lot E.", "ohare"),
        ("1 Main St", "autre"),
    ],
)
def test_chicago_pounds_lose_their_address(address: str, depot: str, conformed: Any) -> None:
    tow = conformed("chicago", {"Towed to Address": address})
    assert tow.select("depot", "reason", "outcome", "zone_id").row(0) == (
        depot,
        "non_precise",
        "non_precise",
        "unknown",
    )


def test_a_count(conformed: Any) -> None:
    count = conformed("counter", {"direction": "Sortie", "area_m2": "900,5"}).row(0, named=True)
    assert count == {
        "place_id": "vieux-port",
        "direction": "out",
        "cohort": "all",
        "starts_at": datetime(2025, 3, 10, 13, 15, tzinfo=UTC),
        "duration_minutes": 15,
        "local_hour": 14,
        "people": 120,
        "area_m2": 900.5,
        "event_date": date(2025, 3, 10),
        "format": "counter",
        "delivery_id": "0" * 64,
    }


def test_a_counter_without_an_area_has_that_of_the_profile(conformed: Any, marseille: City) -> None:
    area = marseille.places.filter(pl.col("place_id") == "vieux-port")["area_m2"].item()
    assert conformed("counter", {"area_m2": ""})["area_m2"].to_list() == [area]


@pytest.mark.parametrize(
    "street", ["Steinstraße, Moers", "Steinstra\ufffde, Moers", "SteinstraÃ\x9fe, Moers", "Steinstrasse, Moers"]
)
def test_moers_gives_four_counts_per_record_whatever_its_encoding(street: str, conformed: Any) -> None:
    damaged = {"Lage": street, "Fußgänger insgesamt": ""}
    counts = conformed("moers", damaged)
    assert set(counts["place_id"]) == {"moers:steinstrasse"}
    assert set(counts.select("direction", "cohort", "people").rows()) == {
        ("in", "adult", 4),
        ("out", "adult", 3),
        ("in", "child", 2),
        ("out", "child", 1),
    }


@pytest.mark.parametrize(
    ("silo", "name", "clock"),
    [
        ("crowd_flows", "counter", "Europe/Paris"),
        ("crowd_flows", "melbourne", "Australia/Melbourne"),
        ("crowd_flows", "moers", "Europe/Berlin"),
        ("telecom_footfall", "mitma", "Europe/Madrid"),
        ("tows", "chicago", "America/Chicago"),
        ("tows", "fourriere", "Europe/Paris"),
        ("verbalisations", "essen", "Europe/Berlin"),
        ("verbalisations", "los_angeles", "America/Los_Angeles"),
    ],
)
def test_times_are_on_the_clock_of_whoever_wrote_the_format(silo: str, name: str, clock: str) -> None:
    assert silos()[silo].format(name).clock(load_city(Settings(city="marseille"))) == clock


def test_melbourne_is_told_in_its_own_time(conformed: Any) -> None:
    count = conformed("melbourne")
    assert count.select("place_id", "starts_at", "local_hour", "event_date", "duration_minutes").row(0) == (
        "melbourne:4",
        datetime(2025, 3, 10, 3, tzinfo=UTC),
        14,
        date(2025, 3, 10),
        60,
    )


def test_the_second_record_of_an_hour_that_comes_twice_is_the_later_hour(conformed: Any) -> None:
    hours = [{"Date": "06-Apr-2025", "Hour": hour, "PedestrianCount": count} for hour, count in ("21", "22", "33")]
    counts = conformed("melbourne", *hours).sort("starts_at")
    assert counts.select("local_hour", "people").rows() == [(2, 1), (2, 2), (3, 3)]
    assert counts["starts_at"].dt.hour().to_list() == [15, 16, 17]


def test_a_sensor_is_a_place(conformed: Any) -> None:
    place = conformed("melbourne_sensors").row(0, named=True)
    assert (place["place_id"], place["place_name"]) == ("melbourne:4", "Made up (West)")
    assert place["zone_id"] not in {None, "unknown"}


def test_presence(conformed: Any) -> None:
    presence = conformed("presence", {"category": "Visiteurs"}).row(0, named=True)
    assert presence == {
        "zone_id": "1320101",
        "category": "visitor",
        "measure": "presence",
        "stratum": "",
        "starts_at": datetime(2025, 3, 10, 13, tzinfo=UTC),
        "local_hour": 14,
        "people": 120.0,
        "event_date": date(2025, 3, 10),
        "format": "presence",
        "delivery_id": "0" * 64,
    }


def test_both_layouts_of_the_ministry_give_arrivals(conformed: Any) -> None:
    spanish, english = conformed("mitma"), conformed("mitma (English)")
    same = ["zone_id", "category", "measure", "starts_at", "local_hour", "people", "event_date", "format"]
    assert spanish.select(same).rows() == english.select(same).rows()
    assert spanish.select("category", "measure", "local_hour", "people").row(0) == ("worker", "arrivals", 14, 10.5)


@pytest.mark.parametrize(
    ("name", "columns"),
    [
        ("mitma", [name for name in MITMA_SPANISH if name not in {"fecha", "periodo", "viajes", "viajes_km"}]),
        (
            "mitma (English)",
            ["id_origin", "distance", "activity_origin", "study_possible_origin", "income", "age", "sex"],
        ),
    ],
)
def test_trips_of_different_strata_are_different_records(name: str, columns: list[str], conformed: Any) -> None:
    values = {"actividad_destino": "casa", "destino": "99999"}
    changes = [{}, *({column: values.get(column, "other")} for column in columns)]
    trips = conformed(name, *changes)
    key = ["zone_id", "category", "measure", "stratum", "starts_at"]
    assert trips.select(key).n_unique() == trips.height == len(changes)
    assert set(trips["stratum"].str.len_chars()) == {16}


def test_a_named_format_takes_the_layout_of_the_delivery() -> None:
    silo = silos()["telecom_footfall"]
    english = Sample(lines=(",".join(MITMA_ENGLISH),))
    spanish = Sample(lines=("|".join(MITMA_SPANISH),))
    assert silo.format("mitma", english).dialect.delimiter == ","
    assert silo.format("mitma", spanish).dialect.delimiter == "|"
    with pytest.raises(KeyError, match="presence, mitma, mitma_zones"):
        silo.format("orange")


@pytest.mark.parametrize("name", ["pve", "fourriere", "counter", "moers", "presence", "mitma"])
def test_what_a_record_becomes_does_not_depend_on_its_neighbours(name: str) -> None:
    _, accepted = layout(name)
    good, told_apart_by = GOOD[name].record, next(iter(GOOD[name].other))
    size = 150_000  # more than one of the chunks in which engines work
    batch = pl.DataFrame(good).select(pl.col(accepted.required).repeat_by(size).explode())
    numbers = pl.int_range(1, size + 1, eager=True)
    batch = batch.with_columns(row=numbers, **{told_apart_by: "7" + numbers.cast(pl.String)})
    cut = size // 3
    together = accepted.to_delivered(batch).sort("row", maintain_order=True)
    apart = pl.concat([accepted.to_delivered(batch[:cut]), accepted.to_delivered(batch[cut:])])
    assert together.equals(apart.sort("row", maintain_order=True))
