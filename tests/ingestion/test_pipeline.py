"""From the drop folder to the conformed tables on a live lake, compared with a model of a few lines."""

from __future__ import annotations

import errno
import hashlib
import logging
import re
import shutil
import uuid
from dataclasses import replace
from datetime import date
from typing import Any

import essai
import polars as pl
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from infra import database, object_store, registry, transient
from infra.keys.store import KeyStore
from infra.settings import Settings
from ingestion import pipeline, replay
from ingestion.delivery import landing
from ingestion.register import Silo
from ingestion.rows import conforming, staging

pytestmark = pytest.mark.live

Row = tuple[int, int, int]  # record, day number, value


def new_silo() -> Silo:
    return essai.make(f"essai_{uuid.uuid4().hex[:12]}")


def delivery_id(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def records(rows: list[Row]) -> bytes:
    return essai.csv(essai.RECORDS, [(f"r{r}", essai.day(d), v, f"AB-{r:03}-CD") for r, d, v in rows])


def contents(lake: Settings, silo: Silo) -> set[tuple[str, date, int, str]]:
    frame = essai.table(lake, silo.datasets[0]).select("record", "event_date", "value", "delivery_id")
    rows = frame.rows()
    assert len(rows) == len(set(rows)), "a row is there twice"
    return set(rows)


class Model:
    """What the table must hold: deliveries in order of landing, the last word on a record being the last delivered."""

    def __init__(self) -> None:
        self.rows: dict[tuple[int, int], tuple[str, date, int, str]] = {}
        self.landed: set[str] = set()

    def deliver(self, rows: list[Row], content: bytes, corrects: str | None) -> None:
        identity = delivery_id(content)
        if identity in self.landed:
            return
        self.landed.add(identity)
        good = [(r, d, v) for r, d, v in rows if v >= 0 and v != 13]
        if corrects is not None:
            if not good or corrects not in self.landed or corrects == identity:
                return
            self.rows = {key: row for key, row in self.rows.items() if row[3] != corrects}
        fresh: dict[tuple[int, int], tuple[str, date, int, str]] = {}
        for r, d, v in good:
            key = (r, essai.day(d).month)  # a pseudonym does not outlive its month
            fresh.setdefault(key, (f"r{r}", essai.day(d), v, identity))
        self.rows |= fresh


ROWS = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 6), st.sampled_from([-1, 0, 1, 2, 7, 13])), max_size=8)
DELIVERIES = st.lists(st.tuples(ROWS, st.none() | st.integers(0, 4), st.booleans()), min_size=1, max_size=5)


@hypothesis_settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(DELIVERIES, st.integers(1, 4))
def test_the_table_is_what_the_deliveries_say(lake: Settings, deliveries: list, buffer_rows: int) -> None:
    silo, model, sent, read = new_silo(), Model(), [], pipeline.read_batches
    with pytest.MonkeyPatch.context() as patch, essai.registered(silo):
        patch.setattr(staging, "BUFFER_BYTES", 100 * buffer_rows)
        patch.setattr(staging, "FILE_ROWS", buffer_rows + 1)
        patch.setattr(staging, "LEAST_FILE_ROWS", 2)
        patch.setattr(pipeline, "read_batches", lambda *args, **named: read(*args, **named, batch_rows=buffer_rows))
        for number, (rows, corrected, ingest_now) in enumerate(deliveries):
            content = records(rows)
            corrects = delivery_id(sent[corrected]) if corrected is not None and corrected < len(sent) else None
            essai.deliver(lake, silo.name, f"{number}.csv", content, corrects=corrects)
            landing.sweep(lake, silo.name)
            model.deliver(rows, content, corrects)
            sent.append(content)
            if ingest_now:
                pipeline.ingest(lake, silo.name)
        pipeline.ingest(lake, silo.name)
        assert contents(lake, silo) == set(model.rows.values())
        for content in sent:
            receipt = essai.receipt(lake, silo.name, delivery_id(content))
            assert receipt["rows_in"] == receipt["accepted"] + receipt["quarantined"]


