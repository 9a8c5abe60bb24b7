"""The gate finds what was planted in a candidate file, wherever it hides, and lets real marts through."""

from __future__ import annotations

import hashlib
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic_marts import make, reference, spec, units, write

from infra.build_spec import CityReference
from infra.calendar.days import DayRange
from infra.city.profile import load_city
from infra.settings import Settings
from publication.contracts import CONTRACTS, Contract, Reference
from publication.releases import pii_scan

MARSEILLE = load_city(Settings(city="marseille"))
ELSEWHERE = load_city(Settings(city="elsewhere"))
CONTRACT = CONTRACTS["fines_by_day"]


def scan(path: Path, contract: Contract = CONTRACT, known: Reference | None = None) -> set[tuple[str, str | None]]:
    public = pii_scan.Public.of(contract, known or reference(contract))
    return {(each.rule, each.column) for each in pii_scan.scan(path, contract, MARSEILLE.plates, public)}


@pytest.mark.parametrize("contract", CONTRACTS.values(), ids=CONTRACTS)
def test_a_mart_passes(contract: Contract, tmp_path: Path) -> None:
    write(tmp_path / "mart.parquet", make(contract, reference(contract)))
    assert scan(tmp_path / "mart.parquet", contract) == set()


@pytest.mark.parametrize("city", [MARSEILLE, ELSEWHERE], ids=lambda city: city.name)
@pytest.mark.parametrize("mart", ["fines_by_day", "tows_delay", "crowd_by_day", "footfall_by_month"])
def test_a_mart_of_a_real_city_passes(city: object, mart: str, tmp_path: Path) -> None:
    contract = CONTRACTS[mart]
    profile = city if city is MARSEILLE else ELSEWHERE
    known = CityReference.of(profile)  # type: ignore[arg-type]
    one_day = DayRange(first_day=units(mart)[0].last_day, last_day=units(mart)[0].last_day)
    places = {place.place_id: place.place_name for place in known.places} | {"unknown": "Unknown place"}
    full = Reference.of(spec().model_copy(update={"city": known, "coverage": {"s": (one_day,)}}), mart, "s", places)
    write(tmp_path / "mart.parquet", make(contract, full))
    public = pii_scan.Public.of(contract, full)
    assert pii_scan.scan(tmp_path / "mart.parquet", contract, profile.plates, public) == []  # type: ignore[attr-defined]


PLANTED = {
    "plate_1": ["AB-123-CD", "ab123cd", "AB 123 CD", "vu AB-123-CD garé"],
    "plate_2": ["1234 AB 13", "987ZZ2A"],
    "phone": ["06 12 34 56 78", "+33612345678", "0033 6 12 34 56 78", "06.12.34.56.78", "0491123456"],
    "long_number": ["208011234567890", "356938035643809", "612345678"],
    "email": ["jean.dupont@example.org", "contact jean@mairie.fr"],
    "hash": [
        hashlib.md5(b"AB-123-CD").hexdigest(),  # noqa: S324
        hashlib.sha1(b"AB-123-CD").hexdigest(),  # noqa: S324
        hashlib.sha256(b"AB-123-CD").hexdigest().upper(),
    ],
    "base64": ["q83vEjRWeJCrze8SNFZ4kA==", "q83vEjRWeJCrze8SNFZ4kA"],
    "uuid": ["123e4567-e89b-12d3-a456-426614174000"],
    "mac_address": ["00:1B:44:11:3A:B7"],
    "ip_address": ["192.168.12.34"],
    "precise_position": ["43.29613,5.36983", "POINT(5.36983 43.29613)"],
    "link": ["https://example.org/photo/1"],
}


