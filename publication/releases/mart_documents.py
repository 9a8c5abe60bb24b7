"""The contracts of the marts as documents, see :mod:`infra.contract_versions`."""

from __future__ import annotations

from infra.contract_versions import Column, Document, Side
from infra.lineage.classification import Classification
from publication.contracts import CONTRACTS, Contract, Reference

NOWHERE = Reference(units=(), covered=frozenset(), zones={}, areas={}, places={})
"""A city without a place: what a dimension may hold there, it may hold in every city."""


def of_marts() -> list[Document]:
    """The contract of every mart, by name."""
    return [of(contract) for _, contract in sorted(CONTRACTS.items())]


def of(contract: Contract) -> Document:
    """The contract of a mart: columns, grain, and what figures mean: their period, from which count on they are shown,
    and the words of each dimension whose words are not the city's.
    """
    measure = contract.measure
    words = {each.column: each.values(NOWHERE) for each in contract.dimensions}
    hideable = {measure.column, measure.label, *(companion.column for companion in contract.companions)}
    return Document(
        kind="mart",
        name=contract.mart,
        version=contract.version,
        key=contract.grain,
        facts={
            "period": contract.period,
            "measure": measure.column,
            "shown from": str(measure.threshold),
            **{f"values of {column}": ", ".join(map(str, values)) for column, values in words.items() if values},
        },
        table=Side(
            columns={
                name: Column(type=kind, nullable=name in hideable, classification=str(Classification.PUBLIC))
                for name, kind in contract.columns.items()
            }
        ),
    )
