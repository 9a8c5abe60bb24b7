"""Lines of the log: what is in them, what never is, and that processes do not get into each other's way."""

from __future__ import annotations

import json
import logging
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import structlog

from infra import logs
from infra.settings import Settings

LOG = logging.getLogger("ingestion.test_logs")


@pytest.fixture
def home(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path)


def lines(settings: Settings) -> list[dict[str, Any]]:
    return list(logs.read(settings))


def test_a_line_says_what_it_is_about(home: Settings) -> None:
    with logs.stage(home, "ingest", silo="tows"):
        LOG.info("begun")
        with logs.context(delivery_id="d1"):
            LOG.warning("%d rows", 3)
            logs.tell(LOG, "settled", rows_in=3)
        LOG.info("done")
    LOG.info("outside")
    told = lines(home)
    assert [line["event"] for line in told] == ["begun", "3 rows", "settled", "done"]
    assert {(line["stage"], line["silo"]) for line in told} == {("ingest", "tows")}
    assert len({line["run_id"] for line in told}) == 1
    assert [line.get("delivery_id") for line in told] == [None, "d1", "d1", None]
    assert [line["level"] for line in told] == ["info", "warning", "info", "info"]
    assert told[2]["rows_in"] == 3
    assert "rows_in" not in told[3]


def test_a_name_that_is_no_text_stops_nobody(home: Settings) -> None:
    script = """
import logging, os, sys
from pathlib import Path
from infra import logs
from infra.settings import Settings
with logs.stage(Settings(home=Path(sys.argv[1])), "ingest"):
    logging.getLogger("ingestion.test_logs").warning("a name: %s", os.fsdecode(b"\\x80.csv"))
"""
    # In a process of its own: pytest's workers cannot tell each other of such a name.
    subprocess.run((sys.executable, "-c", script, home.home), check=True)
    assert [ascii(line["event"]) for line in lines(home)] == [r"'a name: \udc80.csv'"]


def test_the_run_is_airflows_where_there_is_one(home: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CTX_DAG_RUN_ID", "scheduled__1")
    monkeypatch.setenv("AIRFLOW_CTX_TASK_ID", "ingest")
    with logs.stage(home, "ingest"):
        LOG.info("here")
    (line,) = lines(home)
    assert (line["run_id"], line["task_id"]) == ("scheduled__1", "ingest")


def test_an_exception_is_told_without_its_words(home: Settings) -> None:
    with logs.stage(home, "ingest"):
        try:
            int("AB-123-CD")
        except ValueError:
            LOG.exception("it failed")
    (line,) = lines(home)
    assert line["error"] == "ValueError"
    assert line["error_at"]
    assert "AB-123-CD" not in json.dumps(line)


def test_files_are_their_owners_only(home: Settings) -> None:
    with logs.stage(home, "land"):
        LOG.info("here")
    (path,) = (home.logs_dir / logs.FOLDER).iterdir()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_log_that_cannot_be_written_stops_nobody(tmp_path: Path) -> None:
    (tmp_path / "logs").write_text("in the way")
    with logs.stage(Settings(home=tmp_path), "land"):
        LOG.info("here")


def test_structured_loggers_have_the_fields_as_well(home: Settings) -> None:
    with logs.stage(home, "ingest", silo="tows"), logs.context(delivery_id="d1"):
        bound = structlog.contextvars.get_contextvars()
        assert (bound["silo"], bound["delivery_id"], bound["stage"]) == ("tows", "d1", "ingest")
    assert "delivery_id" not in structlog.contextvars.get_contextvars()


def test_warnings_reach_standard_error_where_nobody_configured_logging(tmp_path: Path) -> None:
    program = (
        "import logging; from infra import logs; from infra.settings import Settings\n"
        "with logs.stage(Settings(), 'land'):\n"
        "    logging.getLogger('ingestion.x').info('quiet'); logging.getLogger('ingestion.x').warning('loud')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "CALANQUE_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr.split() == ["loud"]
    assert [line["event"] for line in lines(Settings(home=tmp_path))] == ["quiet", "loud"]


def test_lines_of_several_processes_do_not_mix(tmp_path: Path) -> None:
    program = (
        "import logging; from infra import logs; from infra.settings import Settings\n"
        "with logs.stage(Settings(), 'land', filler='x' * 3000):\n"
        "    [logging.getLogger('infra.x').info('line %d', n) for n in range(200)]\n"
    )
    environment = {**os.environ, "CALANQUE_HOME": str(tmp_path)}
    running = [subprocess.Popen([sys.executable, "-c", program], env=environment) for _ in range(3)]
    assert [process.wait() for process in running] == [0, 0, 0]
    (path,) = (tmp_path / "logs" / logs.FOLDER).iterdir()
    whole = [json.loads(line) for line in path.read_text().splitlines()]
    assert len(whole) == 600
    assert all(len(line["filler"]) == 3000 for line in whole)