@pytest.mark.parametrize(("rule", "value"), [(rule, value) for rule, values in PLANTED.items() for value in values])
def test_a_planted_identifier_is_found_and_never_repeated(rule: str, value: str, tmp_path: Path) -> None:
    frame = make(CONTRACT, reference(CONTRACT))
    planted = frame.with_row_index("i").with_columns(
        pl.when(pl.col("i") == frame.height // 2).then(pl.lit(value)).otherwise("area_name").alias("area_name")
    )
    write(tmp_path / "mart.parquet", planted.drop("i"))
    found = scan(tmp_path / "mart.parquet")
    assert (f"gate.{rule}", "area_name") in found
    assert value not in repr(found)


@pytest.mark.slow
@given(value=st.from_regex(r"\A[A-HJ-NP-TV-Z]{2}-[0-9]{3}-[A-HJ-NP-TV-Z]{2}\Z", fullmatch=True))
@settings(max_examples=50, deadline=None)
def test_every_french_plate_is_found(value: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.getbasetemp() / "plate.parquet"
    write(path, make(CONTRACT, reference(CONTRACT)).head(3).with_columns(area_name=pl.lit(value)))
    assert ("gate.plate_1", "area_name") in scan(path)


@pytest.mark.parametrize(
    "name",
    ["vehicle", "plaque", "record_key", "delivery_id", "agentMatricule", "phone", "lat", "sha256", "adresse", "e_mail"],
)
def test_a_column_named_like_an_identifier_is_refused(name: str, tmp_path: Path) -> None:
    write(tmp_path / "mart.parquet", make(CONTRACT, reference(CONTRACT)).with_columns(pl.lit(1).alias(name)))
    assert {("gate.identifier_name", name), ("gate.column_not_in_contract", name)} <= scan(tmp_path / "mart.parquet")


def test_a_pseudonym_column_is_refused(tmp_path: Path) -> None:
    frame = make(CONTRACT, reference(CONTRACT))
    keyed = frame.with_columns(vehicle=pl.Series([number.to_bytes(16) for number in range(frame.height)]))
    pq.write_table(keyed.to_arrow(), tmp_path / "mart.parquet")
    assert ("gate.binary_column", "vehicle") in scan(tmp_path / "mart.parquet")


def test_bytes_in_the_place_of_a_text_column_are_refused(tmp_path: Path) -> None:
    frame = make(CONTRACT, reference(CONTRACT)).with_columns(pl.col("area_id").cast(pl.Binary))
    pq.write_table(frame.to_arrow(), tmp_path / "mart.parquet")
    assert ("gate.binary_column", "area_id") in scan(tmp_path / "mart.parquet")


def test_a_nested_column_is_refused(tmp_path: Path) -> None:
    frame = make(CONTRACT, reference(CONTRACT)).with_columns(fines=pl.struct(pl.col("fines"), pl.lit(1).alias("x")))
    pq.write_table(frame.to_arrow(), tmp_path / "mart.parquet")
    assert ("gate.nested_column", "fines.fines") in scan(tmp_path / "mart.parquet")


def test_key_value_metadata_is_refused(tmp_path: Path) -> None:
    table = make(CONTRACT, reference(CONTRACT)).to_arrow()
    with pq.ParquetWriter(tmp_path / "mart.parquet", table.schema) as writer:
        writer.write_table(table)
        writer.add_key_value_metadata({"note": "AB-123-CD"})
    assert ("gate.metadata", None) in scan(tmp_path / "mart.parquet")


def test_an_identifier_only_in_the_statistics_is_found(tmp_path: Path) -> None:
    """The extremes of a column are kept in the footer; those of a file made elsewhere need not be among its rows."""
    path = tmp_path / "mart.parquet"
    frame = make(CONTRACT, reference(CONTRACT)).with_columns(area_name=pl.lit("ZZ-999-ZZ"))
    pq.write_table(frame.to_arrow(), path, compression="none", use_dictionary=["area_name"])
    data = path.read_bytes()
    footer = data.rindex(b"ZZ-999-ZZ")
    first = data.index(b"ZZ-999-ZZ")
    assert first < footer
    path.write_bytes(data[:first] + b"Endoume, " + data[first + 9 :])  # the dictionary page, not the footer
    assert "ZZ-999-ZZ" not in set(pq.read_table(path)["area_name"].to_pylist())
    assert ("gate.statistics.plate_1", "area_name") in scan(path)


def test_a_number_as_long_as_a_phone_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "mart.parquet", make(CONTRACT, reference(CONTRACT)).with_columns(fines=pl.lit(33612345678)))
    assert ("gate.long_number", "fines") in scan(tmp_path / "mart.parquet")


def test_one_text_per_row_is_refused(tmp_path: Path) -> None:
    frame = make(CONTRACT, reference(CONTRACT))
    notes = pl.Series("area_name", [f"v{number}" for number in range(frame.height)])
    write(tmp_path / "mart.parquet", frame.with_columns(notes))
    assert scan(tmp_path / "mart.parquet") == {("gate.one_value_per_row", "area_name")}


def test_too_many_texts_are_refused(tmp_path: Path) -> None:
    frame = make(CONTRACT, reference(CONTRACT))
    many = pl.concat([frame] * (2 * pii_scan.MOST_DISTINCT // frame.height + 2))
    notes = pl.Series("area_name", [f"v{number // 2}" for number in range(many.height)])
    write(tmp_path / "mart.parquet", many.with_columns(notes))
    assert scan(tmp_path / "mart.parquet") == {("gate.too_many_distinct", "area_name")}


def test_a_sentence_is_refused(tmp_path: Path) -> None:
    frame = make(CONTRACT, reference(CONTRACT)).with_columns(area_name=pl.lit("il y avait du bruit, " * 7))
    write(tmp_path / "mart.parquet", frame)
    assert ("gate.long_text", "area_name") in scan(tmp_path / "mart.parquet")


def test_a_file_with_two_columns_of_one_name_is_refused(tmp_path: Path) -> None:
    table = make(CONTRACT, reference(CONTRACT)).to_arrow()
    pq.write_table(
        pa.table([*table.columns, table["fines"]], [*table.column_names, "fines"]), tmp_path / "mart.parquet"
    )
    assert ("gate.column_repeated", None) in scan(tmp_path / "mart.parquet")
