"""How good the published figures are: the utility report that stands beside each release, for steward and DPO."""

from __future__ import annotations

from infra.build_spec import Unit


def key(unit: Unit) -> str:
    """Where the report of an edition of a unit is, in bucket ``receipts``. It holds exact figures."""
    return f"releases/{unit.mart}/utility-{unit.first_day}-e{unit.edition}.json"
