"""The processes of a lake, found by what they carry, whoever their parent is by now.

A supervisor that was killed leaves its services running, and a scheduler that was killed leaves its workers. Each
process started for a lake carries the lake's home in its environment and passes it on to its children, so that what is
left can be recognised and stopped.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import psutil

from infra.endpoints import beside_proxies
from infra.settings import Settings

HOME_MARK = "CALANQUE_SERVICE_HOME"
SERVICE_MARK = "CALANQUE_SERVICE"

_ROUNDS = 5  # a process that not even SIGKILL ends is not waited for


# Variables of the calling shell that would change how a service behaves behind its configuration's back.
_FOREIGN = ("AIRFLOW", "AWS_", "PG", "WEED_", "MINIO_", "PYTHON")


def clean_environment() -> dict[str, str]:
    """The environment of the calling process, without what is not meant for the services."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(_FOREIGN)}
    return kept | beside_proxies(kept)


def marks(settings: Settings, service: str) -> dict[str, str]:
    """The environment variables that make a process, and whatever it starts, recognisable."""
    return {HOME_MARK: str(settings.home), SERVICE_MARK: service}


def _service_of(process: psutil.Process, settings: Settings) -> str | None:
    try:
        environment = process.environ()
        if environment.get(HOME_MARK) == str(settings.home):
            return environment.get(SERVICE_MARK, "unknown")
        # PostgreSQL writes its status over its environment; its working directory tells instead.
        if process.name() == "postgres" and Path(process.cwd()) == settings.data_dir / "postgres":
            return "postgres"
    except (psutil.Error, OSError):
        pass
    return None


def of_lake(settings: Settings) -> Iterator[tuple[str, psutil.Process]]:
    """Every process of this lake, with the name of its service; never the calling process or its ancestors."""
    own = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    for process in psutil.process_iter():
        if process.pid not in own and (service := _service_of(process, settings)) is not None:
            yield service, process


def computed(settings: Settings, service: str) -> float:
    """Seconds of processor time that the processes of a service have used so far."""
    seconds = 0.0
    for name, process in of_lake(settings):
        if name == service:
            with contextlib.suppress(psutil.Error):
                seconds += sum(process.cpu_times())
    return seconds


def listening(settings: Settings) -> set[tuple[str, int]]:
    """Every TCP address, host and port, that a process of this lake listens on."""
    return {
        (connection.laddr.ip, connection.laddr.port)
        for _, process in of_lake(settings)
        for connection in process.net_connections(kind="inet")
        if connection.status == psutil.CONN_LISTEN
    }


def stop_left_over(settings: Settings, service: str | None = None, *, seconds: float = 10) -> int:
    """Stop what is left of this lake, or of one of its services; returns how many processes there were.

    Asks first, in the way that makes each close its files (PostgreSQL disconnects its clients on SIGINT only), and
    kills what has not gone after ``seconds``. Looks again until nothing is found: a process that is being asked may
    have just started another.
    """
    stopped = 0
    for _ in range(_ROUNDS):
        found = [(name, process) for name, process in of_lake(settings) if service in {None, name}]
        if not found:
            break
        # The supervisor goes first and at once, so that it restarts nothing while the others stop.
        for name, process in sorted(found, key=lambda item: item[0] != "supervisor"):
            with contextlib.suppress(psutil.NoSuchProcess):
                if name == "supervisor":
                    process.kill()
                else:
                    process.send_signal(signal.SIGINT if name == "postgres" else signal.SIGTERM)
        _, alive = psutil.wait_procs([process for _, process in found], timeout=seconds)
        for process in alive:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(alive, timeout=seconds)
        stopped += len(found)
    return stopped