def test_every_row_is_accounted_for_with_every_rule_it_broke(lake: Settings) -> None:
    silo = new_silo()
    rows: list[tuple[Any, ...]] = [
        ("a", "2025-01-30", 1, "P1"),
        ("a", "2025-01-31", 2, "P1"),  # the same record on another day of the month
        ("a", "2025-02-01", 2, "P1"),  # another month: another key
        (None, "2025-01-30", -4, "P2"),
        ("b", "30/01/2025", 3, "P3"),
        ("c", "2025-01-30", 13, "P4"),
        ("d", "2025-01-30", 7, "P5"),
        ("e", "2025-01-30", 5),
    ]
    content = essai.csv(essai.RECORDS, rows)
    with essai.registered(silo):
        essai.deliver(lake, silo.name, "rows.csv", content)
        landing.sweep(lake, silo.name)
        [receipt] = pipeline.ingest(lake, silo.name)

    assert receipt.status == "committed"
    assert (receipt.tally.rows_in, receipt.tally.accepted, receipt.tally.quarantined) == (8, 3, 5)
    assert receipt.tally.by_rule == {
        "day_unreadable": 1,
        "duplicate_key": 1,
        "record_missing": 1,
        "row_malformed": 1,
        "unlucky": 1,
    }  # row 4 broke two rules and counts once
    assert sum(receipt.tally.by_rule.values()) == receipt.tally.quarantined
    assert receipt.tally.warnings == {"lucky": 1}
    assert receipt.days == (date(2025, 1, 30), date(2025, 2, 1))
    assert {(row["record"], row["event_date"]) for row in essai.table(lake, silo.datasets[0]).to_dicts()} == {
        ("a", date(2025, 1, 30)),
        ("a", date(2025, 2, 1)),
        ("d", date(2025, 1, 30)),
    }
    rejected = essai.quarantine(lake, silo.name, receipt.delivery_id)
    assert rejected.columns == ["row", "rule", "column", "severity"]
    assert set(rejected.rows()) == {
        (2, "duplicate_key", None, "error"),
        (4, "record_missing", "record", "error"),
        (4, "value_negative", "value", "error"),
        (5, "day_unreadable", "day", "error"),
        (6, "unlucky", None, "error"),
        (7, "lucky", None, "warning"),
        (8, "row_malformed", None, "error"),
    }
    stored = essai.receipt(lake, silo.name, receipt.delivery_id)
    assert stored == receipt.as_json() | {"file_name": "rows.csv"}
    store = object_store.client(lake, "pipeline")
    for output in stored["outputs"]:
        assert hashlib.sha256(object_store.get_bytes(store, "lake", output["key"])).hexdigest() == output["sha256"]
    assert sum(output["rows"] for output in stored["outputs"]) == stored["lines"] == 3


def test_a_row_of_several_lines_is_accepted_when_one_is_kept(lake: Settings) -> None:
    silo = new_silo()
    rows = [
        ("p1", "2025-03-01T10:00", 5),
        ("p1", "2025-03-01T11:00", 99),  # one way is refused
        ("p1", "2025-03-01T12:00", 100),  # both are
        ("p1", "2025-03-01T10:00", 6),  # both are there already
        ("p1", "2025-03-01T11:00", 6),  # one is there already
        ("p1", "noon", 6),
    ]
    with essai.registered(silo):
        essai.deliver(lake, silo.name, "counts.csv", essai.csv(essai.COUNTS, rows))
        landing.sweep(lake, silo.name)
        [receipt] = pipeline.ingest(lake, silo.name)
    assert (receipt.tally.rows_in, receipt.tally.accepted, receipt.tally.quarantined) == (6, 3, 3)
    assert receipt.tally.by_rule == {"duplicate_key": 1, "full": 1, "hour_unreadable": 1}
    assert receipt.tally.warnings == {"duplicate_key": 1, "full": 1}
    kept = essai.table(lake, silo.datasets[1]).select("starts_at", "direction", "people").sort("starts_at", "direction")
    assert [(at.hour, direction, people) for at, direction, people in kept.rows()] == [
        (10, "in", 5),
        (10, "out", 5),
        (11, "in", 99),
        (11, "out", 6),
    ]


