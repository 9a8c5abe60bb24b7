"""A lake that its tests may break: two test silos beside real marts, and the words its users are told."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from infra.machines.services import lake as services
from infra.machines.services.supervision import Supervisor
from infra.settings import Settings
from ingestion import pipeline
from ingestion.delivery import landing
from tests.ingestion import essai

STOP_SECONDS = 60


@contextmanager
def home() -> Iterator[Settings]:
    """A home of its own, nothing running in it yet; whatever runs in it at the end is stopped."""
    folder = Path(tempfile.mkdtemp(prefix="calanque-fault-"))
    folder.chmod(0o755)
    settings = Settings(home=folder, quiet=True, drill=True)
    try:
        yield settings
    finally:
        services.down(settings)
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def without(settings: Settings, service: str) -> Iterator[None]:
    """A service that is down and stays down, until it is started again and works."""
    Supervisor(settings).stop({service}, seconds=STOP_SECONDS)
    try:
        yield
    finally:
        services.up(settings, airflow=False)


def calanque(settings: Settings, *arguments: str) -> subprocess.CompletedProcess[str]:
    """What the command line answers, as its user sees it."""
    command = [sys.executable, "-m", "calanque.cli", *arguments]
    environment = {**os.environ, **settings.environment(), "COLUMNS": "400"}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def eventually(condition: Callable[[], bool], seconds: float = 90) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not true within {seconds} s"
        time.sleep(0.2)


def records(*numbers: int) -> bytes:
    """A delivery of the test silo: these records, each of one day."""
    return essai.csv(essai.RECORDS, [(f"r{number}", essai.day(0), number, f"P{number}") for number in numbers])


def drop(settings: Settings, silo: essai.Silo, name: str, *numbers: int) -> None:
    with essai.registered(silo):
        essai.deliver(settings, silo.name, name, records(*numbers))


def sweep_and_ingest(settings: Settings, *silos: essai.Silo) -> list[str]:
    """The work of the landing DAGs; what became of each delivery, or was said of the silo."""
    said: list[str] = []
    with essai.registered(*silos):
        for silo in silos:
            try:
                landing.sweep(settings, silo.name)
                said += [f"{receipt.file_name} {receipt.status}" for receipt in pipeline.ingest(settings, silo.name)]
            except pipeline.IngestionError as failure:
                said.append(str(failure))
    return said


def contents(settings: Settings, silo: essai.Silo) -> list[str]:
    """The records of the conformed table; one that is there twice is twice in the list."""
    with essai.registered(silo):
        return sorted(essai.table(settings, silo.datasets[0])["record"])
