"""Facts that need no lake: the register, the contracts, the privacy plan, and the dbt project with its lineage."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import polars as pl

from infra.build_spec import CityReference
from infra.city.profile import load_city
from infra.lineage.classification import Classification
from infra.lineage.graph import ROWS, Lineage, Node, join
from infra.settings import Settings
from ingestion.contracts.columns import conformed_classes, derivations
from ingestion.contracts.declared_lineage import of_register
from ingestion.formats.reading import MALFORMED
from ingestion.register import Dataset, Silo, silos
from ingestion.rows import conforming
from privacy.plan import Plan, plan
from publication import contracts
from publication.builds import project
from publication.builds.candidates import Mart
from publication.builds.utility import margin
from stewardship.site.facts import (
    Check,
    Contract,
    DeliveryFormat,
    Descent,
    Facts,
    Field,
    MartFacts,
    Origin,
    Privacy,
    Rule,
    SiloFacts,
    Thread,
)

WARNING = "Warning. "
_PUBLIC = "public"
_READING = {
    MALFORMED: (
        "The record has more fields than the header, or fewer than it needs, or wrong quotes. Export the file again "
        "with a standard CSV writer."
    )
}
_MART_TYPES = {
    "date": "date",
    "varchar": "text",
    "integer": "whole number",
    "bigint": "whole number",
    "double": "decimal number",
}


def gather(settings: Settings) -> Facts:
    """The register and the marts of this city. Takes seconds for a dbt project that was never compiled.

    Raises:
        publication.builds.project.ProjectError: the dbt project cannot be used.
    """
    city = load_city(settings)
    declared = project.load(settings, CityReference.of(city))
    manifest = json.loads((declared.folder / "manifest.json").read_text())
    lineage = join(of_register(), declared.lineage())
    marts = tuple(_mart(mart, plan(), manifest, lineage) for mart in declared.marts.values())
    return Facts(
        city=city.name,
        time_zone=city.time_zone,
        silos=tuple(
            _silo(silo, tuple(mart.name for mart in marts if mart.silo == silo.name)) for silo in silos().values()
        ),
        marts=marts,
        living=None,
    )


# --- silos -----------------------------------------------------------------------------------------------------------


def _silo(silo: Silo, marts: tuple[str, ...]) -> SiloFacts:
    return SiloFacts(
        name=silo.name,
        title=silo.title,
        steward=silo.steward,
        purpose=silo.purpose,
        legal_basis=silo.legal_basis,
        recipients=silo.recipients,
        landing=silo.retention.landing,
        quarantine=silo.retention.quarantine,
        conformed_months=silo.retention.conformed_months,
        privacy_unit=silo.privacy_unit,
        freshness=silo.freshness,
        contracts=tuple(_contract(dataset) for dataset in silo.datasets),
        formats=tuple(_formats(silo)),
        rules=tuple(
            Rule(name, meaning.removeprefix(WARNING), meaning.startswith(WARNING))
            for name, meaning in {**silo.rules, **_READING, **conforming.RULES}.items()
        ),
        marts=marts,
    )


def _contract(dataset: Dataset) -> Contract:
    made_from = derivations(dataset)
    classes = conformed_classes(dataset)
    engine = [Field(name, "text", classes[name]) for name in classes.keys() - made_from.keys()]
    kept = _fields(dataset.conformed, made_from)
    return Contract(
        name=dataset.name,
        version=dataset.version,
        description=dataset.description,
        is_reference=dataset.reference,
        key=dataset.key,
        delivered=_fields(dataset.delivered, {}),
        kept=(*kept, *sorted(engine, key=lambda field: list(classes).index(field.name))),
    )


def _fields(model: Any, made_from: Mapping[str, tuple[str, ...]]) -> tuple[Field, ...]:
    return tuple(
        Field(
            name=name,
            type=_word_for(field.dtype.type),
            classification=Classification(field.metadata["classification"]),
            description=field.description,
            may_be_empty=field.nullable,
            made_from=made_from.get(name, ()),
        )
        for name, field in model.to_schema().columns.items()
    )


def _word_for(dtype: Any) -> str:
    """What a person calls this type of column."""
    if dtype == pl.Datetime:
        return "date and time"
    if dtype == pl.Binary:
        return "code"
    if dtype == pl.Boolean:
        return "yes or no"
    if dtype == pl.Date:
        return "date"
    if dtype == pl.String:
        return "text"
    return "whole number" if dtype.is_integer() else "decimal number"


def _formats(silo: Silo) -> Iterator[DeliveryFormat]:
    for name in dict.fromkeys(accepted.name for accepted in silo.formats):
        layouts = [accepted for accepted in silo.formats if accepted.name == name]
        first = layouts[0]
        yield DeliveryFormat(name, first.title, first.dataset, first.required, first.optional, len(layouts))


# --- marts -----------------------------------------------------------------------------------------------------------


def _mart(mart: Mart, privacy: Plan, manifest: Mapping[str, Any], lineage: Lineage) -> MartFacts:
    described, budget = privacy.marts[mart.name], privacy.budget_of(mart.name)
    nodes = {node.name: node for node in lineage.nodes}
    columns = tuple(
        Field(
            name=column.name,
            type=_MART_TYPES[column.type],
            classification=Classification.PUBLIC,
            description=column.description,
        )
        for column in mart.columns
    )
    return MartFacts(
        name=mart.name,
        silo=mart.silo,
        description=mart.description,
        version=contracts.of(mart.name).version,
        grain=mart.grain,
        columns=columns,
        privacy=Privacy(
            budget=described.budget,
            unit=budget.unit,
            limit=budget.limit,
            spends=described.spends,
            release=described.release,
            bound=described.bound,
            threshold=described.threshold,
            noise=margin(privacy, mart.name),
            settling_days=budget.settling_days,
        ),
        checks=tuple(_checks(mart.name, manifest)),
        descent=descent(lineage, nodes, f"marts.{mart.name}"),
    )


def _checks(mart: str, manifest: Mapping[str, Any]) -> Iterator[Check]:
    """The tests of a mart, constraints on its columns included, in the order of its columns."""
    node = next(node for node in manifest["nodes"].values() if node["name"] == mart and node["schema"] == "marts")
    tests = [other for other in manifest["nodes"].values() if other.get("attached_node") == node["unique_id"]]
    for test in tests:
        if test.get("column_name") is None:
            yield Check(test["test_metadata"]["name"], None)
    for name, column in node["columns"].items():
        for constraint in column["constraints"]:
            yield Check(constraint["type"], name)
        for test in tests:
            if test.get("column_name") == name:
                to = test["test_metadata"]["kwargs"].get("to", "")
                yield Check(test["test_metadata"]["name"], name, to.removeprefix("ref('").removesuffix("')") or None)
    for worked in manifest["unit_tests"].values():
        if worked["model"] == mart:
            yield Check("unit_test", None)


def descent(lineage: Lineage, nodes: Mapping[str, Node], mart: str) -> Descent:
    """Where the columns of ``mart`` come from, with the models between folded into one step.

    A path is direct when each of its edges is, and noisy when one of them is masked. Of several paths between two
    columns a direct one is told before an indirect one; all of them are noisy, or none (the build refuses the rest).
    """
    threads: dict[tuple[str, str, str, str], Thread] = {}
    steps: dict[str, None] = {}
    for column in nodes[mart].columns:
        if column.name == ROWS:
            continue
        for thread in _threads(lineage, nodes, mart, column.name, steps):
            place = (thread.from_table, thread.from_column, thread.to_table, thread.to_column)
            known = threads.get(place)
            if known is None or (thread.direct and not known.direct):
                threads[place] = thread
    used = {(each.from_table, each.from_column) for each in threads.values() if each.from_table != _PUBLIC}
    used |= {(each.to_table, each.to_column) for each in threads.values() if each.to_table != mart}
    columns = [
        Origin(node.name, column.name, column.classification)
        for node in lineage.nodes
        for column in node.columns
        if (node.name, column.name) in used or (node.name == mart and column.name != ROWS)
    ]
    return Descent(columns=tuple(columns), threads=tuple(threads.values()), steps=tuple(steps))


def _threads(
    lineage: Lineage, nodes: Mapping[str, Node], mart: str, column: str, steps: dict[str, None]
) -> Iterator[Thread]:
    """The threads of one column: conformed or public columns to it, and delivered columns to those."""
    edges = lineage.upstream(mart, column)
    # For each column on the way, whether it reaches the mart's directly, and whether through noise: edges come in the
    # order of their targets, so walking them backwards settles each target before its sources.
    reached: dict[tuple[str, str], tuple[bool, bool]] = {(mart, column): (True, False)}
    for edge in reversed(edges):
        direct, noisy = reached[(edge.to_node, edge.to_column)]
        here = (direct and edge.direct, noisy or edge.masked)
        before = reached.get((edge.from_node, edge.from_column), (False, False))
        reached[(edge.from_node, edge.from_column)] = (before[0] or here[0], before[1] or here[1])
        if nodes[edge.to_node].kind == "model" and edge.to_node != mart:
            steps[edge.to_node] = None
    kept = set()
    for (table, name), (direct, noisy) in reached.items():
        node = nodes[table]
        if name == ROWS or node.kind in {"model", "delivered"}:
            continue
        if table.startswith("conformed."):
            kept.add((table, name))
            yield Thread(table, name, mart, column, direct, noisy)
        elif direct:
            yield Thread(_PUBLIC, table.partition(".")[2], mart, column, True, noisy)
    for edge in edges:
        if (edge.to_node, edge.to_column) in kept and edge.from_column != ROWS:
            yield Thread(edge.from_node, edge.from_column, edge.to_node, edge.to_column, edge.direct, False)
