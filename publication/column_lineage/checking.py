"""The rule: a mart's column that descends from anything personal has passed an approved aggregation.

Followed are values and what decides on them, and the rows of the mart: a mart that has a row because a conformed row
exists breaks the rule, whatever it shows of it. What may pass:

* what only public columns decide: grids, names, calendars;
* a count, bounded and with noise: by a model that declares ``approved_aggregation``. Its direct ingredients must be
  rows or counts, never a person's own values, which noise would not hide; and where there are vehicles, what one of
  them can change must have been bounded before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from infra.lineage.classification import COUNTS, Classification
from infra.lineage.graph import ROWS, Edge, Lineage, Node

Why = Literal["bare", "value", "unbounded"]


@dataclass(frozen=True)
class Leak:
    """A column of a mart that descends from a personal one without passing an approved aggregation.

    ``column`` is :data:`ROWS` for the mart's rows themselves, ``from_column`` for the presence of the source's rows.
    ``path`` leads from the source's column to the mart's, as ``table.column``. ``why``: no noise was added
    (``bare``), noise was added to a value that is no count (``value``), or to a count that nothing bounds
    (``unbounded``).
    """

    mart: str
    column: str
    source: str
    from_column: str
    classification: Classification
    direct: bool
    why: Why
    path: tuple[str, ...]

    def sentence(self) -> str:
        """What leaks, whence and how, for a person."""
        what = "its rows" if self.column == ROWS else f"column {self.column}"
        how = "made from" if self.direct else "decided by"
        of = "the rows" if self.from_column == ROWS else f"column {self.from_column}"
        lacks = {
            "bare": "without passing an approved aggregation",
            "value": "with noise added to the value itself, which only hides in a count",
            "unbounded": "in a count that does not bound what one vehicle can change",
        }[self.why]
        return (
            f"mart {self.mart}, {what}: {how} {of} of {self.source} ({self.classification}), {lacks}; the path is "
            f"{' -> '.join(self.path)}."
        )


@dataclass(frozen=True)
class _Trace:
    """How one source column reaches a place; ``bounded`` when every way does so through a bounding model."""

    path: tuple[str, ...]
    direct: bool = True
    bounded: bool = False
    why: Why = "bare"


_Place = tuple[str, str]
_Traces = dict[_Place, _Trace]
_WORST_FIRST: tuple[Why, ...] = ("bare", "value", "unbounded")


def check(lineage: Lineage) -> list[Leak]:
    """Every way in which a mart breaks the rule; empty when none does.

    In the order of marts and of columns; of each column, values before what only decides, then the most telling class.
    """
    classes = {
        (node.name, column.name): column.classification
        for node in lineage.nodes
        if node.kind != "model"
        for column in node.columns
    }
    traces = _traces(lineage, classes)
    leaks = [
        Leak(
            mart=node.name.partition(".")[2],
            column=column.name,
            source=source,
            from_column=from_column,
            classification=classes[source, from_column],
            direct=trace.direct,
            why=trace.why,
            path=trace.path,
        )
        for node in lineage.nodes
        if node.is_mart
        for column in node.columns
        for (source, from_column), trace in traces[node.name, column.name].items()
    ]
    telling = list(Classification)
    return sorted(
        leaks,
        key=lambda leak: (leak.mart, leak.column, not leak.direct, telling.index(leak.classification), leak.path),
    )


def _traces(lineage: Lineage, classes: Mapping[_Place, Classification]) -> Mapping[_Place, _Traces]:
    """What of the sources that is not public reaches each column, and how."""
    with_vehicles = {
        node for (node, _), each in classes.items() if each in {Classification.IDENTIFIER, Classification.PSEUDONYM}
    }
    arriving: dict[_Place, list[Edge]] = {}
    for edge in lineage.edges:
        arriving.setdefault((edge.to_node, edge.to_column), []).append(edge)
    found: dict[_Place, _Traces] = {}
    for node in lineage.nodes:
        for column in node.columns:
            place = (node.name, column.name)
            step = _step(node, column.name)
            if place in classes:
                found[place] = {} if column.classification.is_public else {place: _Trace((step,))}
                continue
            ways: dict[_Place, list[_Trace]] = {}
            for edge in arriving.get(place, []):
                for origin, trace in found[edge.from_node, edge.from_column].items():
                    direct, bounded = trace.direct and edge.direct, trace.bounded or node.bounds
                    why = trace.why
                    if edge.masked:
                        if direct and origin[1] != ROWS and classes[origin] not in COUNTS:
                            why = "value"
                        elif origin[0] in with_vehicles and not bounded:
                            why = "unbounded"
                        else:
                            continue
                    ways.setdefault(origin, []).append(_Trace((*trace.path, step), direct, bounded, why))
            found[place] = {origin: _worst(traces) for origin, traces in ways.items()}
    return found


def _worst(traces: Sequence[_Trace]) -> _Trace:
    """All ways from one origin as one: what any of them tells, by the shortest of the most telling."""
    told = min(traces, key=lambda trace: (_WORST_FIRST.index(trace.why), not trace.direct, len(trace.path), trace.path))
    direct, bounded = any(trace.direct for trace in traces), all(trace.bounded for trace in traces)
    return replace(told, direct=direct, bounded=bounded)


def _step(node: Node, column: str) -> str:
    table = node.name if node.kind == "source" else node.name.partition(".")[2]
    return f"{table}, its rows" if column == ROWS else f"{table}.{column}"