@pytest.mark.parametrize("least", [1, 10_000], ids=["data files", "arrow files"])
def test_a_key_twice_in_a_day_that_came_in_many_batches(
    lake: Settings, monkeypatch: pytest.MonkeyPatch, least: int
) -> None:
    silo = new_silo()
    rows = [(f"r{number}", "2025-03-01", 100 + number, "P") for number in range(60)]
    rows[40] = ("r3", "2025-03-01", 0, "P")  # of the day's nine parts, one loses a row
    read = pipeline.read_batches
    monkeypatch.setattr(pipeline, "read_batches", lambda *args, **named: read(*args, **named, batch_rows=7))
    monkeypatch.setattr(staging, "BUFFER_BYTES", 1)
    monkeypatch.setattr(staging, "FILE_ROWS", 25)
    monkeypatch.setattr(staging, "LEAST_FILE_ROWS", least)
    with essai.registered(silo):
        essai.deliver(lake, silo.name, "long.csv", essai.csv(essai.RECORDS, rows))
        landing.sweep(lake, silo.name)
        [receipt] = pipeline.ingest(lake, silo.name)
    assert (receipt.status, receipt.reason) == ("committed", None)
    assert (receipt.tally.rows_in, receipt.tally.accepted, receipt.tally.by_rule) == (60, 59, {"duplicate_key": 1})
    kept = essai.table(lake, silo.datasets[0]).select("record", "value").rows()
    assert sorted(kept) == sorted((record, value) for record, _, value, _ in rows[:40] + rows[41:])


