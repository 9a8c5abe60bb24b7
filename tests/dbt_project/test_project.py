"""What the project promises of itself: documented to the last column, contracts enforced, no identifier let through."""

from __future__ import annotations

import json
import math
import re
from typing import Any

import pytest
import small_lake
from small_lake import PROJECT, Lake
from test_marts import MARTS, seed, seed_column

from infra.build_spec import UNKNOWN
from ingestion.contracts import dbt_sources
from ingestion.register import silos
from ingestion.silos.tows.contracts import OUTCOMES
from privacy.plan import plan
from publication.builds.sources import conformed, registers
from publication.contracts import CONTRACTS

IDENTIFIERS = {"vehicle", "record_key", "delivery_id"}


@pytest.fixture(scope="session")
def models(manifest: dict[str, Any]) -> dict[str, Any]:
    return {node["name"]: node for node in manifest["nodes"].values() if node["resource_type"] == "model"}


@pytest.fixture(scope="session")
def catalog(built: Lake, manifest: dict[str, Any]) -> dict[str, list[str]]:
    """The physical columns of every model, seed and source, as `dbt docs generate` finds them."""
    done = small_lake.dbt(built, "docs", "generate", "--no-compile")
    assert done.returncode == 0, done.stdout[-2000:]
    read = json.loads((built.folder / "target" / "catalog.json").read_text())
    return {key: list(table["columns"]) for kind in ("nodes", "sources") for key, table in read[kind].items()}


def test_unit_tests_pass(built: Lake) -> None:
    """Under the project's own plan: their thresholds and weights are the real ones."""
    done = small_lake.dbt(built, "test", "--select", "test_type:unit", real_plan=True)
    assert done.returncode == 0, done.stdout[-4000:]
    assert re.search(r"PASS=[1-9]", done.stdout)


def test_every_model_and_column_is_described(manifest: dict[str, Any], catalog: dict[str, list[str]]) -> None:
    described = {**manifest["nodes"], **manifest["sources"]}
    for key, columns in catalog.items():
        node = described[key]
        assert node["description"].strip(), f"{key} has no description"
        documented = {name for name, column in node["columns"].items() if column["description"].strip()}
        assert documented == set(columns), f"{key}: documented and physical columns differ"
    models = {key for key, node in manifest["nodes"].items() if node["resource_type"] in {"model", "seed"}}
    assert models | set(manifest["sources"]) == set(catalog)


def test_every_mart_has_an_enforced_contract_and_a_grain(models: dict[str, Any]) -> None:
    marts = {name: node for name, node in models.items() if node["schema"] == "marts"}
    assert set(marts) == set(MARTS) == set(CONTRACTS)
    for name, node in marts.items():
        assert node["config"]["contract"]["enforced"], name
        assert node["config"]["access"] == "public", name
        contract = CONTRACTS[name]
        assert plan().grain_of(name) == contract.grain
        assert {column: spec["data_type"] for column, spec in node["columns"].items()} == dict(contract.columns)
        assert list(node["columns"]) == list(contract.columns)


def test_vocabularies_are_those_of_the_register_and_of_the_contracts() -> None:
    used = set(re.findall(r"'(\w+)'", (PROJECT / "models/staging/tows/stg_tows__tows.sql").read_text()))
    assert {"deplacement_technique", "restitution_sur_place", "en_cours"} == used & set(OUTCOMES)
    seeds = {
        "nature_group": ("natures", 1),
        "reason_group": ("tow_reasons", 1),
        "delay_group": ("delay_bands", 1),
        "day_type": ("weekdays", 1),
        "direction": ("directions", 0),
        "category": ("footfall_categories", 0),
    }
    assert set(seed("time_bands")) == {*seed_column("hours", 1), UNKNOWN}
    for contract in CONTRACTS.values():
        # An operator counts by the hour; the hour of a fine or of a tow may not be told.
        of = {**seeds, "time_band": ("hours", 1) if contract.mart.startswith("footfall") else ("time_bands", 0)}
        for dimension in contract.dimensions:
            if dimension.column in of:
                known = set(seed_column(*of[dimension.column]))
                assert set(dimension.values(None)) == known, contract.mart  # type: ignore[arg-type]


def test_no_identifier_passes_staging(catalog: dict[str, list[str]]) -> None:
    beyond = {key: columns for key, columns in catalog.items() if not re.search(r"\.stg_(?!reference__)", key)}
    reached = {key: IDENTIFIERS & set(columns) for key, columns in beyond.items() if not key.startswith("source.")}
    assert not {key: names for key, names in reached.items() if names}
    assert any(IDENTIFIERS & set(columns) for key, columns in catalog.items() if key.startswith("source."))


