"""The lineage of the way in: what every conformed column is made from, as the register declares it."""

from __future__ import annotations

from collections.abc import Iterator

from infra.lineage.classification import Classification, most_telling
from infra.lineage.graph import ROWS, Column, Edge, Lineage, Node
from ingestion.contracts.columns import classes, conformed_classes, derivations
from ingestion.register import Dataset, silos


def of_register() -> Lineage:
    """From ``delivered.<dataset>`` to ``conformed.<dataset>``; the conformed tables are nodes of the way out."""
    datasets = [(silo.name, dataset) for silo in silos().values() for dataset in silo.datasets]
    nodes = tuple(_delivered(silo, dataset) for silo, dataset in datasets)
    return Lineage(nodes=nodes, edges=tuple(edge for _, dataset in datasets for edge in _edges(dataset)))


def of_dataset(silo: str, dataset: Dataset) -> Lineage:
    """From ``delivered.<dataset>`` to ``conformed.<dataset>``, both of them nodes."""
    columns = (Column(name=name, classification=each) for name, each in conformed_classes(dataset).items())
    rows = Column(name=ROWS, classification=_of_rows(dataset))
    conformed = Node(name=f"conformed.{dataset.name}", kind="source", silo=silo, columns=(*columns, rows))
    return Lineage(nodes=(_delivered(silo, dataset), conformed), edges=tuple(_edges(dataset)))


def _delivered(silo: str, dataset: Dataset) -> Node:
    columns = (Column(name=name, classification=each) for name, each in classes(dataset.delivered).items())
    rows = Column(name=ROWS, classification=_of_rows(dataset))
    return Node(name=f"delivered.{dataset.name}", kind="delivered", silo=silo, columns=(*columns, rows))


def _of_rows(dataset: Dataset) -> Classification:
    """That something was delivered tells as much as the most telling thing that was."""
    return most_telling(set(classes(dataset.delivered).values()) - {Classification.PROVENANCE})


def _edges(dataset: Dataset) -> Iterator[Edge]:
    """A pseudonym is made from its identifier; the day beside it only decides which key."""
    delivered, conformed = classes(dataset.delivered), conformed_classes(dataset)
    made_from = [(name, source) for name, sources in derivations(dataset).items() for source in sources]
    for name, source in (*made_from, (ROWS, ROWS)):
        keyed = name != ROWS and conformed[name] is Classification.PSEUDONYM
        yield Edge(
            from_node=f"delivered.{dataset.name}",
            from_column=source,
            to_node=f"conformed.{dataset.name}",
            to_column=name,
            direct=not keyed or delivered[source] is Classification.IDENTIFIER,
            masked=False,
        )
