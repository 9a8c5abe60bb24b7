"""The good records of the silos' demos, by layout."""

from __future__ import annotations

from collections.abc import Mapping

from ingestion.formats.format import Format
from ingestion.register import Silo, silos
from ingestion.synthetic.faults import Example

GOOD: Mapping[str, Example] = {
    layout: example for silo in silos().values() for layout, example in silo.demo().examples.items()
}
PVE, FOURRIERE, COUNTER, PRESENCE, MITMA_SPANISH, MITMA_ENGLISH = (
    GOOD[layout].record for layout in ("pve", "fourriere", "counter", "presence", "mitma", "mitma (English)")
)


def layout_of(silo: Silo, layout: str) -> Format:
    """The format that a good record is in."""
    name, record = layout.partition(" ")[0], GOOD[layout].record
    return next(found for found in silo.formats if found.name == name and set(found.required) <= set(record))
