"""Classes of columns follow the lineage of the real project: nothing personal reaches a mart bare; a leak is found."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from small_lake import PROJECT

from infra.build_spec import CityReference
from infra.city.profile import load_city
from infra.lineage.classification import Classification
from infra.lineage.graph import join
from infra.settings import Settings
from ingestion.contracts.columns import conformed_classes
from ingestion.contracts.declared_lineage import of_register
from ingestion.register import silos
from privacy.plan import plan
from publication.builds import project
from publication.builds.project import Project, ProjectError
from publication.column_lineage import ROWS, Lineage, check
from publication.contracts import CONTRACTS, PERIOD

CITY = CityReference.of(load_city(Settings()))


@pytest.fixture(scope="module")
def declared(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The real project, compiled and judged as before a build."""
    return project.load(Settings(home=tmp_path_factory.mktemp("home")), CITY)


@pytest.fixture(scope="module")
def lineage(declared: Project) -> Lineage:
    return declared.lineage()


@pytest.fixture(scope="module")
def manifest(declared: Project) -> Mapping[str, Any]:
    return json.loads((declared.folder / "manifest.json").read_text())


def test_sources_have_the_classes_of_the_register(lineage: Lineage) -> None:
    found = {
        node.name.partition(".")[2]: {
            column.name: column.classification for column in node.columns if column.name != ROWS
        }
        for node in lineage.nodes
        if node.kind == "source" and node.name.startswith("conformed.")
    }
    assert found == {dataset.name: conformed_classes(dataset) for silo in silos().values() for dataset in silo.datasets}


def test_what_grids_are_made_of_is_public(lineage: Lineage) -> None:
    grounds = [node for node in lineage.nodes if node.kind == "seed" or node.name.startswith("reference.")]
    assert len(grounds) > 8
    assert {column.classification for node in grounds for column in node.columns} == {Classification.PUBLIC}


def test_nothing_personal_reaches_a_mart_bare(lineage: Lineage) -> None:
    marts = {node.name.partition(".")[2] for node in lineage.nodes if node.is_mart}
    assert marts == set(CONTRACTS)
    assert [leak.sentence() for leak in check(lineage)] == []


def _ancestry(lineage: Lineage) -> tuple[dict[tuple[str, str], set[str]], dict[tuple[str, str], set[str]]]:
    """The sources that each column is made from: those that reach it bare, and those that reach it with noise."""
    bare: dict[tuple[str, str], set[str]] = {}
    noisy: dict[tuple[str, str], set[str]] = {}
    for node in lineage.nodes:
        for column in node.columns:
            bare[node.name, column.name] = {node.name} if node.kind != "model" else set()
            noisy[node.name, column.name] = set()
    for edge in sorted(lineage.edges, key=lambda edge: [node.name for node in lineage.nodes].index(edge.to_node)):
        parent, child = (edge.from_node, edge.from_column), (edge.to_node, edge.to_column)
        noisy[child] |= noisy[parent] | (bare[parent] if edge.masked else set())
        bare[child] |= set() if edge.masked else bare[parent]
    return bare, noisy


def test_measures_come_from_the_conformed_table_with_noise_and_all_else_from_the_grid(lineage: Lineage) -> None:
    bare, noisy = _ancestry(lineage)
    for node in (node for node in lineage.nodes if node.is_mart):
        contract = CONTRACTS[node.name.partition(".")[2]]
        silo = silos()[plan().marts[node.name.partition(".")[2]].silo]
        conformed = {f"conformed.{dataset.name}" for dataset in silo.datasets if not dataset.reference}
        for column in contract.columns:
            place = (node.name, column)
            if column in (*PERIOD, *contract.grain) or column.endswith("_name"):
                assert noisy[place] == set(), place
                assert not {source for source in bare[place] if source.startswith("conformed.")}, place
            else:
                assert noisy[place] & conformed, place


def test_classes_follow_the_lineage(lineage: Lineage) -> None:
    """What the steward's site shows beside each column: personal up to the noise, public after it."""
    classes = {node.name: {column.name: column.classification for column in node.columns} for node in lineage.nodes}
    assert classes["staging.stg_verbalisations__verbalisations"]["vehicle"] is Classification.PSEUDONYM
    assert classes["staging.stg_verbalisations__verbalisations"]["nature"] is Classification.SENSITIVE
    measured = classes["intermediate.int_fines_by_day_measured"]
    assert measured["exact"] is Classification.PSEUDONYM
    assert measured["measured"] is measured["area_id"] is measured[ROWS] is Classification.PUBLIC
    for node in lineage.nodes:
        if node.is_mart:
            assert set(classes[node.name].values()) == {Classification.PUBLIC}, node.name


