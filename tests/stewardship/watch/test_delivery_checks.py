"""A round of watching on a live lake, to the mailbox: what stands is told once, and told to be over when it is."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from unittest import mock

import essai
import polars as pl
import pytest
from receivers import Mailbox, mail_server

from infra import database, registry
from infra.settings import Settings
from ingestion import pipeline, replay
from ingestion.delivery import landing
from ingestion.register import Silo
from stewardship import watch as watching_root
from stewardship.watch import after_ingestion, checks, delivery_checks, watch

pytestmark = pytest.mark.live

A_DAY = 40  # rows
UNLUCKY = 13
MINE = ("freshness", "volume", "quarantine-spike", "contract-warning", "delivery-refused", "delivery-parked")
MINE += ("undeclared",)


@pytest.fixture
def silo() -> Silo:
    made = essai.make(f"essai_{uuid.uuid4().hex[:12]}")
    return replace(made, steward="Direction des essais")


@pytest.fixture
def box() -> Iterator[Mailbox]:
    with mail_server() as found:
        yield found


@contextmanager
def registered(silo: Silo) -> Iterator[None]:
    known = {silo.name: silo}
    with (
        essai.registered(silo),
        mock.patch.object(delivery_checks, "silos", return_value=known),
        mock.patch.object(replay, "silos", return_value=known),
    ):
        yield


def at(lake: Settings, number: int, box: Mailbox) -> Settings:
    """The lake at noon of a day, with a mail server."""
    now = datetime.combine(essai.day(number), time(12), UTC)
    return lake.model_copy(update={"now": now, "smtp_url": box.url, "alert_to": "steward@city.test"})


def deliver(lake: Settings, silo: Silo, name: str, rows: list[tuple[str, int, int]], *, declared: bool = True) -> str:
    """Deliver rows, and declare the days that they lie on."""
    content = essai.csv(essai.RECORDS, [(r, essai.day(d), v, None) for r, d, v in rows])
    covers = sorted({str(essai.day(d)) for _, d, _ in rows}) if declared else []
    essai.deliver(lake, silo.name, name, content, covers=covers)
    landing.sweep(lake, silo.name)
    [receipt] = pipeline.ingest(lake, silo.name)
    return receipt.delivery_id


def days(first: int, last: int, *, without: int | None = None) -> list[tuple[str, int, int]]:
    return [(f"{day}-{n}", day, 2) for day in range(first, last + 1) if day != without for n in range(A_DAY)]


def standing(silo: Silo, found: watching_root.Round) -> list[tuple[str, str]]:
    return [(each.kind, each.key) for each in found.standing if each.kind in MINE and silo.name in each.key]


def forget(lake: Settings) -> None:
    with database.connect(lake, database.ADMIN, "lake") as connection:
        connection.execute("truncate registry.alert, registry.notice")


def test_days_that_are_missing_are_told_and_when_they_come_that_is_told_too(
    lake: Settings, silo: Silo, box: Mailbox
) -> None:
    forget(lake)
    with registered(silo):
        assert standing(silo, watch(at(lake, 0, box))) == []  # nothing is expected of whoever never delivered
        deliver(lake, silo, "history.csv", days(0, 69, without=65))
        hole = ("volume", f"{silo.name}/{essai.day(65)}")
        assert standing(silo, watch(at(lake, 71, box))) == [hole]
        assert standing(silo, watch(at(lake, 71, box))) == [hole]
        [told] = [body for body in box.bodies() if silo.name in body]
        assert (
            f"Essai has 0 rows of {essai.day(65):%A} {essai.day(65)}; 7 comparable days have 40 in the middle" in told
        )
        assert "Owner: Direction des essais" in told

        # Day 70 was to be there when day 71 was over.
        late = ("freshness", silo.name)
        assert standing(silo, watch(at(lake, 72, box))) == [hole, late]
        deliver(lake, silo, "late.csv", days(65, 65) + days(70, 71))
        assert standing(silo, watch(at(lake, 72, box))) == []
        subjects = [str(message["Subject"]) for message in box.messages if silo.name in str(message["Subject"])]
        assert len(subjects) == 4
        assert sum("resolved" in subject for subject in subjects) == 2
        with database.connect(lake, "pipeline", "lake") as connection:
            [arrival] = delivery_checks.arrivals(at(lake, 72, box), connection)
        assert (arrival.newest, arrival.overdue) == (essai.day(71), None)


def test_rows_of_days_that_nobody_declared_are_told_at_once_with_what_to_type(
    lake: Settings, silo: Silo, box: Mailbox
) -> None:
    forget(lake)
    now = at(lake, 3, box)
    with registered(silo):
        deliver(lake, silo, "declared.csv", days(0, 1))
        after_ingestion(now)
        assert standing(silo, watch(now)) == []
        deliver(lake, silo, "undeclared.csv", days(2, 3), declared=False)
        after_ingestion(now)
        [told] = [body for body in box.bodies() if silo.name in body]
        first, last = essai.day(2), essai.day(3)
        assert f"{silo.name}: 80 rows lie on 2 days that nobody declared ({first} to {last})" in told
        assert f"`calanque cover {silo.name} {first} {last} --reason ...`" in told
        assert standing(silo, watch(now)) == [("undeclared", silo.name)]
        with database.connect(lake, "publisher", "lake") as connection:
            registry.declare(
                connection, silo.name, [first, last], source="steward", said_by="tests", said_at=datetime.now(UTC)
            )
        assert standing(silo, watch(now)) == []


def test_a_bad_delivery_is_told_at_once_with_its_rows_and_is_over_when_it_is_replayed(
    lake: Settings, silo: Silo, box: Mailbox
) -> None:
    forget(lake)
    settings = at(lake, 8, box)
    with registered(silo):
        for number in range(6):
            deliver(lake, silo, f"{number}.csv", days(number, number))
            after_ingestion(settings)
        assert not [body for body in box.bodies() if silo.name in body]
        unlucky = [(f"6-{n}", 6, UNLUCKY if n % 2 else 7) for n in range(A_DAY * 2)]
        delivery = deliver(lake, silo, "6.csv", unlucky)
        after_ingestion(settings)
        after_ingestion(settings)
        told = [body for body in box.bodies() if silo.name in body]
        assert len(told) == 2  # one of the rows quarantined, one of those warned of
        quarantined, warned = sorted(told, key=lambda body: "warning" in body)
        assert "Of 80 rows of 6.csv" in quarantined
        assert "40 are quarantined: 50.0%, where next to nothing was usual" in quarantined
        assert "Rule unlucky: 40 rows.\n  Thirteen is refused. Deliver another.\n  Rows 3, 5, 7, 9," in quarantined
        assert f"calanque quarantine show {silo.name} {delivery[:12]}" in quarantined
        assert "Rule lucky: 40 rows." in warned

    records = silo.datasets[0]
    mended = essai.changed(
        records,
        conform=lambda *given: (
            records.contract()
            .conform(*given)
            .with_columns(reject=pl.lit(None, pl.String), warn=pl.lit(None, pl.String))
        ),
    )
    with registered(replace(silo, datasets=(mended, *silo.datasets[1:]))):
        replay.replay(lake, silo.name, delivery, "thirteen is a value", "essai")
        pipeline.ingest(lake, silo.name)
        found = watch(settings)
        assert standing(silo, found) == []
        assert {kind for kind, key in found.over if silo.name in key} == {"quarantine-spike", "contract-warning"}


def test_refused_deliveries_are_told_with_the_reason_until_they_are_history(
    lake: Settings, silo: Silo, box: Mailbox
) -> None:
    forget(lake)
    with registered(silo):
        essai.deliver(lake, silo.name, "junk.csv", b"\x00\x01\x02" * 100 + silo.name.encode())
        landing.sweep(lake, silo.name)
        [receipt] = pipeline.ingest(lake, silo.name)
        present = lake.model_copy(update={"smtp_url": box.url, "alert_to": "steward@city.test"})
        refused = ("delivery-refused", f"{silo.name}/{receipt.delivery_id[:12]}")
        assert standing(silo, watch(present)) == [refused]
        [told] = [body for body in box.bodies() if silo.name in body]
        assert str(receipt.reason) in told
        later = present.model_copy(
            update={"now": datetime.now(UTC) + timedelta(days=delivery_checks.WINDOW_DAYS, hours=1)}
        )
        assert standing(silo, watch(later)) == []


def test_a_check_that_cannot_be_made_stops_no_other_and_changes_nothing(
    lake: Settings, silo: Silo, box: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    forget(lake)
    with registered(silo):
        deliver(lake, silo, "history.csv", days(0, 69, without=65))
        before = standing(silo, watch(at(lake, 71, box)))
        assert before
        monkeypatch.setattr(delivery_checks, "calendar", lambda _: (_ for _ in ()).throw(OSError("no profile")))
        found = watch(at(lake, 71, box))
        assert found.failures == ("freshness, volume: not looked at: OSError",)
        assert standing(silo, found) == before


def test_a_store_that_is_away_is_told(
    lake: Settings, silo: Silo, box: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    forget(lake)
    away = lake.model_copy(update={"smtp_url": box.url, "alert_to": "steward@city.test"})
    with registered(silo):
        monkeypatch.setattr(checks.object_store, "exists", mock.Mock(side_effect=ConnectionError("refused")))
        assert ("store-down", "object-store") in [(each.kind, each.key) for each in watch(away).standing]
        monkeypatch.undo()
    with registered(silo):
        assert ("store-down", "object-store") in watch(away).over
    assert any("object store" in body for body in box.bodies())
