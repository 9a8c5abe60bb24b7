"""The lineage of a dbt project: what every column of every model is made from, back to the sources."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from graphlib import TopologicalSorter
from typing import Any

from infra.lineage.classification import Classification, most_telling
from infra.lineage.graph import ROWS, Column, Edge, Lineage, Node
from publication.column_lineage import query
from publication.column_lineage.query import Known, Relation, UnreadableQueryError

APPROVED: frozenset[str] = frozenset({"measure_counts"})
"""The macros that aggregate and add noise; a model that may mask with one declares it, see ``Node``."""

BOUNDING = "bound_contributions"
"""The macro that bounds what one vehicle can change."""

_UNKNOWN = Classification.IDENTIFIER  # until it is known to tell less


class LineageError(ValueError):
    """The lineage of the project cannot be followed; each of ``problems`` is a sentence that names what and where."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        super().__init__(" ".join(self.problems))


def of(manifest: Mapping[str, Any]) -> Lineage:
    """The lineage of a compiled dbt project, from dbt's ``manifest.json``.

    Raises:
        LineageError: a column of a source has no class, or a model's SQL cannot be followed.
    """
    problems: list[str] = []
    nodes: list[Node] = []
    edges: list[Edge] = []
    known: dict[str, Known] = {}
    classes: dict[tuple[str, str], Classification] = {}
    sources = [_source(source, problems) for _, source in sorted(manifest["sources"].items())]
    seeds = [_seed(seed) for _, seed in sorted(_of_type(manifest, "seed"))]
    for node in (*sources, *seeds):
        nodes.append(node)
        classes |= _classes(node)
        known[node.name] = Known(tuple(column.name for column in node.columns if column.name != ROWS))
    for model in _models_in_order(manifest):
        name = _name(model)
        try:
            relation = query.read(_sql(model), known)
        except UnreadableQueryError as error:
            problems.append(f"model {name}: {error}.")
            known[name] = Known(tuple(model["columns"]))  # what reads it can still be looked at
            continue
        known[name] = Known(tuple(relation.columns), relation.keys)
        node = _model(model, tuple(relation.columns), problems)
        into = list(_edges(node, relation))
        nodes.append(_classified(node, into, classes))
        edges += into
        classes |= _classes(nodes[-1])
    problems += [
        f"{resource} {key} is not followed: only models, seeds and sources are."
        for resource in ("snapshot", "operation")
        for key, _ in _of_type(manifest, resource)
    ]
    if problems:
        raise LineageError(problems)
    return Lineage(nodes=tuple(nodes), edges=tuple(edges))


def _of_type(manifest: Mapping[str, Any], resource: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    return ((key, node) for key, node in manifest["nodes"].items() if node["resource_type"] == resource)


def _models_in_order(manifest: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Every model after those it reads, in the same order whatever that of the manifest."""
    models = dict(_of_type(manifest, "model"))
    parents = {key: sorted(set(models[key]["depends_on"]["nodes"]) & set(models)) for key in sorted(models)}
    return [models[key] for key in TopologicalSorter(parents).static_order()]


def _name(node: Mapping[str, Any]) -> str:
    return f"{node['schema']}.{node.get('alias') or node['identifier']}".lower()


def _meta(node: Mapping[str, Any]) -> Mapping[str, Any]:
    return {**(node.get("meta") or {}), **((node.get("config") or {}).get("meta") or {})}


def _source(source: Mapping[str, Any], problems: list[str]) -> Node:
    """A source, each column with the class it declares, or else that of the whole table."""
    name, table = _name(source), _meta(source)
    columns: list[Column] = []
    for column in source["columns"].values():
        declared = _meta(column).get("classification", table.get("classification"))
        if declared not in set(Classification):
            problems.append(
                f"source {name}, column {column['name']}: it has no class. Give it the register's, as `meta: "
                f"{{classification: ...}}`; one of {', '.join(Classification)}."
            )
            continue
        columns.append(Column(name=column["name"].lower(), classification=Classification(declared)))
    presence = Column(name=ROWS, classification=_of_rows(columns))
    return Node(name=name, kind="source", silo=table.get("silo"), columns=(*columns, presence))


def _of_rows(columns: Iterable[Column]) -> Classification:
    """That there is a row tells as much as its most telling column; where it came from tells nothing more."""
    return most_telling({column.classification for column in columns} - {Classification.PROVENANCE})


def _seed(seed: Mapping[str, Any]) -> Node:
    """A seed: part of the project, so public."""
    names = (*(name.lower() for name in seed["columns"]), ROWS)
    columns = tuple(Column(name=name, classification=Classification.PUBLIC) for name in names)
    return Node(name=_name(seed), kind="seed", columns=columns)


def _sql(model: Mapping[str, Any]) -> str:
    """The SQL of a model, when that is all there is to it."""
    if model["language"] != "sql" or not model.get("compiled_code"):
        raise UnreadableQueryError("it has no compiled SQL")
    config = model["config"]
    if config.get("pre-hook") or config.get("post-hook"):
        raise UnreadableQueryError("its hooks are not followed; put what they do into models")
    return str(model["compiled_code"])


def _model(model: Mapping[str, Any], columns: tuple[str, ...], problems: list[str]) -> Node:
    name, meta = _name(model), _meta(model)
    macros = {macro.rpartition(".")[2] for macro in model["depends_on"]["macros"]}
    approved = meta.get("approved_aggregation")
    if approved is not None and approved not in APPROVED & macros:
        problems.append(
            f"model {name}: it declares the approved aggregation {approved!r}, which "
            + ("it does not use." if approved in APPROVED else f"is none; approved are: {', '.join(sorted(APPROVED))}.")
        )
        approved = None
    return Node(
        name=name,
        kind="model",
        is_mart=model["schema"] == "marts",
        approved_aggregation=approved,
        bounds=BOUNDING in macros,
        columns=tuple(Column(name=column, classification=_UNKNOWN) for column in (*columns, ROWS)),
    )


def _edges(node: Node, relation: Relation) -> Iterator[Edge]:
    for column, reads in {**relation.columns, ROWS: relation.rows}.items():
        for each in sorted(reads):
            yield Edge(
                from_node=each.relation,
                from_column=each.column,
                to_node=node.name,
                to_column=column,
                direct=each.direct,
                masked=each.masked and node.approved_aggregation is not None,
            )


def _classes(node: Node) -> dict[tuple[str, str], Classification]:
    return {(node.name, column.name): column.classification for column in node.columns}


def _classified(node: Node, edges: Iterable[Edge], classes: Mapping[tuple[str, str], Classification]) -> Node:
    """A model whose columns tell as much as the most telling of what they are made from without noise."""
    told: dict[str, set[Classification]] = {}
    for edge in edges:
        if not edge.masked:
            told.setdefault(edge.to_column, set()).add(classes.get((edge.from_node, edge.from_column), _UNKNOWN))
    columns = tuple(
        column.model_copy(update={"classification": most_telling(told.get(column.name, set()))})
        for column in node.columns
    )
    return node.model_copy(update={"columns": columns})
