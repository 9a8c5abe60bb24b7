"""Days of a silo done again: what waits, what is missing, and what must be left alone."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from unittest import mock

import essai
import polars as pl
import pytest
from pyiceberg.expressions import EqualTo

from infra import database, registry
from infra.catalog import open_catalog
from infra.settings import Settings
from ingestion import backfill, pipeline
from ingestion.conformed import tables
from ingestion.delivery import landing
from ingestion.register import Silo

pytestmark = pytest.mark.live

FIRST, SECOND, THIRD = (essai.day(number) for number in range(3))


def new_silo() -> Silo:
    return essai.make(f"essai_{uuid.uuid4().hex[:12]}")


@contextmanager
def registered(silo: Silo) -> Iterator[None]:
    with essai.registered(silo), mock.patch.object(backfill, "silos", return_value={silo.name: silo}):
        yield


def records(*rows: tuple[str, date, int]) -> bytes:
    return essai.csv(essai.RECORDS, [(record, day, value, f"AB-{value:03}-CD") for record, day, value in rows])


def deliver(lake: Settings, silo: Silo, name: str, content: bytes, corrects: str | None = None) -> str:
    essai.deliver(lake, silo.name, name, content, corrects=corrects)
    return hashlib.sha256(content).hexdigest()


def ingest(lake: Settings, silo: Silo) -> None:
    landing.sweep(lake, silo.name)
    pipeline.ingest(lake, silo.name)


def contents(lake: Settings, silo: Silo) -> pl.DataFrame:
    rows = essai.table(lake, silo.datasets[0])
    return rows.select(sorted(rows.columns)).sort(sorted(rows.columns))


def lose(lake: Settings, silo: Silo, day: date) -> None:
    """Take a day's rows out of the table, as nobody should."""
    tables.ensure(open_catalog(lake, "pipeline"), silo.datasets[0]).delete(EqualTo("event_date", day.isoformat()))


def set_back(lake: Settings, silo: Silo) -> None:
    """Have the table be what it was before its newest snapshot, as a restored copy would be."""
    table = tables.ensure(open_catalog(lake, "pipeline"), silo.datasets[0])
    with table.manage_snapshots() as manage:
        manage.rollback_to_snapshot(table.snapshots()[-2].snapshot_id)


def forget_bytes(lake: Settings, silo: Silo, delivery_id: str) -> None:
    """Have the bytes of a delivery be gone from landing, as they are after a week."""
    with database.connect(lake, "pipeline", "lake") as connection:
        known = registry.delivery(connection, silo.name, delivery_id)
        assert known
        connection.execute(
            "update registry.delivery set object_key = %s where delivery_id = %s",
            [known.object_key.replace(delivery_id, "0" * 64), delivery_id],
        )


def test_what_waits_is_ingested_and_a_complete_day_is_left_alone(lake: Settings) -> None:
    silo = new_silo()
    with registered(silo):
        sent = deliver(lake, silo, "a.csv", records(("r1", FIRST, 1), ("r2", SECOND, 2)))
        done = backfill.days(lake, silo.name, FIRST, SECOND)
        assert (done.ingested, done.again) == ((sent,), ())
        before = contents(lake, silo)
        assert before.height == 2
        again = backfill.days(lake, silo.name, FIRST, THIRD)
        assert (again.ingested, again.again, again.gone) == ((), (), ())
        assert contents(lake, silo).equals(before)


def test_lost_rows_come_back_as_they_were_and_only_those_of_the_days_asked_for(lake: Settings) -> None:
    silo = new_silo()
    with registered(silo):
        one = deliver(lake, silo, "1.csv", records(("r1", FIRST, 1), ("r2", SECOND, 2)))
        ingest(lake, silo)
        two = deliver(lake, silo, "2.csv", records(("r2", SECOND, 4), ("r3", SECOND, 5)))  # takes the place of a row
        three = deliver(lake, silo, "3.csv", records(("r4", THIRD, 6)))
        ingest(lake, silo)
        before = contents(lake, silo)
        for day in (SECOND, THIRD):
            lose(lake, silo, day)
        assert contents(lake, silo).height < before.height

        done = backfill.days(lake, silo.name, SECOND, SECOND)
        assert set(done.again) == {one, two}
        assert contents(lake, silo).equals(before.filter(pl.col("event_date") != THIRD))
        done = backfill.days(lake, silo.name, FIRST, THIRD)
        assert set(done.again) == {three}
        assert contents(lake, silo).equals(before)
        assert backfill.days(lake, silo.name, FIRST, THIRD).ingested == ()


def test_a_table_that_was_set_back_is_brought_up_to_date(lake: Settings) -> None:
    silo = new_silo()
    with registered(silo):
        deliver(lake, silo, "1.csv", records(("r1", FIRST, 1), ("r2", SECOND, 2)))
        ingest(lake, silo)
        two = deliver(lake, silo, "2.csv", records(("r3", SECOND, 3)))
        ingest(lake, silo)
        before = contents(lake, silo)
        set_back(lake, silo)
        assert contents(lake, silo).height == 2
        assert backfill.days(lake, silo.name, FIRST, SECOND).again == (two,)
        assert contents(lake, silo).equals(before)


def test_what_was_replaced_or_corrected_is_not_missing(lake: Settings) -> None:
    silo = new_silo()
    with registered(silo):
        one = deliver(lake, silo, "1.csv", records(("r1", FIRST, 1)))
        ingest(lake, silo)
        deliver(lake, silo, "2.csv", records(("r1", FIRST, 2)))
        wrong = deliver(lake, silo, "3.csv", records(("r5", SECOND, 3)))
        ingest(lake, silo)
        deliver(lake, silo, "4.csv", records(("r6", THIRD, 4)), corrects=wrong)
        ingest(lake, silo)
        before = contents(lake, silo)
        assert one not in before["delivery_id"]
        assert wrong not in before["delivery_id"]
        assert backfill.days(lake, silo.name, FIRST, THIRD).ingested == ()
        assert contents(lake, silo).equals(before)


def test_rows_whose_bytes_are_gone_are_told(lake: Settings) -> None:
    silo = new_silo()
    with registered(silo):
        sent = deliver(lake, silo, "1.csv", records(("r1", FIRST, 1)))
        ingest(lake, silo)
        lose(lake, silo, FIRST)
        forget_bytes(lake, silo, sent)
        done = backfill.days(lake, silo.name, FIRST, FIRST)
        assert (done.again, done.gone) == ((), (sent,))
        assert "have them delivered again" in done.sentence
        with database.connect(lake, "pipeline", "lake") as connection:
            known = registry.delivery(connection, silo.name, sent)
        assert known
        assert known.status == "committed"


def test_days_that_are_none_are_refused(lake: Settings) -> None:
    silo = new_silo()
    with registered(silo):
        with pytest.raises(ValueError, match="after the last day"):
            backfill.days(lake, silo.name, SECOND, FIRST)
        with pytest.raises(KeyError):
            backfill.days(lake, "nowhere", FIRST, FIRST)
    assert backfill.city_day("2026-03-05") == date(2026, 3, 5)
    for key in (None, "", "yesterday", "2026-03-05T00:00:00"):
        with pytest.raises(ValueError, match="no city-day"):
            backfill.city_day(key)
