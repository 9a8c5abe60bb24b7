"""The assets that connect the DAGs: what landing a silo produces, what a build produces, what BI reads."""

from __future__ import annotations

from airflow.sdk import Asset


def conformed(silo: str) -> Asset:
    """The conformed tables of a silo; an event means that rows of it changed."""
    return Asset(name=f"conformed.{silo}", uri=f"s3://lake/conformed/{silo}", group="conformed")


CANDIDATES = Asset(name="candidates", uri="s3://lake/candidates", group="marts")
MARTS = Asset(name="marts", uri="s3://lake/marts", group="marts")
