"""The clock that schedules go by: the city's, so that six in the morning stays six in the morning all year."""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import CronTriggerTimetable

from infra.city.profiles import time_zone
from infra.settings import Settings

TIME_ZONE = time_zone(Settings())


NOT_BEFORE = timedelta(0)
"""How far back a DAG that never ran looks for a time it should have run at: a new lake has nothing to make up for."""


def at(cron: str) -> CronTriggerTimetable:
    """When the city's clocks show what five fields of cron say. After an outage, the latest time missed is made up."""
    return CronTriggerTimetable(cron, timezone=TIME_ZONE, run_immediately=NOT_BEFORE)
