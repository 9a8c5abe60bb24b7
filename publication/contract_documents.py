"""The contracts of the marts as documents, see :mod:`infra.contract_versions`."""

from __future__ import annotations

from infra.classification import Classification
from infra.contract_versions import Column, Document, Side
from publication.contracts import CONTRACTS, Contract


def of_marts() -> list[Document]:
    """The contract of every mart, by name."""
    return [of(contract) for _, contract in sorted(CONTRACTS.items())]


def of(contract: Contract) -> Document:
    """The contract of a mart: columns, grain, and how often a row is published."""
    measure = contract.measure
    hideable = {measure.column, measure.label, *(companion.column for companion in contract.companions)}
    return Document(
        kind="mart",
        name=contract.mart,
        version=contract.version,
        key=contract.grain,
        facts={"period": contract.period, "measure": measure.column},
        table=Side(
            columns={
                name: Column(type=kind, nullable=name in hideable, classification=str(Classification.PUBLIC))
                for name, kind in contract.columns.items()
            }
        ),
    )
