"""Every rule of every silo is documented, and rejects (or warns of) a record that breaks it, and only that record."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from pathlib import Path

import polars as pl
import pytest
from silo_delivery import Deliver, write
from silo_records import GOOD, layout_of

from infra.city.profile import City
from ingestion.contracts.checking import check
from ingestion.formats.reading import MALFORMED
from ingestion.formats.recognition import named, recognise, sample
from ingestion.refusal import Refused
from ingestion.register import Dataset, Silo, silos
from ingestion.silos.telecom_footfall.contracts import WEIGHTS_UNBOUNDED
from ingestion.synthetic.faults import Break, scene

CONFORMED = {"conformed_contract", "not_nullable"}
"""Rules that no delivery can break, unless Calanque is at fault: proved on conformed tables, below."""
AROUND = date(2025, 3, 10)


CASES = [
    (silo.name, way)
    for silo in silos().values()
    for way in silo.demo().breaks
    if way.rule != MALFORMED  # of the reader, and about a line
]


def test_every_rule_has_a_case() -> None:
    cases = {(silo, way.rule) for silo, way in CASES}
    of_rows = {(silo.name, name) for silo in silos().values() for name in silo.rules if name not in CONFORMED}
    assert cases == of_rows - {("telecom_footfall", WEIGHTS_UNBOUNDED)}  # of a whole delivery
    assert all(set(silo.rules) >= CONFORMED for silo in silos().values())


@pytest.mark.parametrize(
    ("name", "case"), CASES, ids=[f"{way.layout}-{way.rule}-{number}" for number, (_, way) in enumerate(CASES)]
)
def test_a_rule_finds_the_record_that_breaks_it_and_no_other(
    name: str, case: Break, deliver: Deliver, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    silo = silos()[name]
    example = silo.demo().examples[case.layout]
    city: City = request.getfixturevalue(example.city)
    good, other = example.record, {**example.record, **example.other}
    accepted = layout_of(silo, case.layout)
    path = tmp_path / "delivery.csv"
    cells = case.cells(scene(city, AROUND))
    assert cells is not None

    clean = deliver(name, write(path, accepted, [good, other]), city)
    assert (clean.accepted, clean.tally.accepted, clean.tally.by_rule) == (accepted, 2, {})
    broken = deliver(name, write(path, accepted, [{**good, **cells}, other]), city)

    told = {name for named in broken.rejects["column"].drop_nulls() for name in named.split(", ")}
    assert told <= {*accepted.required, *accepted.optional}  # the sender's names, not ours
    gained = {name: count - clean.tally.warnings.get(name, 0) for name, count in broken.tally.warnings.items()}
    if case.warns:
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
    city_name, good = GOOD[accepted.name].city, GOOD[accepted.name].record
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
    accepted = layout_of(silos()["telecom_footfall"], layout)
    path = write(tmp_path / "delivery.csv", accepted, [{**GOOD[layout].record, **column}])
    with pytest.raises(Refused) as refused:
        deliver("telecom_footfall", path, marseille)
    assert refused.value.rule == "individual_level"


@pytest.mark.parametrize("layout", ["mitma", "mitma (English)"])
@pytest.mark.parametrize("name", [None, "mitma"])
def test_estimates_without_a_cap_of_their_weights_are_refused(layout: str, name: str | None, tmp_path: Path) -> None:
    silo = silos()["telecom_footfall"]
    accepted = layout_of(silo, layout)
    seen = sample(write(tmp_path / "trips.csv", accepted, [GOOD[layout].record]))
    with pytest.raises(Refused, match="how much one device weighs at most") as refused:
        named(silo, name, seen, "trips.csv") if name else recognise(silo, seen, "trips.csv")
    assert refused.value.rule == WEIGHTS_UNBOUNDED


@pytest.mark.parametrize("count", ["0", "3", "19"])
def test_a_count_that_should_be_hidden_counts_like_one_that_is(
    count: str, deliver: Deliver, tmp_path: Path, marseille: City
) -> None:
    accepted = silos()["telecom_footfall"].format("presence")
    path = write(tmp_path / "delivery.csv", accepted, [{**GOOD["presence"].record, "count": count}])
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
    path = write(tmp_path / "delivery.csv", accepted, [GOOD["los_angeles"].record])
    with pytest.raises(Refused) as refused:
        deliver("telecom_footfall", path, marseille)
    assert refused.value.rule == "wrong_silo"
