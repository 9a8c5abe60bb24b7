"""The real register and marts with a made-up history: every state there is, and figures that can be searched for."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

from infra.calendar import clock
from infra.calendar.days import ranges
from stewardship.site.facts import (
    Day,
    Delivery,
    Facts,
    Living,
    MartState,
    Release,
    RunDay,
    Runs,
    SiloState,
    Warned,
    Work,
)

NOW = datetime(2026, 4, 12, 8, 0, tzinfo=UTC)
EXACT = (918_273, 918_111, 70_162, 60_919, 80_203, 90_817)
"""Counts of rows that only stewards may see: in, accepted, put aside, under one rule, warned of, late."""
ROWS, ACCEPTED, ASIDE, BY_RULE, WARNED, LATE = EXACT
HELD = "test hidden_below failed for 48 rows"
DAGS = (
    "build_marts",
    "change_contract",
    "city_day",
    "correct_release",
    "declare_cover",
    "land_tows",
    "publish_as_it_is",
    "publish_site",
    "release_marts",
    "retention",
    "verify_marts",
    "watch",
    "watch_daily",
)
"""What Airflow runs; of the landing DAGs, one."""
MARKUP = "<b>bold</b> & `code`"
"""A text that would be taken for markup if it were not escaped."""


def sample(facts: Facts) -> Facts:
    """``facts`` with a history that shows everything pages can show."""
    states = ("fresh", "late", "silent", "fresh")
    silos = {silo.name: _silo(state) for silo, state in zip(facts.silos, states, strict=True)}
    marts = {
        mart.name: MartState(
            releases=() if number == 0 else tuple(_release(version) for version in (3, 2, 1)),
            is_held=number == 1,
            held_because=HELD if number == 1 else None,
            late_rows=LATE,
        )
        for number, mart in enumerate(facts.marts)
    }
    warned = Warned("freshness", MARKUP, facts.silos[1].name, facts.silos[1].steward, NOW - timedelta(hours=5))
    return replace(facts, living=Living(as_of=NOW, silos=silos, marts=marts, runs=_runs(), warned=(warned,)))


def _runs() -> Runs:
    days = tuple(RunDay(NOW.date() - timedelta(days=back), 61 + back, back % 2) for back in (9, 2, 0))
    return Runs(days, tuple(Work(dag, 52, 1, 6.25, 361.0, NOW, number != 1) for number, dag in enumerate(DAGS)))


def _silo(state: str) -> SiloState:
    if state == "silent":
        return SiloState("silent", None, None, (), 0, (), (), {}, {})
    statuses = ("committed", "refused", "landed", "parked")
    return SiloState(
        state=state,  # type: ignore[arg-type]
        newest=NOW - timedelta(days=1),
        overdue=date(2026, 4, 10) if state == "late" else None,
        covered=ranges(day for day in clock.days(date(2026, 1, 1), date(2026, 4, 11)) if day != date(2026, 2, 3)),
        waiting=2,
        recent=tuple(_delivery(number, status) for number, status in enumerate(statuses)),
        days=tuple(Day(NOW.date() - timedelta(days=back), 4, 1, ROWS, ACCEPTED, ASIDE) for back in (40, 7, 3, 1)),
        by_rule={"date_unreadable": BY_RULE},
        warnings={"time_unknown": WARNED},
    )


def _delivery(number: int, status: str) -> Delivery:
    return Delivery(
        delivery_id=f"{number:064x}",
        landed_at=NOW - timedelta(hours=number + 1),
        settled_at=None,
        format=None if status == "refused" else "pve",
        status=status,
        corrects="ab" * 32 if number == 0 else None,
        rows_in=ROWS,
        accepted=ACCEPTED,
        quarantined=ASIDE,
        by_rule={"date_unreadable": BY_RULE} if status == "committed" else {},
        warnings={"time_unknown": WARNED},
    )


def _release(version: int) -> Release:
    first = date(2026, version, 1)
    return Release(version, NOW - timedelta(days=40 - version), 3_441, first, first + timedelta(days=27), version, 0)
