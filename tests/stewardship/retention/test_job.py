"""Retention on the live stores, day by day: what is within its limit stays, what is past it leaves no byte."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from unittest import mock

import pytest

from infra import database, object_store, registry
from infra.calendar import clock
from infra.calendar.clock import add_months
from infra.settings import Settings
from ingestion import pipeline
from ingestion.contracts import retention_limits
from ingestion.delivery import landing
from ingestion.register import silos
from stewardship.retention import job
from stewardship.retention.conformed import ConformedHolding
from stewardship.retention.holdings import Tally
from tests.stewardship.retention import city_hall as city

pytestmark = [pytest.mark.live, pytest.mark.slow]

STORES = pytest.mark.parametrize("mortal", ["seaweedfs", "minio"], indirect=True)
PLATE = "ZZ913QK"
WORDS = "CANARI SEPT TROIS NEUF UN"
CANARIES = (PLATE.encode(), b"ZZ-913-QK", WORDS.encode())
KILLER = Path(__file__).with_name("killed_job.py")


def receipts(settings: Settings) -> list[tuple[str, str | None, bool]]:
    return city.objects(settings, "receipts", "retention/")


@STORES
def test_every_zone_at_its_limit(mortal: Settings, tmp_path: Path) -> None:
    today = city.today()
    first, second = today - timedelta(days=60), today - timedelta(days=20)  # in different months
    ancient = add_months(today, -14)
    [receipt] = city.deliver(
        mortal,
        "verbalisations",
        [
            city.fine(first, "ZZ-913-QK", WORDS),
            city.fine(second, "ZZ-913-QK", WORDS),
            city.fine(ancient, "ZZ-913-QK", WORDS),
            city.fine("no day", "ZZ-913-QK", WORDS),
        ],
        tmp_path,
    )
    assert (receipt.tally.accepted, receipt.tally.quarantined) == (3, 1)
    # A correction: the row it replaces stays in an older snapshot, and in a file that no current snapshot names.
    corrected = city.deliver(mortal, "verbalisations", [city.fine(first, "AA-001-AA")], tmp_path)
    assert corrected[0].status == "committed"
    aliases = {day: city.pseudonym(mortal, "verbalisations", PLATE, day) for day in (first, second, ancient)}
    # The eyes see, before anything goes; landed bytes at least are on the disk as they are.
    assert any(place.startswith("landing/") for place in city.anywhere(mortal, *CANARIES))
    assert any(place.startswith("data/") for place in city.anywhere(mortal, *CANARIES))
    for alias in aliases.values():
        assert any(place.startswith("lake/conformed/") for place in city.anywhere(mortal, alias))

    # The same day: only what arrived already too old goes, with every byte of it.
    outcome = job.run(mortal, run_id="1")
    assert outcome.overdue == ()
    assert {(tally.holding, tally.rows) for tally in outcome.tallies if tally.rows} == {("conformed", 1)}
    assert set(city.rows(mortal, "verbalisations")["event_date"]) == {first, second}
    assert city.anywhere(mortal, aliases[ancient]) == []
    assert city.anywhere(mortal, aliases[first])

    def landed() -> list[tuple[str, str | None, bool]]:
        return city.objects(mortal, "landing")

    # An old version and a delete marker, such as the bucket's own lifecycle leaves, are of the same day.
    [key] = {key for key, _, _ in landed() if key.endswith(f"{receipt.delivery_id}.csv")}
    object_store.client(mortal, "retention").remove_object("landing", key)
    assert any(is_marker for _, _, is_marker in landed())
    job.run(city.at(mortal, today + timedelta(days=6)), run_id="2")
    assert len(landed()) == 3
    outcome = job.run(city.at(mortal, today + timedelta(days=8)), run_id="3")
    assert landed() == []
    assert city.anywhere(mortal, *CANARIES) == []
    if mortal.store == "seaweedfs":
        assert outcome.compacted is not None
        assert outcome.compacted.garbage_before
        assert outcome.compacted.garbage_after == 0

    job.run(city.at(mortal, today + timedelta(days=29)), run_id="4")
    assert len(city.objects(mortal, "quarantine")) == 1
    job.run(city.at(mortal, today + timedelta(days=31)), run_id="5")
    assert city.objects(mortal, "quarantine") == []

    last_day = add_months(first, 13)
    job.run(city.at(mortal, last_day - timedelta(days=1)), run_id="6")
    assert set(city.rows(mortal, "verbalisations")["event_date"]) == {first, second}
    gone = city.at(mortal, last_day + timedelta(days=1))
    outcome = job.run(gone, run_id="7")
    assert outcome.overdue == ()
    assert set(city.rows(mortal, "verbalisations")["event_date"]) == {second}
    assert city.anywhere(mortal, aliases[first]) == []
    assert city.anywhere(mortal, aliases[second])

    # Again the same day: nothing, not even another receipt.
    before = receipts(mortal)
    again = job.run(gone, run_id="8")
    assert not again.changed
    assert receipts(mortal) == before
    told = object_store.get_json(object_store.client(mortal, "steward"), "receipts", outcome.receipt_key)
    [run] = told["runs"]
    [removed] = [line for line in run["removed"] if line["holding"] == "conformed"]
    assert (removed["silo"], removed["limit"], removed["rows"]) == ("verbalisations", "13 months", 2)
    assert run["oldest_kept"]["conformed/verbalisations"] == second.isoformat()
    assert run["overdue"] == []

    # What comes back after its time is out again the same day.
    assert job.run(city.at(mortal, add_months(second, 13) + timedelta(days=1)), run_id="9").changed
    assert city.rows(mortal, "verbalisations").is_empty()
    assert city.anywhere(mortal, *aliases.values()) == []


def test_what_is_past_its_limit_is_told(mortal: Settings, tmp_path: Path) -> None:
    """The control of the proof: with nothing removed, the listing says so, holding by holding."""
    today = city.today()
    city.deliver(mortal, "tows", [city.tow(today, "AA-001-AA")], tmp_path)
    aside = mortal.drop_dir / "tows" / landing.REFUSED_FOLDER
    aside.mkdir(parents=True, exist_ok=True)
    (aside / "fines.csv").write_text("what could not be landed")
    scratch = mortal.work_dir / "ingest" / "tows" / "killed"
    scratch.mkdir(parents=True)
    (scratch / "delivered").write_text("what a killed run left")
    closed = mortal.logs_dir / "seaweedfs.log.1"
    closed.write_text("an old line")
    store = object_store.client(mortal, "publisher")
    object_store.put_bytes(store, "lake", "candidates/build/mart.parquet", b"an old candidate")

    late = city.at(mortal, add_months(today, 14))
    _, overdue = job.check(late)
    for said in ("landing, tows/", "tows: 1 files of days older than 13 months", "candidates/", "work", ".log", "key"):
        assert any(said in sentence for sentence in overdue) or said in {".log", "work"}, said
    assert any(str(mortal.work_dir) in sentence for sentence in overdue)
    assert any(str(mortal.logs_dir) in sentence for sentence in overdue)
    assert any(str(mortal.drop_dir) in sentence for sentence in overdue)

    outcome = job.run(late, run_id="1")
    assert outcome.overdue == ()
    assert not (aside / "fines.csv").exists()
    assert not (scratch / "delivered").exists()
    assert not closed.exists()
    assert (mortal.logs_dir / "seaweedfs.log").exists()
    assert city.objects(mortal, "lake", "candidates/") == []
    assert city.objects(mortal, "landing") == []
    assert f"tows/{today:%Y-%m}" in outcome.keys


def test_a_file_that_waits_is_not_forgotten(mortal: Settings) -> None:
    folder = mortal.drop_dir / "tows"
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("waiting.csv", "abandoned.csv.part"):
        (folder / name).write_text("bytes")
    job.run(city.at(mortal, city.today() + timedelta(days=8)), run_id="1")
    assert [path.name for path in folder.iterdir() if path.is_file()] == ["waiting.csv"]
    (folder / "waiting.csv").unlink()


@pytest.mark.parametrize("parked", [False, True])
def test_a_delivery_that_was_never_read_is_refused_when_its_bytes_go(
    mortal: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, parked: bool
) -> None:
    record = city.tow(city.today(), "AB-777-CD")
    city.drop(mortal, "tows", [record], tmp_path)
    with database.connect(mortal, "steward", "lake") as connection:
        [waiting] = registry.landed_deliveries(connection, "tows")
    if parked:
        with monkeypatch.context() as patch:
            patch.setattr(pipeline, "recognise", mock.Mock(side_effect=ValueError))
            assert [receipt.status for receipt in pipeline.ingest(mortal, "tows")] == ["parked"]
    outcome = job.run(city.at(mortal, city.today() + timedelta(days=8)), run_id="1")
    assert outcome.expired == (f"tows/{waiting.delivery_id}",)
    assert pipeline.ingest(mortal, "tows") == []
    with database.connect(mortal, "steward", "lake") as connection:
        known = registry.delivery(connection, "tows", waiting.delivery_id)
    assert known is not None
    assert known.status == "refused"
    assert "deliver the file again" in str(known.reason)
    city.drop(mortal, "tows", [record], tmp_path)
    [receipt] = pipeline.ingest(mortal, "tows")
    assert receipt.delivery_id == waiting.delivery_id
    assert receipt.status == "committed"


@pytest.mark.long
def test_killed_anywhere_and_run_again(mortal: Settings, tmp_path: Path) -> None:
    today = city.today()
    young = today - timedelta(days=2)
    gone = city.at(mortal, add_months(today, 13) - timedelta(days=10))

    def deliver_old(number: int) -> bytes:
        """A fine of a month of its own, past its time when the job runs: keys of the month are gone after a run."""
        old, plate = today - timedelta(days=40 + 40 * number), f"KK{500 + number}KK"
        [receipt] = city.deliver(mortal, "verbalisations", [city.fine(old, plate)], tmp_path)
        assert receipt.tally.accepted == 1
        return city.pseudonym(mortal, "verbalisations", plate, old)

    def start(step: int) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, **gone.environment(), "PYTHONPATH": str(Path(__file__).parents[3])}
        command = (sys.executable, KILLER, str(step))
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)

    city.deliver(mortal, "verbalisations", [city.fine(young, "KK-400-KK")], tmp_path)
    aliases = [deliver_old(0)]
    undisturbed = start(0)
    assert undisturbed.returncode == 0, undisturbed.stderr
    steps = int(undisturbed.stdout)
    assert steps > 50
    for number, part in enumerate((0.4, 0.6, 0.85), start=1):
        aliases.append(deliver_old(number))
        killed = start(round(steps * part))
        assert killed.returncode == -signal.SIGKILL, killed.stderr
        outcome = job.run(gone, run_id=f"after-{number}")
        assert outcome.overdue == ()
        assert city.rows(mortal, "verbalisations")["event_date"].to_list() == [young]
    assert city.anywhere(mortal, *aliases) == []


def test_beside_a_running_ingestion_nothing_is_lost(mortal: Settings, tmp_path: Path) -> None:
    today = city.today()
    before = city.rows(mortal, "tows").height

    def ingest() -> int:
        days = [today - timedelta(days=200 + number % 3) for number in range(8)]
        receipts = [city.deliver(mortal, "tows", [city.tow(day, "AA-001-AA")], tmp_path) for day in days]
        return sum(receipt.tally.accepted for done in receipts for receipt in done)

    [dataset] = silos()["tows"].datasets
    holding = ConformedHolding(mortal, "tows", dataset, retention_limits.conformed("tows"), clock.now(mortal))
    cleaned = []
    with ThreadPoolExecutor(1) as pool:
        ingestion = pool.submit(ingest)
        while not ingestion.done():
            cleaned.append(holding.clean().objects)
    assert sum(1 for objects in cleaned if objects) > 1
    assert city.rows(mortal, "tows").height == before + ingestion.result() == before + 8
    assert job.check(mortal)[1] == ()


def test_a_zone_that_cannot_be_cleaned_does_not_stop_the_others(
    mortal: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    city.deliver(mortal, "tows", [city.tow(city.today() - timedelta(days=300), "AA-002-AA")], tmp_path)
    late = city.at(mortal, city.today() + timedelta(days=8))

    def broken(holding: ConformedHolding) -> Tally:
        raise OSError("no route to the store")

    with monkeypatch.context() as patched:
        patched.setattr(ConformedHolding, "clean", broken)
        outcome = job.run(late, run_id="broken")
    assert "conformed/tows could not be cleaned: OSError: no route to the store" in outcome.failures
    assert city.objects(mortal, "landing") == []
    told = object_store.get_json(object_store.client(mortal, "steward"), "receipts", outcome.receipt_key)
    assert told["runs"][-1]["failures"] == list(outcome.failures)
    assert job.run(late, run_id="mended").failures == ()
