"""From files to marts: only whole declared periods are published, whatever rows there are."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta

import pytest

from calanque.demo.generate import senders
from infra import database, registry
from infra.calendar import clock
from infra.calendar.days import DayRange
from infra.city.profile import load_city
from infra.settings import Settings
from ingestion import pipeline
from ingestion.delivery import landing
from publication import report
from publication.builds import building
from publication.releases import release

pytestmark = [pytest.mark.live, pytest.mark.slow]

BY_MONTH = ("tows_by_month", "tows_by_month_and_reason")


def deliver(settings: Settings, name: str, days: Sequence[date], covers: Sequence[str] = ()) -> None:
    """Deliver the tows of some days and ingest them."""
    sender = next(
        each for each in senders(load_city(settings), seed=3, since=days[0], scale=0.05) if each.silo == "tows"
    )
    tables = [sender.day(day).text().splitlines() for day in days]
    path = settings.work_dir / "deliveries" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([tables[0][0], *(line for table in tables for line in table[1:])]) + "\n")
    landing.drop(settings, "tows", path, covers=covers)
    landing.sweep(settings, "tows")
    (receipt,) = pipeline.ingest(settings, "tows")
    assert receipt.status == "committed"


def month(number: int) -> DayRange:
    first = date(2026, number, 1)
    return DayRange(first_day=first, last_day=clock.add_months(first, 1) - timedelta(days=1))


def published(settings: Settings) -> dict[str, tuple[DayRange, ...]]:
    """What is published, once what is due was built and released, by mart."""
    built = building.build(settings)
    if built is not None:
        assert built.failed == ()
        release.release(settings, built.build_id)
    found: dict[str, tuple[DayRange, ...]] = {}
    with database.connect(settings, "steward", "lake") as connection:
        for unit in registry.units(connection):
            assert unit.late_rows == 0, unit
            days = DayRange(first_day=unit.first_day, last_day=unit.last_day)
            found[unit.mart] = (*found.get(unit.mart, ()), days)
    return found


def test_a_gap_stays_unpublished_and_what_fills_it_is_published_and_not_late(clean_lake: Settings) -> None:
    deliver(clean_lake, "fourriere_2026-01.csv", month(1).days)
    deliver(clean_lake, "fourriere_2026-06.csv", month(6).days)
    assert published(clean_lake) == dict.fromkeys(BY_MONTH, (month(1), month(6)))
    between = [day for number in (2, 3, 4, 5) for day in month(number).days]
    deliver(clean_lake, "february_to_may.csv", between)
    assert published(clean_lake) == dict.fromkeys(BY_MONTH, (month(1), month(6)))  # nobody declared these days
    deliver_again(clean_lake, "february_to_may.csv", f"{between[0]}/{between[-1]}")
    months = tuple(month(number) for number in range(1, 7))
    quarters = (
        DayRange(first_day=date(2026, 1, 1), last_day=date(2026, 3, 31)),
        DayRange(first_day=date(2026, 4, 1), last_day=date(2026, 6, 30)),
    )
    now = published(clean_lake)
    assert {mart: days for mart, days in now.items() if mart in BY_MONTH} == dict.fromkeys(BY_MONTH, months)
    assert {days for mart, days in now.items() if mart not in BY_MONTH} == {quarters}
    assert report.waiting(clean_lake) == []


def deliver_again(settings: Settings, name: str, covers: str) -> None:
    """Say of a file that was delivered which days it is complete for."""
    landing.drop(settings, "tows", settings.work_dir / "deliveries" / name, covers=[covers])
    (landed,) = landing.sweep(settings, "tows").landed
    assert landed.declares


def test_figures_say_of_how_many_days_they_are(clean_lake: Settings) -> None:
    """Of a period that a steward lets go, and of one that is whole; rows of undeclared days are in neither."""
    days = [*month(1).days, *month(2).days]
    deliver(clean_lake, "tows.csv", days, covers=["2026-01-01/2026-02-25"])
    with database.connect(clean_lake, "publisher", "lake") as connection:
        row = registry.GoAheadRow(
            silo="tows",
            missing=month(2).days[-3:],
            first_day=month(2).first_day,
            last_day=month(2).last_day,
            delivery_id=None,
            said_by="tests",
            said_at=clock.now(clean_lake),
            reason="a strike",
        )
        registry.add_go_ahead(connection, row)
    assert published(clean_lake) == dict.fromkeys(BY_MONTH, (month(1), month(2)))
    with database.connect(clean_lake, "analyst", "bi") as analyst:
        rows = analyst.execute(
            "select period_start, period_end, days_covered, days_in_period from tows_by_month order by 1"
        ).fetchall()
        info = analyst.execute(
            "select days_covered, days_in_period from release_info where mart = 'tows_by_month'"
        ).fetchone()
    assert rows == [
        (date(2026, 1, 1), date(2026, 1, 31), 31, 31),
        (date(2026, 2, 1), date(2026, 2, 28), 25, 28),
    ]
    assert info == (56, 59)
