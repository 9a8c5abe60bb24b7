"""Columns followed through tables that nobody can see."""

from __future__ import annotations

import pytest

from infra.lineage.classification import Classification
from infra.lineage.graph import ROWS, Column, Edge, Lineage, Node
from infra.openlineage.columns import Source, copied, sources


def node(name: str, **classes: Classification) -> Node:
    return Node(
        name=name, kind="model", columns=tuple(Column(name=key, classification=each) for key, each in classes.items())
    )


def edge(start: str, end: str, *, direct: bool = True, masked: bool = False) -> Edge:
    (one, first), (two, second) = start.split("."), end.split(".")
    return Edge(from_node=one, from_column=first, to_node=two, to_column=second, direct=direct, masked=masked)


C = Classification


def test_a_way_is_as_direct_as_its_least_direct_step_and_masks_when_one_does() -> None:
    lineage = Lineage(
        nodes=(node("a", x=C.SENSITIVE, y=C.PUBLIC), node("b", x=C.SENSITIVE), node("c", n=C.PUBLIC)),
        edges=(edge("a.x", "b.x", direct=False), edge("b.x", "c.n", masked=True), edge("a.y", "c.n")),
    )
    assert sources(lineage, "c", {"a"}) == {
        "n": (
            Source("a", "x", direct=False, masked=True, pseudonym=False),
            Source("a", "y", direct=True, masked=False, pseudonym=False),
        )
    }
    assert [source.node for source in sources(lineage, "c", {"b", "a"})["n"]] == ["a", "b"]


@pytest.mark.parametrize("order", [1, -1])
def test_of_two_ways_the_one_that_tells_most_counts(order: int) -> None:
    ways = [edge("a.x", "b.x", direct=False), edge("a.x", "b.y")]
    lineage = Lineage(
        nodes=(node("a", x=C.SENSITIVE), node("b", x=C.SENSITIVE, y=C.SENSITIVE), node("c", n=C.SENSITIVE)),
        edges=(*ways[::order], edge("b.x", "c.n"), edge("b.y", "c.n")),
    )
    assert sources(lineage, "c", {"a"})["n"] == (Source("a", "x", direct=True, masked=False, pseudonym=False),)


def test_an_identifier_that_becomes_a_pseudonym_is_masked() -> None:
    lineage = Lineage(
        nodes=(node("a", plate=C.IDENTIFIER, day=C.QUASI_IDENTIFIER), node("b", vehicle=C.PSEUDONYM)),
        edges=(edge("a.plate", "b.vehicle"), edge("a.day", "b.vehicle", direct=False)),
    )
    by_column = {source.column: source for source in sources(lineage, "b", {"a"})["vehicle"]}
    assert by_column["plate"].masked
    assert by_column["plate"].description == "keyed pseudonym"
    assert not by_column["day"].masked
    assert by_column["day"].subtype == "CONDITIONAL"


def test_circles_end_and_what_comes_from_nowhere_has_no_sources() -> None:
    lineage = Lineage(
        nodes=(node("a", x=C.PUBLIC), node("b", x=C.PUBLIC, y=C.PUBLIC), node("c", n=C.PUBLIC)),
        edges=(edge("b.x", "b.y"), edge("b.y", "b.x"), edge("b.x", "c.n")),
    )
    assert sources(lineage, "c", {"a"}) == {"n": ()}


def test_rows_come_from_rows() -> None:
    lineage = Lineage(
        nodes=(node("a", **{ROWS: C.IDENTIFIER}), node("b", **{ROWS: C.IDENTIFIER})),
        edges=(edge(f"a.{ROWS}", f"b.{ROWS}"),),
    )
    assert [source.column for source in sources(lineage, "b", {"a"})[ROWS]] == [ROWS]


def test_a_copy_is_the_same() -> None:
    assert {source.subtype for found in copied("a", ["x", "y"]).values() for source in found} == {"IDENTITY"}
