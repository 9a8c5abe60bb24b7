"""kill -9 anywhere between the drop folder and the tables, then once more: nothing lost, nothing doubled."""

from __future__ import annotations

import hashlib
import signal
import subprocess
import sys
import uuid
from pathlib import Path

import essai
import polars as pl
import pytest

from infra import database, object_store, registry
from infra.settings import Settings
from ingestion import pipeline
from ingestion.delivery import landing
from ingestion.register import Silo

pytestmark = [pytest.mark.live, pytest.mark.slow]

WORKER = Path(__file__).with_name("crash_worker.py")


def start(lake: Settings, silo: Silo, step: int) -> subprocess.Popen[str]:
    command = [sys.executable, str(WORKER), str(lake.home), silo.name, str(step)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def contents(*rows: tuple[int, int, int]) -> bytes:
    return essai.csv(essai.RECORDS, [(f"r{r}", essai.day(d), v, f"P{r}") for r, d, v in rows])


FIRST = contents((1, 0, 1), (2, 0, 1), (3, 1, 1), (1, 2, -1))
BY_KEY = contents((2, 1, 2), (4, 5, 2))  # record 2 moves to another day
DECLARED = contents((1, 0, 3))  # stands for FIRST, of which only record 3 was left
EXPECTED = [("r1", essai.day(0), 3), ("r2", essai.day(1), 2), ("r4", essai.day(5), 2)]


def deliver(lake: Settings, silo: Silo) -> None:
    with essai.registered(silo):
        essai.deliver(lake, silo.name, "1.csv", FIRST)
        essai.deliver(lake, silo.name, "2.csv", BY_KEY)
        essai.deliver(lake, silo.name, "3.csv", DECLARED, corrects=hashlib.sha256(FIRST).hexdigest())


def check(lake: Settings, silo: Silo, *, undisturbed: bool = False) -> None:
    """The state in which one undisturbed run would have left the lake."""
    assert [path.name for path in (lake.drop_dir / silo.name).iterdir()] == []
    table = essai.table(lake, silo.datasets[0])
    assert table.select("record", "event_date", "value").sort("record").rows() == EXPECTED
    with database.connect(lake, "steward", "lake") as connection:
        [totals] = [line for line in registry.report(connection) if line.silo == silo.name]
        query = "select days from registry.commit where silo = %s order by seq"
        commits = connection.execute(query, [silo.name]).fetchall()
    assert (totals.deliveries, totals.committed, totals.landed, totals.refused) == (3, 3, 0, 0)
    assert (totals.rows_in, totals.accepted, totals.quarantined) == (7, 6, 1)
    in_order = [
        [essai.day(0), essai.day(1)],
        [essai.day(0), essai.day(1), essai.day(5)],
        [essai.day(0), essai.day(1)],
    ]
    if undisturbed:
        assert [days for (days,) in commits] == in_order
    else:  # a delivery that was being read when its process was killed is tried last: the order may differ
        assert len(commits) == len(in_order)
        assert {day for (days,) in commits for day in days} == {day for days in in_order for day in days}
    store = object_store.client(lake, "pipeline")
    for content in (FIRST, BY_KEY, DECLARED):
        identity = hashlib.sha256(content).hexdigest()
        receipt = essai.receipt(lake, silo.name, identity)
        assert receipt["rows_in"] == receipt["accepted"] + receipt["quarantined"]
        for output in receipt["outputs"]:
            stored = object_store.get_bytes(store, "lake", output["key"])
            assert hashlib.sha256(stored).hexdigest() == output["sha256"]
            assert pl.read_parquet(stored).height == output["rows"]


@pytest.mark.long
def test_killed_anywhere_and_run_again(lake: Settings) -> None:
    for _ in range(2):  # the first of a lake makes one database statement more
        undisturbed = essai.make(f"essai_{uuid.uuid4().hex[:12]}")
        deliver(lake, undisturbed)
        process = start(lake, undisturbed, 0)
        out, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
        check(lake, undisturbed, undisturbed=True)

    steps = int(out)
    assert steps > 100
    killed_at = sorted({1 + round(number * (steps - 1) / 7) for number in range(8)})
    for step in killed_at:
        silo = essai.make(f"essai_{uuid.uuid4().hex[:12]}")
        deliver(lake, silo)
        process = start(lake, silo, step)
        out, _ = process.communicate(timeout=120)
        assert process.returncode == -signal.SIGKILL, f"step {step} of {steps}: it took {out}"
        with essai.registered(silo):
            landing.sweep(lake, silo.name)
            pipeline.ingest(lake, silo.name)
        check(lake, silo)


def test_killed_again_and_again_until_it_is_done(lake: Settings) -> None:
    silo = essai.make(f"essai_{uuid.uuid4().hex[:12]}")
    deliver(lake, silo)
    for step in (40, 90, 110, 0):
        process = start(lake, silo, step)
        _, err = process.communicate(timeout=120)
        assert process.returncode in (-signal.SIGKILL, 0), err
    assert process.returncode == 0
    check(lake, silo)


def test_processes_at_once_on_one_silo(lake: Settings) -> None:
    silo = essai.make(f"essai_{uuid.uuid4().hex[:12]}")
    deliver(lake, silo)
    processes = [start(lake, silo, 0) for _ in range(3)]
    for process in processes:
        _, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
    with essai.registered(silo):
        landing.sweep(lake, silo.name)
        pipeline.ingest(lake, silo.name)
    check(lake, silo)