def test_a_figure_is_followed_from_the_delivered_column_to_the_mart(lineage: Lineage) -> None:
    whole = join(of_register(), lineage)
    assert Lineage.model_validate_json(whole.model_dump_json()) == whole
    known = {(node.name, column.name) for node in whole.nodes for column in node.columns}
    for edge in whole.edges:
        assert {(edge.from_node, edge.from_column), (edge.to_node, edge.to_column)} <= known
    behind = whole.upstream("marts.fines_by_day", "fines")
    delivered = {edge.from_column for edge in behind if edge.from_node == "delivered.verbalisations"}
    assert {"plate", "record", "occurred_on", "lon", "lat"} <= delivered
    assert "offence_label" in delivered, "by the totals that marts are fitted to"
    assert "corps" not in delivered
    assert any(edge.masked for edge in behind)
    pseudonym = {edge.from_column: edge.direct for edge in behind if edge.to_column == "vehicle" and edge.direct}
    assert set(pseudonym) >= {"plate"}
    grid = whole.upstream("marts.fines_by_day", "area_id")
    assert {edge.from_node.partition(".")[0] for edge in grid} <= {"reference", "staging", "intermediate"}
    with pytest.raises(KeyError, match="no column plates of"):
        whole.upstream("marts.fines_by_day", "plates")


def test_only_the_measured_models_may_mask(lineage: Lineage) -> None:
    approved = {node.name for node in lineage.nodes if node.approved_aggregation}
    assert approved == {f"intermediate.int_{mart}_measured" for mart in CONTRACTS}
    exact = {edge.to_column for edge in lineage.edges if edge.masked}
    assert exact == {"measured"}


def test_lineage_sees_every_column_that_dbt_documents(lineage: Lineage, manifest: Mapping[str, Any]) -> None:
    found = {node.name: {column.name for column in node.columns} - {ROWS} for node in lineage.nodes}
    nodes = {**manifest["nodes"], **manifest["sources"]}
    documented = {
        f"{node['schema']}.{node.get('alias') or node['identifier']}": set(node["columns"])
        for node in nodes.values()
        if node["resource_type"] in {"model", "seed", "source"}
    }
    assert found == documented


LEAKS = {
    "leak_vehicle": (
        "select vehicle from {{ ref('stg_verbalisations__verbalisations') }}",
        "column vehicle: made from",
    ),
    "leak_instant": (
        "select max(occurred_at) as last_at from {{ ref('stg_verbalisations__verbalisations') }}",
        "column last_at: made from column occurred_at of conformed.verbalisations (quasi_identifier)",
    ),
    "leak_rows": (
        "select zone_id from {{ ref('stg_verbalisations__verbalisations') }}",
        "its rows: made from the rows of conformed.verbalisations (pseudonym)",
    ),
    "leak_list": (
        (
            "select zone_id, listagg(hex(vehicle), ',') as l from {{ source('verbalisations', 'verbalisations') }} "
            "group by 1"
        ),
        "column l: made from column vehicle of conformed.verbalisations (pseudonym), without passing an approved",
    ),
    "leak_exact": ("select exact from {{ ref('int_fines_by_day_measured') }}", "column exact: made from the rows"),
}
_CONFIG = "{{ config(contract={'enforced': false}, group='fines') }}\n"


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("spoilt") / "dbt_project"
    shutil.copytree(PROJECT, made, ignore=shutil.ignore_patterns("target", "logs"))
    return made


def _refusal(copy: Path, home: Path) -> str:
    with pytest.raises(ProjectError) as refused:
        project.load(Settings(home=home), CITY, copy)
    assert not list((home / "work" / "dbt").glob("[!.]*")), "nothing is kept to build from"
    return str(refused.value)


def test_a_project_with_a_leak_is_refused_with_every_mart_column_and_path(copy: Path, tmp_path: Path) -> None:
    for name, (sql, _) in LEAKS.items():
        (copy / "models" / "marts" / "fines" / f"{name}.sql").write_text(_CONFIG + sql)
    said = _refusal(copy, tmp_path)
    for name, (_, sentence) in LEAKS.items():
        assert f"mart {name}, {sentence}" in said
        (copy / "models" / "marts" / "fines" / f"{name}.sql").unlink()


def test_a_project_that_cannot_be_followed_is_refused(copy: Path, tmp_path: Path) -> None:
    staging = copy / "models" / "staging" / "verbalisations" / "stg_verbalisations__verbalisations.sql"
    staging.write_text(staging.read_text().replace("from source", "from read_parquet('fines.parquet') as source"))
    assert "model staging.stg_verbalisations__verbalisations: it reads from" in _refusal(copy, tmp_path)
