"""The lineage of a project as plain data: tables, columns, and what each column is made from. Serialises as JSON."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

from infra.classification import Classification

ROWS = "*"
"""Stands for the presence of a table's rows among its columns."""


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Column(_Model):
    """A column of a node, or the presence of its rows (named :data:`ROWS`).

    ``classification``: what the register says of it; null in models, where it follows from what they read.
    ``public_fact``: why it is public although it is made from counts of people; null when it is not declared so.
    """

    name: str
    classification: Classification | None = None
    public_fact: str | None = None


class Node(_Model):
    """A table or view of the project. ``name`` is ``schema.name``.

    ``approved_aggregation``: the macro with which this model masks what it reads; null when it may not.
    ``bounds``: it limits what one vehicle can change.
    """

    name: str
    kind: Literal["source", "seed", "model"]
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
    """All tables of the project, in an order in which each follows what it reads, and the edges between columns.

    As JSON: ``lineage.model_dump_json()``.
    """

    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]