def test_marts_are_made_of_measured_counts_and_public_names_only(manifest: dict[str, Any]) -> None:
    """What is exact never reaches a mart but through the noise; what it is divided by and compared with is public."""
    totals = {"int_fines_totals", "int_fines_quarter_totals", "int_tows_month_totals", "int_tows_totals"}
    allowed = {"stg_reference__hours", "stg_reference__places", *totals}
    for name in MARTS:
        node = manifest["nodes"][f"model.calanque.{name}"]
        parents = {key.rpartition(".")[2] for key in node["depends_on"]["nodes"]}
        assert f"int_{name}_measured" in parents
        assert parents - {f"int_{name}_measured"} <= allowed, name
        assert not re.search(r"\bexact\b", node["raw_code"]), name
    for total in sorted(totals):
        parents = manifest["nodes"][f"model.calanque.{total}"]["depends_on"]["nodes"]
        names = {key.rpartition(".")[2] for key in parents}
        assert all(name.endswith("_measured") or name in MARTS or name.startswith("stg_reference_") for name in names)


def test_marts_name_every_column_they_select(models: dict[str, Any]) -> None:
    for name in MARTS:
        final = models[name]["raw_code"].rstrip().rpartition("\nselect\n")[2]
        assert final, name
        assert "*" not in final, name


def test_conformed_sources_are_written_from_the_register() -> None:
    """`calanque contract freeze` writes them."""
    for path, text in dbt_sources.files():
        assert path.read_text() == text, path.name
    datasets = {dataset.name: dataset for silo in silos().values() for dataset in silo.datasets}
    assert set(conformed()) == set(datasets)
    assert registers() == {name for name, dataset in datasets.items() if dataset.reference}


def test_exposures_and_groups_name_the_steward(manifest: dict[str, Any]) -> None:
    register = silos()
    exposed: set[str] = set()
    for exposure in manifest["exposures"].values():
        assert exposure["owner"]["name"] == register[exposure["config"]["meta"]["silo"]].steward
        exposed |= {name.rpartition(".")[2] for name in exposure["depends_on"]["nodes"]}
    assert exposed == set(MARTS)
    for name in MARTS:
        node = manifest["nodes"][f"model.calanque.{name}"]
        owner = manifest["groups"][f"group.calanque.{node['config']['group']}"]["owner"]["name"]
        assert owner == register[plan().marts[name].silo].steward


def test_a_mart_depends_on_its_own_silo_only(manifest: dict[str, Any]) -> None:
    """Otherwise a silo that fails would stop the marts of the others."""

    def sources(key: str) -> set[str]:
        parents = manifest["parent_map"].get(key, [])
        if key.startswith("source.") and not key.startswith("source.calanque.reference."):
            return {key}
        return set().union(*map(sources, parents))

    for name in MARTS:
        node = manifest["nodes"][f"model.calanque.{name}"]
        silo = silos()[plan().marts[name].silo]
        datasets = {f"source.calanque.{silo.name}.{dataset.name}" for dataset in silo.datasets if not dataset.reference}
        assert sources(node["unique_id"])
        assert sources(node["unique_id"]) <= datasets


def test_the_plan_spends_no_more_than_its_budgets_and_says_what_marts_say(manifest: dict[str, Any]) -> None:
    known = plan()
    assert set(known.marts) == set(MARTS)
    for name, mart in known.marts.items():
        contract = CONTRACTS[name]
        assert (contract.measure.column, contract.period) == (mart.measure, mart.period)
        assert contract.measure.threshold == mart.threshold
        assert {"day": 0, "month": 1, "quarter": 2}[contract.period] <= {"day": 0, "month": 1, "quarter": 2}[
            mart.release
        ]
        code = manifest["nodes"][f"model.calanque.{name}"]["raw_code"]
        assert f"'{name}'" in code


def test_thresholds_are_those_from_which_half_of_all_figures_are_within_six_percent() -> None:
    """Of a day of a crowd, the figure is the sum of the 24 hours that were measured (decision 28)."""
    measured = {"crowd_by_day": 24}
    assert {name: mart.threshold for name, mart in plan().marts.items()} == {
        name: max(11, math.ceil(0.6745 * math.sqrt(mart.bound / (2 * mart.spends) * measured.get(name, 1)) / 0.06))
        for name, mart in plan().marts.items()
    }