def test_identical_records_without_a_number_stay_distinct_whatever_the_batches(
    lake: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    silo = new_silo()
    rows = [("2025-03-01", 1), ("2025-03-01", 2), ("2025-03-01", 1), ("2025-03-02", 1), ("2025-03-01", 1)] * 40
    read = pipeline.read_batches
    monkeypatch.setattr(pipeline, "read_batches", lambda *args, **named: read(*args, **named, batch_rows=7))
    with essai.registered(silo):
        essai.deliver(lake, silo.name, "nameless.csv", essai.csv(("nameless_day", "nameless_value"), rows))
        landing.sweep(lake, silo.name)
        [receipt] = pipeline.ingest(lake, silo.name)
    assert (receipt.tally.rows_in, receipt.tally.accepted) == (200, 200)
    counted = essai.table(lake, silo.datasets[0]).group_by("event_date", "value").len().sort("event_date", "value")
    assert counted["len"].to_list() == [120, 40, 40]


def test_the_same_bytes_again_change_nothing(lake: Settings) -> None:
    silo = new_silo()
    content = records([(1, 0, 1), (2, 1, 2)])
    with essai.registered(silo):
        essai.deliver(lake, silo.name, "first.csv", content)
        assert [landed.outcome for landed in landing.sweep(lake, silo.name).landed] == ["new"]
        assert len(pipeline.ingest(lake, silo.name)) == 1
        before = essai.table(lake, silo.datasets[0])
        essai.deliver(lake, silo.name, "again.csv", content)
        [landed] = landing.sweep(lake, silo.name).landed
        assert landed.outcome == "again"
        assert "delivered before" in landed.sentence
        assert pipeline.ingest(lake, silo.name) == []
        assert essai.table(lake, silo.datasets[0]).equals(before)


def test_a_declared_correction_replaces_the_delivery_and_nothing_else(lake: Settings) -> None:
    silo = new_silo()
    kept, wrong = records([(9, 0, 1)]), records([(1, 0, 1), (2, 0, 1), (3, 5, 1)])
    right = records([(1, 0, 2), (4, 1, 2)])
    with essai.registered(silo):
        for name, content in (("kept.csv", kept), ("wrong.csv", wrong)):
            essai.deliver(lake, silo.name, name, content)
            landing.sweep(lake, silo.name)
        pipeline.ingest(lake, silo.name)
        essai.deliver(lake, silo.name, "right.csv", right, corrects=delivery_id(wrong))
        landing.sweep(lake, silo.name)
        [receipt] = pipeline.ingest(lake, silo.name)
    assert contents(lake, silo) == {
        ("r9", essai.day(0), 1, delivery_id(kept)),
        ("r1", essai.day(0), 2, delivery_id(right)),
        ("r4", essai.day(1), 2, delivery_id(right)),
    }
    assert receipt.days == (essai.day(0), essai.day(1), essai.day(5))  # day 5 lost a row


def test_of_two_corrections_of_one_delivery_it_is_said_which_stands(lake: Settings) -> None:
    silo = new_silo()
    wrong, first, second = records([(1, 0, 1)]), records([(1, 0, 2), (2, 0, 2)]), records([(1, 0, 0)])
    with essai.registered(silo):
        for name, content, corrects in (
            ("wrong.csv", wrong, None),
            ("first.csv", first, delivery_id(wrong)),
            ("second.csv", second, delivery_id(wrong)),
        ):
            essai.deliver(lake, silo.name, name, content, corrects=corrects)
            landing.sweep(lake, silo.name)
        told = [receipt.reason for receipt in pipeline.ingest(lake, silo.name)]
    assert told[:2] == [None, None]
    assert told[2] is not None
    assert told[2].startswith(f"second.csv: {delivery_id(wrong)[:12]} was corrected by first.csv ")
    assert "All of these corrections stand" in told[2]
    assert contents(lake, silo) == {
        ("r1", essai.day(0), 0, delivery_id(second)),
        ("r2", essai.day(0), 2, delivery_id(first)),
    }


def test_a_correction_that_waits_with_what_it_corrects_comes_after_it(lake: Settings) -> None:
    silo = new_silo()
    wrong, right = records([(1, 0, 1), (2, 0, 1)]), records([(1, 0, 2)])
    with essai.registered(silo):
        essai.deliver(lake, silo.name, "right.csv", right, corrects=delivery_id(wrong))
        landing.sweep(lake, silo.name)
        essai.deliver(lake, silo.name, "wrong.csv", wrong)
        landing.sweep(lake, silo.name)
        assert [receipt.file_name for receipt in pipeline.ingest(lake, silo.name)] == ["wrong.csv", "right.csv"]
    assert contents(lake, silo) == {("r1", essai.day(0), 2, delivery_id(right))}


@pytest.mark.parametrize(
    ("rows", "corrects", "rule"),
    [([(1, 0, 2)], "0" * 64, "correction_unknown"), ([(1, 0, -1)], None, "correction_empty")],
)
def test_a_correction_that_cannot_be_made_replaces_nothing(
    lake: Settings, rows: list[Row], corrects: str | None, rule: str
) -> None:
    silo, first = new_silo(), records([(1, 0, 1)])
    with essai.registered(silo):
        essai.deliver(lake, silo.name, "first.csv", first)
        landing.sweep(lake, silo.name)
        pipeline.ingest(lake, silo.name)
        essai.deliver(lake, silo.name, "mend.csv", records(rows), corrects=corrects or delivery_id(first))
        landing.sweep(lake, silo.name)
        [receipt] = pipeline.ingest(lake, silo.name)
    assert (receipt.status, receipt.rule) == ("refused", rule)
    assert contents(lake, silo) == {("r1", essai.day(0), 1, delivery_id(first))}


def test_a_refused_delivery_is_kept_and_does_not_stop_the_next(lake: Settings) -> None:
    silo = new_silo()
    with essai.registered(silo):
        essai.deliver(lake, silo.name, "junk.bin", b"\x00\x01\x02" * 100)
        essai.deliver(lake, silo.name, "empty.csv", b"")
        essai.deliver(lake, silo.name, "other.csv", b"a,b\n1,2\n")
        essai.deliver(lake, silo.name, "good.csv", records([(1, 0, 1)]))
        landing.sweep(lake, silo.name)
        found = {receipt.file_name: receipt for receipt in pipeline.ingest(lake, silo.name)}
    assert {name: receipt.status for name, receipt in found.items()} == {
        "junk.bin": "refused",
        "empty.csv": "refused",
        "other.csv": "refused",
        "good.csv": "committed",
    }
    with database.connect(lake, "steward", "lake") as connection:
        for name in ("junk.bin", "empty.csv", "other.csv"):
            refused = registry.delivery(connection, silo.name, found[name].delivery_id)
            assert refused is not None
            assert refused.status == "refused"
            assert refused.reason is not None
            assert refused.reason.startswith(name)
            assert object_store.exists(object_store.client(lake, "pipeline"), "landing", refused.object_key)
            assert (refused.rows_in, refused.accepted, refused.quarantined) == (0, 0, 0)


def test_a_refused_delivery_is_tried_again_when_its_sender_says_more(lake: Settings) -> None:
    silo, content = new_silo(), records([(1, 0, 1)])
    with essai.registered(silo):
        essai.deliver(lake, silo.name, "a.csv", content, named="counts")
        landing.sweep(lake, silo.name)
        [refused] = pipeline.ingest(lake, silo.name)
        assert refused.status == "refused"
        assert refused.reason is not None
        essai.deliver(lake, silo.name, "a.csv", content)
        [again] = landing.sweep(lake, silo.name).landed
        assert again.outcome == "again"
        assert "delivered before and refused" in again.sentence
        assert refused.reason.rstrip(".") in again.sentence
        essai.deliver(lake, silo.name, "a.csv", content, named="records")
        assert [landed.outcome for landed in landing.sweep(lake, silo.name).landed] == ["reopened"]
        assert [receipt.status for receipt in pipeline.ingest(lake, silo.name)] == ["committed"]
    assert len(contents(lake, silo)) == 1


def test_a_delivery_that_fails_for_a_reason_of_its_own_is_parked_and_the_others_go_on(
    lake: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    silo = new_silo()
    conform, secret = conforming.conform, "AB-SECRET-99"

    def fragile(read: Any, **named: Any) -> Any:
        if named["delivery_id"] == delivery_id(records([(1, 0, 1)])):
            raise ValueError(f"cannot convert {secret}")
        return conform(read, **named)

    with essai.registered(silo), caplog.at_level(logging.INFO):
        for name, rows in (("first.csv", [(1, 0, 1)]), ("second.csv", [(2, 0, 1)])):
            essai.deliver(lake, silo.name, name, records(rows))  # type: ignore[arg-type]
            landing.sweep(lake, silo.name)
        monkeypatch.setattr(pipeline, "conform", fragile)
        parked, good = pipeline.ingest(lake, silo.name)
        assert (parked.file_name, parked.status) == ("first.csv", "parked")
        assert re.fullmatch(r"first\.csv: ValueError at .*fragile.* \(its message is withheld.*\)", str(parked.reason))
        assert (good.file_name, good.status) == ("second.csv", "committed")
        assert essai.receipt(lake, silo.name, parked.delivery_id)["reason"] == parked.reason
        assert secret not in str(parked) + caplog.text
        monkeypatch.undo()
        with essai.registered(silo), database.connect(lake, "pipeline", "lake") as connection:
            [waiting] = registry.parked_deliveries(connection, silo.name)
            assert (waiting.delivery_id, waiting.reason) == (parked.delivery_id, parked.reason)
            assert {line.silo: line.parked for line in registry.report(connection)}[silo.name] == 1
            assert pipeline.ingest(lake, silo.name) == []  # told once, and never tried again by itself
            assert registry.unpark_delivery(connection, silo.name, parked.delivery_id)
            assert not registry.unpark_delivery(connection, silo.name, good.delivery_id)
            connection.commit()
            [mended] = pipeline.ingest(lake, silo.name)
            assert (mended.file_name, mended.status) == ("first.csv", "committed")
    assert len(contents(lake, silo)) == 2


def test_a_parked_delivery_is_tried_again_when_it_is_delivered_again(
    lake: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its bytes went bad in the store: the only remedy is to have them once more."""
    silo, content = new_silo(), records([(1, 0, 1)])
    with essai.registered(silo):
        essai.deliver(lake, silo.name, "a.csv", content)
        landing.sweep(lake, silo.name)
        with database.connect(lake, "steward", "lake") as connection:
            known = registry.delivery(connection, silo.name, delivery_id(content))
        assert known is not None
        shutil.rmtree(lake.work_dir / "landed" / silo.name)  # ingestion runs on another machine
        object_store.put_bytes(object_store.client(lake, "landing"), "landing", known.object_key, b"x" * len(content))
        [parked] = pipeline.ingest(lake, silo.name)
        assert parked.status == "parked"
        assert "no longer holds the delivered bytes: deliver the file again" in str(parked.reason)
        essai.deliver(lake, silo.name, "a.csv", content)
        assert [landed.outcome for landed in landing.sweep(lake, silo.name).landed] == ["reopened"]
        assert [receipt.status for receipt in pipeline.ingest(lake, silo.name)] == ["committed"]
    assert len(contents(lake, silo)) == 1


def test_what_the_lake_spoilt_is_tried_again(lake: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    silo, content = new_silo(), records([(1, 0, 1)])
    faults: list[Exception] = [ConnectionResetError(), OSError(errno.ENOSPC, "full"), PermissionError("no")]

    def spoilt(*_: Any, **__: Any) -> Any:
        raise faults[0]

    with essai.registered(silo):
        essai.deliver(lake, silo.name, "a.csv", content)
        landing.sweep(lake, silo.name)
        monkeypatch.setattr(pipeline, "conform", spoilt)
        for soon in (True, True, False):
            for _ in range(2):  # more often than a delivery of its own fault is tried
                with pytest.raises(pipeline.IngestionError) as caught:
                    pipeline.ingest(lake, silo.name)
                assert transient.transient(caught.value) is soon
            faults.pop(0)
        monkeypatch.undo()
        with essai.registered(silo):
            assert [receipt.status for receipt in pipeline.ingest(lake, silo.name)] == ["committed"]


@pytest.mark.parametrize("killed", [False, True])
def test_a_delivery_that_comes_to_nothing_again_and_again_is_parked(
    lake: Settings, monkeypatch: pytest.MonkeyPatch, killed: bool
) -> None:
    """It exhausts the machine each time: with an error while others pass, or taking its process with it."""
    silo, poisoned = new_silo(), records([(1, 0, 1)])
    conform = conforming.conform

    def exhausting(read: Any, **named: Any) -> Any:
        if named["delivery_id"] == delivery_id(poisoned):
            raise KeyboardInterrupt if killed else MemoryError
        return conform(read, **named)

    with essai.registered(silo):
        essai.deliver(lake, silo.name, "poisoned.csv", poisoned)
        landing.sweep(lake, silo.name)
        monkeypatch.setattr(pipeline, "conform", exhausting)
        for number in range(pipeline.ATTEMPTS):
            with pytest.raises(KeyboardInterrupt if killed else pipeline.IngestionError):
                pipeline.ingest(lake, silo.name)
            essai.deliver(lake, silo.name, f"{number}.csv", records([(number + 2, 0, 1)]))
            landing.sweep(lake, silo.name)
        done = {receipt.file_name: receipt for receipt in pipeline.ingest(lake, silo.name)}
    assert done["poisoned.csv"].status == "parked"
    assert f"{pipeline.ATTEMPTS} attempts" in str(done["poisoned.csv"].reason)
    assert ("the process ended in the middle of it" in str(done["poisoned.csv"].reason)) is killed
    assert len(contents(lake, silo)) == pipeline.ATTEMPTS


def test_kills_while_nothing_else_goes_through_are_not_the_delivery_s_fault(
    lake: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A machine that is restarted again and again, over whatever happens to be worked on."""
    silo = new_silo()

    def killed(*_: Any, **__: Any) -> Any:
        raise KeyboardInterrupt

    with essai.registered(silo):
        for number in range(2):
            essai.deliver(lake, silo.name, f"{number}.csv", records([(number, 0, 1)]))
        landing.sweep(lake, silo.name)
        with monkeypatch.context() as patch:
            patch.setattr(pipeline, "conform", killed)
            for _ in range(3 * pipeline.ATTEMPTS):
                with pytest.raises(KeyboardInterrupt):
                    pipeline.ingest(lake, silo.name)
        assert [receipt.status for receipt in pipeline.ingest(lake, silo.name)] == ["committed"] * 2


def test_a_delivery_that_takes_its_process_with_it_keeps_no_other_waiting(
    lake: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    silo, poisoned = new_silo(), records([(1, 0, 1)])
    conform = conforming.conform

    def exhausting(read: Any, **named: Any) -> Any:
        if named["delivery_id"] == delivery_id(poisoned):
            raise KeyboardInterrupt
        return conform(read, **named)

    with essai.registered(silo):
        essai.deliver(lake, silo.name, "poisoned.csv", poisoned)
        essai.deliver(lake, silo.name, "other.csv", records([(2, 0, 1)]))
        landing.sweep(lake, silo.name)
        monkeypatch.setattr(pipeline, "conform", exhausting)
        for _ in range(2):
            with pytest.raises(KeyboardInterrupt):
                pipeline.ingest(lake, silo.name)
    assert {record for record, *_ in contents(lake, silo)} == {"r2"}


@pytest.mark.parametrize("ingested", [True, False])
def test_bytes_that_the_store_lost_land_again(lake: Settings, ingested: bool) -> None:
    silo, content = new_silo(), records([(1, 0, 1)])
    store = object_store.client(lake, "admin")
    with essai.registered(silo):
        essai.deliver(lake, silo.name, "a.csv", content)
        landing.sweep(lake, silo.name)
        if ingested:
            pipeline.ingest(lake, silo.name)
        with database.connect(lake, "steward", "lake") as connection:
            row = registry.delivery(connection, silo.name, delivery_id(content))
        assert row is not None
        store.remove_object("landing", row.object_key)
        assert not object_store.exists(store, "landing", row.object_key)
        shutil.rmtree(lake.work_dir / "landed" / silo.name, ignore_errors=True)

        essai.deliver(lake, silo.name, "a.csv", content)
        [landed] = landing.sweep(lake, silo.name).landed
        assert (landed.outcome, "had lost them" in landed.sentence) == ("restored", True)
        assert object_store.get_bytes(store, "landing", row.object_key) == content
        essai.deliver(lake, silo.name, "a.csv", content)
        assert [again.outcome for again in landing.sweep(lake, silo.name).landed] == ["again"]
        assert len(pipeline.ingest(lake, silo.name)) == (0 if ingested else 1)
    assert {record for record, *_ in contents(lake, silo)} == {"r1"}


def test_a_file_refused_before_its_format_existed_is_tried_again(lake: Settings) -> None:
    known = new_silo()
    before = replace(known, accepts=lambda: tuple(one for one in known.formats if one.name != "records"))
    after = replace(known, datasets=(replace(known.datasets[0], version="1.1.0"), *known.datasets[1:]))
    content, strange = records([(1, 0, 1)]), b"a;b\n1;2\n"
    with essai.registered(before):
        essai.deliver(lake, before.name, "early.csv", content)
        essai.deliver(lake, before.name, "strange.csv", strange)
        landing.sweep(lake, before.name)
        assert [receipt.status for receipt in pipeline.ingest(lake, before.name)] == ["refused", "refused"]
        assert pipeline.ingest(lake, before.name) == []
        essai.deliver(lake, before.name, "early.csv", content)
        [again] = landing.sweep(lake, before.name).landed
        assert "calanque replay" in again.sentence
    with essai.registered(after):
        receipts = pipeline.ingest(lake, after.name)
        assert {receipt.file_name: receipt.status for receipt in receipts} == {
            "early.csv": "committed",
            "strange.csv": "refused",
        }
        assert pipeline.ingest(lake, after.name) == []
    assert {record for record, *_ in contents(lake, after)} == {"r1"}


@pytest.mark.parametrize("kept", [True, False])
def test_a_delivery_retried_after_a_chain_of_corrections_brings_no_row_back(
    lake: Settings, monkeypatch: pytest.MonkeyPatch, kept: bool
) -> None:
    """The second replaced rows of the first by key, and the third corrected the second: those rows are gone."""
    silo = new_silo()
    first, second = records([(1, 0, 1), (2, 0, 1)]), records([(1, 0, 2), (3, 0, 2), (4, 0, -1)])
    third = records([(3, 0, 3)])
    conform = pipeline.conform

    def fails_for_the_first(*arguments: Any, **named: Any) -> conforming.Conformed:
        if named["delivery_id"] == delivery_id(first):
            raise OSError("a disk that is full")
        return conform(*arguments, **named)

    monkeypatch.setattr(pipeline, "conform", fails_for_the_first)
    with essai.registered(silo):
        for content, corrects in ((first, None), (second, None), (third, delivery_id(second))):
            essai.deliver(lake, silo.name, "rows.csv", content, corrects=corrects)
            landing.sweep(lake, silo.name)
            with pytest.raises(pipeline.IngestionError, match="a disk that is full"):
                pipeline.ingest(lake, silo.name)
        assert {(record, value) for record, _, value, _ in contents(lake, silo)} == {("r3", 3)}
        monkeypatch.setattr(pipeline, "conform", conform)
        if not kept:
            with database.connect(lake, "steward", "lake") as connection:
                row = registry.delivery(connection, silo.name, delivery_id(second))
            assert row is not None
            get_file = object_store.get_file

            def expired(store: Any, bucket: str, key: str, path: Any) -> None:
                if key == row.object_key:
                    raise KeyError(key)
                get_file(store, bucket, key, path)

            monkeypatch.setattr(object_store, "get_file", expired)
        [receipt] = pipeline.ingest(lake, silo.name)
    rows = {(record, value) for record, _, value, _ in contents(lake, silo)}
    if kept:
        assert receipt.status == "committed"
        assert rows == {("r2", 1), ("r3", 3)}
    else:
        assert (receipt.status, receipt.rule) == ("refused", "overtaken")
        assert rows == {("r3", 3)}


def test_rows_of_a_month_whose_key_was_destroyed_are_quarantined(lake: Settings) -> None:
    silo = new_silo()
    KeyStore(lake.keys_dir).destroy(silo.name, "2025-02")
    with essai.registered(silo):
        essai.deliver(lake, silo.name, "late.csv", records([(1, 0, 1), (2, 4, 1), (3, 5, 1)]))
        landing.sweep(lake, silo.name)
        [receipt] = pipeline.ingest(lake, silo.name)
    assert receipt.tally.by_rule == {"month_key_destroyed": 2}
    assert {record for record, *_ in contents(lake, silo)} == {"r1"}


@pytest.mark.parametrize("at_once", [False, True], ids=["one run each", "one run"])
def test_a_date_corrected_across_a_month_is_warned_of(lake: Settings, at_once: bool) -> None:
    silo = new_silo()
    first, moved = records([(1, 0, 1), (2, 1, 1)]), records([(1, 4, 1), (3, 5, 1)])
    declared = records([(2, 4, 1)])  # stands for all that is left of the first
    with essai.registered(silo):
        receipts = []
        for name, content, corrects in (
            ("first.csv", first, None),
            ("moved.csv", moved, None),
            ("declared.csv", declared, hashlib.sha256(first).hexdigest()),
        ):
            essai.deliver(lake, silo.name, name, content, corrects=corrects)
            landing.sweep(lake, silo.name)
            receipts += [] if at_once else pipeline.ingest(lake, silo.name)
        receipts += pipeline.ingest(lake, silo.name)
        replay.replay(lake, silo.name, receipts[1].delivery_id)
        [again] = pipeline.ingest(lake, silo.name)
    assert [each.tally.warnings for each in (*receipts, again)] == [{}, {"record_in_other_month": 1}, {}, {}]
    assert [each.tally.accepted for each in receipts] == [2, 2, 1]
    assert {(record, day) for record, day, *_ in contents(lake, silo)} == {
        ("r1", essai.day(4)),
        ("r2", essai.day(4)),
        ("r3", essai.day(5)),
    }


def test_no_value_leaves_the_conformed_columns(lake: Settings, caplog: pytest.LogCaptureFixture) -> None:
    silo, canary = new_silo(), "CANARI-7391"
    rows = [
        (f"{canary}-r", "2025-01-30", 1, f"{canary}-p"),
        (f"{canary}-r2", f"{canary}-d", -1, f"{canary}-p"),
        (f"{canary}-r", "2025-01-30", 1, f"{canary}-p"),
        (f"{canary}-r3", "2025-01-30", 13, f"{canary}-p", f"{canary}-extra"),
    ]
    with essai.registered(silo), caplog.at_level(logging.DEBUG):
        essai.deliver(lake, silo.name, "rows.csv", essai.csv(essai.RECORDS, rows))
        landing.sweep(lake, silo.name)
        [receipt] = pipeline.ingest(lake, silo.name)
    assert receipt.tally.quarantined == 3
    store, looked = object_store.client(lake, "admin"), 0
    for bucket, prefix in (("quarantine", silo.name), ("receipts", f"deliveries/{silo.name}")):
        for key in object_store.list_keys(store, bucket, prefix):
            content = object_store.get_bytes(store, bucket, key)
            text = str(pl.read_parquet(content).rows()) if key.endswith(".parquet") else content.decode()
            assert canary not in text
            assert canary.encode() not in content
            looked += 1
    assert looked == 2
    assert canary not in str(essai.table(lake, silo.datasets[0]).drop("record").rows())
    ours = [record.getMessage() for record in caplog.records if record.name.startswith(("ingestion", "infra"))]
    assert ours
    assert canary not in "\n".join(ours)
    assert not list((lake.work_dir / "ingest" / silo.name).iterdir())
