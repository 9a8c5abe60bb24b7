"""The clock that schedules go by: the city's, so that six in the morning stays six in the morning all year."""

from __future__ import annotations

from airflow.sdk import CronTriggerTimetable

from infra.city import time_zone
from infra.settings import Settings

TIME_ZONE = time_zone(Settings())


def at(cron: str) -> CronTriggerTimetable:
    """When the city's clocks show what five fields of cron say. After an outage, the latest time missed is made up."""
    return CronTriggerTimetable(cron, timezone=TIME_ZONE)
