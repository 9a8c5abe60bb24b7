"""The assets that connect the DAGs: a file that arrives, what ingesting it changes, a build, what BI reads."""

from __future__ import annotations

from airflow.sdk import Asset, AssetAlias, AssetWatcher

from calanque.orchestration.arrivals import DropBucket, DropFolder


def dropped(silo: str) -> Asset:
    """What is delivered for a silo, in its drop folder or in bucket ``drop``; an event means that a file is complete.

    The triggerer watches.
    """
    watchers = [
        AssetWatcher(name=f"drop.{silo}", trigger=DropFolder(silo)),
        AssetWatcher(name=f"bucket.{silo}", trigger=DropBucket(silo)),
    ]
    return Asset(name=f"drop.{silo}", uri=f"file://drop/{silo}", group="drop", watchers=watchers)


def conformed(silo: str) -> Asset:
    """The conformed tables of a silo; an event means that rows of it changed."""
    return Asset(name=f"conformed.{silo}", uri=f"s3://lake/conformed/{silo}", group="conformed")


def city_days(silo: str) -> Asset:
    """The event days of a silo, a partition each, as ``2026-03-05``; an event means that rows of that day changed, or
    that the day was looked at. For people to see: it starts nothing, since what is due is read from the registry.
    """
    return Asset(name=f"days.{silo}", uri=f"s3://lake/conformed/{silo}/event_date", group="days")


CANDIDATES = Asset(name="candidates", uri="s3://lake/candidates", group="marts")
MARTS = Asset(name="marts", uri="s3://lake/marts", group="marts")
PUBLISHED = AssetAlias(name="published", group="marts")
"""The marts that a release published, each an asset of its own, :func:`mart`: those only that changed."""


def mart(name: str) -> Asset:
    """One published mart; an event means a new version, and has its ``version`` and ``rows``."""
    return Asset(name=f"marts.{name}", uri=f"s3://lake/marts/{name}", group="marts")
