"""Every column of the register says what it can tell about a person, and says truly what it is made from."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta

import pandera.polars as pa
import polars as pl
import pytest
from silo_records import GOOD, layout_of

from infra.city.profile import City
from infra.keys.store import KeyStore
from infra.lineage.classification import Classification
from ingestion.conformed.schemas import arrow_schema
from ingestion.contracts.columns import UnclassifiedError, classes, conformed_classes, derivations
from ingestion.formats.format import Format
from ingestion.register import Dataset, Silo, silos
from ingestion.rows.pseudonyms import Pseudonymiser

DATASETS = pytest.mark.parametrize(
    "dataset", [dataset for silo in silos().values() for dataset in silo.datasets], ids=lambda dataset: dataset.name
)


@DATASETS
def test_no_column_is_unclassified(dataset: Dataset) -> None:
    assert list(classes(dataset.delivered)) == list(dataset.delivered.to_schema().columns)
    assert list(conformed_classes(dataset)) == arrow_schema(dataset).names


def test_a_column_without_a_class_is_found() -> None:
    class Forgetful(pa.DataFrameModel):
        plate: str

    with pytest.raises(UnclassifiedError, match=r"Forgetful\.plate has no class"):
        classes(Forgetful)


@DATASETS
def test_a_conformed_column_tells_as_much_as_what_it_is_made_from(dataset: Dataset) -> None:
    """Less, only where a key stands between: an identifier becomes a pseudonym and nothing else."""
    order = list(Classification)
    delivered, conformed = classes(dataset.delivered), classes(dataset.conformed)
    assert Classification.IDENTIFIER not in conformed.values()
    for name, sources in derivations(dataset).items():
        assert set(sources) <= set(delivered), name
        told = {delivered[source] for source in sources}
        if Classification.IDENTIFIER in told:
            assert conformed[name] is Classification.PSEUDONYM, name
        elif told:
            assert order.index(conformed[name]) <= min(map(order.index, told)), name


def test_identifiers_and_instants_are_what_they_are() -> None:
    """The classes that everything downstream rests on."""
    for name in ("verbalisations", "tows"):
        dataset = silos()[name].dataset(name)
        assert {classes(dataset.delivered)[column] for column in ("plate", "record")} == {Classification.IDENTIFIER}
        conformed = conformed_classes(dataset)
        assert {conformed[column] for column in ("vehicle", "record_key")} == {Classification.PSEUDONYM}
        assert conformed["zone_id"] is conformed["event_date"] is Classification.QUASI_IDENTIFIER
        assert Classification.PUBLIC not in conformed.values()
        assert conformed["delivery_id"] is Classification.PROVENANCE
    assert classes(silos()["crowd_flows"].dataset("crowd_flows").conformed)["people"] is Classification.STATISTIC
    assert classes(silos()["telecom_footfall"].datasets[0].conformed)["people"] is Classification.STATISTIC


# --- what a conformed column is made from, found out by changing one delivered column at a time ----------------------

AN_INSTANT = datetime(2025, 3, 10, 22, 30, tzinfo=UTC)
PUT_BACK = datetime(2025, 4, 6, 2)  # noqa: DTZ001 - a clock of Melbourne showed it twice
OTHER_WORDS = {
    "direction": "out",
    "cohort": "child",
    "category": "visitor",
    "reason": "vehicule_epave",
    "outcome": "en_cours",
    "corps": "Gendarmerie nationale",
    "offence_label": "EXCES DE VITESSE",
    "offence_code": "1",
    "zone": "1320102",
    "place_id": "saint-charles",
}


def _changed(frame: pl.DataFrame, column: str) -> Iterator[pl.Series]:
    """Other good values of a delivered column."""
    values = frame[column]
    if column == "second_of_day":
        yield values.fill_null(0) + 7_200
    elif column in {"lon", "lat"}:
        yield from (values + offset for offset in (-0.03, 0.03, -0.3))
    elif values.dtype == pl.String:
        yield values.fill_null("") + "1"
        yield pl.Series(column, [OTHER_WORDS.get(column, "AB123CD")] * len(values))
        yield pl.Series(column, [None] * len(values), dtype=pl.String)
    elif values.dtype == pl.Date:
        yield pl.Series(column, [date(2025, 4, 20)] * len(values))
    elif values.dtype.is_temporal():
        yield values + timedelta(days=40, hours=3)
        yield pl.Series(column, [None] * len(values), dtype=values.dtype)
    elif values.dtype == pl.Boolean:
        yield ~values
    else:
        yield (values.fill_null(0) + 7).cast(values.dtype)


def _made_from(
    silo: Silo, accepted: Format, delivered: pl.DataFrame, city: City, keys: KeyStore
) -> set[tuple[str, str]]:
    """Pairs of a conformed column and a delivered one that was seen to change it."""
    dataset = silo.dataset(accepted.dataset)

    def conform(frame: pl.DataFrame) -> pl.DataFrame:
        return (
            dataset.contract()
            .conform(frame, accepted, city, Pseudonymiser(silo.name, keys))
            .drop("row", "reject", "warn", "moved", strict=False)
        )

    before = conform(delivered)
    return {
        (name, column)
        for column in delivered.columns
        if column != "row"
        for values in _changed(delivered, column)
        for name, series in conform(delivered.with_columns(values.alias(column))).to_dict().items()
        if not series.equals(before[name], null_equal=True)
    }


@pytest.fixture(scope="module")
def observed(
    marseille: City, elsewhere: City, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, set[tuple[str, str]]]:
    keys = KeyStore(tmp_path_factory.mktemp("keys"))
    found: dict[str, set[tuple[str, str]]] = {}
    for layout, example in GOOD.items():
        city_name, record = example.city, example.record
        silo = next(silo for silo in silos().values() if layout in silo.demo().examples)
        accepted = layout_of(silo, layout)
        source = {column: [record[column]] for column in (*accepted.required, *accepted.optional) if column in record}
        batch = pl.DataFrame({"row": [1], **source})
        if accepted.occurrence_columns:
            batch = batch.with_columns(occurrence=pl.lit(1))
        city = {"marseille": marseille, "elsewhere": elsewhere}[city_name]
        delivered = accepted.to_delivered(batch)
        cases = [delivered]
        if "area_m2" in delivered.columns:  # not told: the city's own word counts
            cases.append(delivered.with_columns(area_m2=pl.lit(None, pl.Float64)))
        # What some formats tell with an offset, this one not: null, and told by day and time.
        told = [name for name in delivered.columns if name.endswith("_at") and name != "starts_at"]
        cases.extend(delivered.with_columns(pl.lit(AN_INSTANT, delivered.schema[name]).alias(name)) for name in told)
        if "repeated_hour" in delivered.columns and delivered["starts_at"].is_null().all():
            cases.append(delivered.with_columns(starts_local=pl.lit(PUT_BACK), repeated_hour=pl.lit(True)))
        for case in cases:
            found.setdefault(accepted.dataset, set()).update(_made_from(silo, accepted, case, city, keys))
    return found


@DATASETS
def test_a_conformed_column_is_made_from_what_it_says(
    dataset: Dataset, observed: dict[str, set[tuple[str, str]]]
) -> None:
    declared = {(name, source) for name, sources in derivations(dataset).items() for source in sources}
    assert observed[dataset.name] == declared
