"""Column lineage between datasets that others can see: through what lies between, which nobody can."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from infra.lineage.classification import Classification
from infra.lineage.graph import Edge, Lineage


class Source(NamedTuple):
    """A column that another is made from.

    ``direct``: its value is in there; else it only decides. ``masked``: what arrives no longer shows it, either because
    it went through an approved aggregation, which adds noise, or because it became a pseudonym under a key. ``same``:
    it arrives as it is.
    """

    node: str
    column: str
    direct: bool
    masked: bool
    pseudonym: bool
    same: bool = False

    @property
    def subtype(self) -> str:
        if self.same:
            return "IDENTITY"
        if not self.direct:
            return "CONDITIONAL"
        return "AGGREGATION" if self.masked and not self.pseudonym else "TRANSFORMATION"

    @property
    def description(self) -> str:
        if self.pseudonym:
            return "keyed pseudonym"
        return "with noise, by an approved aggregation" if self.masked else ""


def copied(node: str, names: Collection[str]) -> dict[str, tuple[Source, ...]]:
    """What the columns of a copy of ``node`` are made from."""
    return {name: (Source(node, name, direct=True, masked=False, pseudonym=False, same=True),) for name in names}


def sources(lineage: Lineage, node: str, visible: Collection[str]) -> dict[str, tuple[Source, ...]]:
    """By column of ``node`` (:data:`infra.lineage.graph.ROWS` for its rows), the columns of visible nodes it is made
    from.

    What lies between is followed: a way is direct when all its steps are, and masks when one of them does. Of several
    ways, the one that tells most counts. Nodes in ``visible`` are not looked behind.
    """
    into: dict[tuple[str, str], list[Edge]] = {}
    for edge in lineage.edges:
        into.setdefault((edge.to_node, edge.to_column), []).append(edge)
    classes = {(each.name, column.name): column.classification for each in lineage.nodes for column in each.columns}
    columns = next(each.columns for each in lineage.nodes if each.name == node)
    return {
        column.name: tuple(sorted(_found(into, classes, (node, column.name), visible)))
        for column in columns
        if (node, column.name) in into
    }


def _found(
    into: dict[tuple[str, str], list[Edge]],
    classes: dict[tuple[str, str], Classification],
    start: tuple[str, str],
    visible: Collection[str],
) -> list[Source]:
    waiting = [(start, True, False, False)]
    seen = set(waiting)
    best: dict[tuple[str, str], tuple[bool, bool, bool]] = {}
    while waiting:
        place, direct, masked, pseudonym = waiting.pop()
        for edge in into.get(place, []):
            before = (edge.from_node, edge.from_column)
            becomes = (
                classes.get(before) is Classification.IDENTIFIER and classes.get(place) is Classification.PSEUDONYM
            )
            way = (direct and edge.direct, masked or edge.masked or becomes, pseudonym or becomes)
            if edge.from_node in visible:
                known = best.get(before)
                # A value that arrives tells more than one that decides; bare tells more than masked.
                if known is None or (way[0], not way[1]) > (known[0], not known[1]):
                    best[before] = way
            elif (before, *way) not in seen:
                seen.add((before, *way))
                waiting.append((before, *way))
    return [Source(name, column, *way) for (name, column), way in best.items()]
