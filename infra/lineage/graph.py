"""Lineage as plain data: tables, their columns with classes, and what each column is made from. Serialises as JSON.

:mod:`ingestion.contracts.declared_lineage` gives the way in (delivered to conformed), :mod:`publication.column_lineage`
the way out (conformed to marts); :func:`join` puts them together.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

from infra.lineage.classification import Classification

ROWS = "*"
"""Stands for the presence of a table's rows among its columns."""


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Column(_Model):
    """A column of a node, or the presence of its rows (named :data:`ROWS`).

    ``classification``: what the register says of it; in models, the most telling class of what it is made from without
    noise.
    """

    name: str
    classification: Classification


class Node(_Model):
    """A table or view, ``name`` is ``schema.name``; or, of kind ``delivered``, what a dataset is delivered with.

    ``approved_aggregation``: the macro with which this model masks what it reads; null when it may not.
    ``bounds``: it limits what one vehicle can change.
    """

    name: str
    kind: Literal["delivered", "source", "seed", "model"]
    silo: str | None = None
    is_mart: bool = False
    approved_aggregation: str | None = None
    bounds: bool = False
    columns: tuple[Column, ...]


class Edge(_Model):
    """One column is made from another.

    ``direct``: its value is in there; else it only decides (a filter, a join, a condition). ``masked``: only with
    noise, by an approved aggregation.
    """

    from_node: str
    from_column: str
    to_node: str
    to_column: str
    direct: bool
    masked: bool


class Lineage(_Model):
    """Tables, in an order in which each follows what it reads, and the edges between their columns.

    As JSON: ``lineage.model_dump_json()``.
    """

    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]

    def upstream(self, node: str, column: str) -> tuple[Edge, ...]:
        """Every edge on the way to a column, from the farthest column that it descends from.

        Raises:
            KeyError: there is no such column.
        """
        if not any(each.name == node and any(mine.name == column for mine in each.columns) for each in self.nodes):
            raise KeyError(f"lineage knows no column {column} of {node}")
        into: dict[tuple[str, str], list[Edge]] = {}
        for edge in self.edges:
            into.setdefault((edge.to_node, edge.to_column), []).append(edge)
        wanted, seen = [(node, column)], {(node, column)}
        for place in wanted:
            before = {(edge.from_node, edge.from_column) for edge in into.get(place, [])} - seen
            seen |= before
            wanted += sorted(before)
        order = {each.name: number for number, each in enumerate(self.nodes)}
        found = [edge for place in wanted for edge in into.get(place, [])]
        return tuple(
            sorted(found, key=lambda edge: (order[edge.to_node], edge.to_column, edge.from_node, edge.from_column))
        )


def join(way_in: Lineage, way_out: Lineage) -> Lineage:
    """One lineage of two: the edges of ``way_in`` lead to nodes of ``way_out``."""
    return Lineage(nodes=(*way_in.nodes, *way_out.nodes), edges=(*way_in.edges, *way_out.edges))
