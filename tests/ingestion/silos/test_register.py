"""The register is complete: it is the city's register of processing, and everything else derives from it."""

from __future__ import annotations

import re
from dataclasses import fields
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from infra.lineage.classification import Classification
from ingestion.conformed.schemas import arrow_schema, polars_schema
from ingestion.contracts.columns import classes
from ingestion.register import Dataset, Silo, silos

ROOT = Path(__file__).parents[3]
SILOS = pytest.mark.parametrize("silo", silos().values(), ids=lambda silo: silo.name)


def test_every_folder_is_a_silo() -> None:
    folders = {path.parent.name for path in (ROOT / "ingestion" / "silos").glob("*/__init__.py")}
    assert list(silos()) == sorted(folders)


@SILOS
def test_a_silo_says_everything_about_itself(silo: Silo) -> None:
    for field in fields(silo):
        assert getattr(silo, field.name), field.name
    assert silo.retention.landing <= timedelta(days=7)
    assert silo.retention.quarantine <= timedelta(days=30)
    if any(Classification.PSEUDONYM in classes(dataset.conformed).values() for dataset in silo.datasets):
        assert silo.retention.conformed_months is not None
        assert silo.retention.conformed_months <= 13
    for rule, meaning in silo.rules.items():
        assert re.fullmatch(r"[a-z_]+", rule)
        assert meaning.endswith(".")
        assert len(meaning) > 40, f"{rule} says neither what it means nor what to do"


@SILOS
def test_formats_belong_to_datasets_and_have_names_of_their_own(silo: Silo) -> None:
    assert {accepted.dataset for accepted in silo.formats} == {dataset.name for dataset in silo.datasets}
    layouts = {(accepted.name, accepted.dialect, accepted.required) for accepted in silo.formats}
    assert len(layouts) == len(silo.formats)
    for accepted in silo.formats:
        assert not set(accepted.required) & set(accepted.optional)
        assert set(accepted.occurrence_columns) <= set(accepted.required)
    others = {accepted.name for other in silos().values() if other is not silo for accepted in other.formats}
    assert not others & {accepted.name for accepted in silo.formats}


@pytest.mark.parametrize(
    "dataset", [dataset for silo in silos().values() for dataset in silo.datasets], ids=lambda dataset: dataset.name
)
def test_the_table_has_the_columns_of_the_reference(dataset: Dataset) -> None:
    described = (ROOT / "docs" / "reference.md").read_text(encoding="utf-8")
    row = next(line for line in described.splitlines() if line.startswith(f"| `conformed.{dataset.name}`"))
    _, _, columns, key, _ = row.split("|")
    names = [re.match(r"\w+", name)[0] for name in re.findall(r"`([^`]*)`", columns)]  # type: ignore[index]
    schema = arrow_schema(dataset)
    assert schema.names == [*names, "event_date", "format", "delivery_id"]
    assert [part.strip() for part in key.split(",")] == list(dataset.key)
    assert list(polars_schema(dataset)) == schema.names[:-2]
    for spelled in re.findall(r"`([^`]*)`", columns):
        name, _, kind = spelled.rstrip("?").partition(" ")
        optional = spelled.endswith("?")
        assert schema.field(name).nullable == optional, name
        types = {"binary": pa.binary(), "int": pa.int32(), "long": pa.int64(), "double": pa.float64()}
        types |= {"timestamptz": pa.timestamp("us", tz="UTC"), "": pa.string()}
        assert schema.field(name).type == types[kind], name


def test_the_documentation_names_every_format_and_rule() -> None:
    formats = (ROOT / "docs" / "formats.md").read_text(encoding="utf-8")
    for silo in silos().values():
        for accepted in silo.formats:
            assert f"`{accepted.name}`" in formats
            for column in (*accepted.required, *accepted.optional):
                assert f"`{column}`" in formats, f"{accepted.name}: {column}"
        for rule in silo.rules:
            assert f"`{rule}`" in formats, rule
