"""The supervisor: supervisord, which keeps the services running, restarts what dies and rotates the logs.

It is driven over a unix socket that only its owner may open, and that asks for a generated password all the same.
"""

from __future__ import annotations

import http.client
import os
import subprocess
import sys
import time
import xmlrpc.client
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from infra import secrets
from infra.machines.services import processes, remedies
from infra.machines.services.model import Service, ServiceError
from infra.machines.services.places import socket_dir, write_private
from infra.settings import PRIVATE, Settings

_USER = "calanque"
_LOG_BYTES = 10 * 1024 * 1024
_LOG_BACKUPS = 3
_UNREACHABLE = (OSError, http.client.HTTPException, xmlrpc.client.ProtocolError)

# supervisord's process states
RUNNING = "RUNNING"
STOPPED = frozenset({"STOPPED", "EXITED", "FATAL"})
FAILED = frozenset({"EXITED", "FATAL"})


@dataclass(frozen=True)
class ProcessState:
    """What the supervisor says of one service."""

    name: str
    state: str
    pid: int
    started_at: int  # seconds since the epoch; 0 when it never ran
    detail: str


class Supervisor:
    """The supervisor of one lake."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def log_file(self, name: str) -> Path:
        return self._settings.logs_dir / f"{name}.log"

    def configure(self, services: Iterable[Service]) -> bool:
        """Write the configuration for these services; whether it differs from the one written before."""
        return write_private(self._settings.run_dir / "supervisord.conf", self._configuration(tuple(services)))

    def is_alive(self) -> bool:
        """Whether the supervisor answers."""
        try:
            return bool(self._call("getState")["statename"] == RUNNING)
        except _UNREACHABLE:
            return False

    def start(self) -> None:
        """Start the supervisor itself, with no service running yet.

        Raises:
            ServiceError: it did not come up.
        """
        self._settings.logs_dir.mkdir(parents=True, exist_ok=True)
        before = self.log_size("supervisor")
        self._socket().unlink(missing_ok=True)
        environment = {
            **os.environ,
            **processes.marks(self._settings, "supervisor"),
            "CALANQUE_HOME": str(self._settings.home),
        }
        outcome = subprocess.run(
            (sys.executable, "-m", "supervisor.supervisord", "-c", str(self._settings.run_dir / "supervisord.conf")),
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            cwd=self._settings.run_dir,
        )
        deadline = time.monotonic() + 15
        while outcome.returncode == 0 and time.monotonic() < deadline:
            if self.is_alive():
                return
            time.sleep(0.05)
        said = outcome.stderr.strip() or self.tail("supervisor", before)
        remedy = remedies.of(said, f"see {self.log_file('supervisor')}")
        raise ServiceError(f"the supervisor did not start: {said}\nWhat to do: {remedy}; then `calanque up` again.")

    def states(self) -> dict[str, ProcessState]:
        """The state of every service by name; empty when the supervisor does not answer."""
        try:
            answers = self._call("getAllProcessInfo")
        except _UNREACHABLE:
            return {}
        return {
            answer["name"]: ProcessState(
                name=answer["name"],
                state=answer["statename"],
                pid=answer["pid"],
                started_at=answer["start"],
                detail=answer["spawnerr"] or answer["description"],
            )
            for answer in answers
        }

    def launch(self, name: str) -> None:
        """Ask for a service to be started, unless it already runs."""
        try:
            self._call("startProcess", name, False)
        except xmlrpc.client.Fault as fault:
            if "ALREADY_STARTED" not in fault.faultString:
                raise ServiceError(f"the supervisor could not start {name}: {fault.faultString}") from None

    def stop(self, names: Iterable[str], *, seconds: float) -> None:
        """Stop services, all at once, and wait until they have gone (at most ``seconds``)."""
        pending = set(names)
        for name in pending:
            try:
                self._call("stopProcess", name, False)
            except xmlrpc.client.Fault as fault:
                if "NOT_RUNNING" not in fault.faultString:
                    raise ServiceError(f"the supervisor could not stop {name}: {fault.faultString}") from None
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            states = self.states()
            if all(name not in states or states[name].state in STOPPED for name in pending):
                return
            time.sleep(0.05)

    def shut_down(self, *, seconds: float) -> None:
        """Ask the supervisor to stop whatever still runs and to go; wait at most ``seconds`` for it."""
        try:
            self._call("shutdown")
        except _UNREACHABLE:
            return
        deadline = time.monotonic() + seconds
        while self.is_alive_at_all() and time.monotonic() < deadline:
            time.sleep(0.05)

    def is_alive_at_all(self) -> bool:
        """Whether a process of the supervisor exists, whether or not it answers."""
        return any(name == "supervisor" for name, _ in processes.of_lake(self._settings))

    def log_size(self, name: str) -> int:
        """How many bytes a service has written to its log so far."""
        try:
            return self.log_file(name).stat().st_size
        except FileNotFoundError:
            return 0

    def tail(self, name: str, since: int, lines: int = 15) -> str:
        """The last lines that a service wrote to its log after byte ``since``."""
        try:
            with self.log_file(name).open("rb") as stream:
                size = stream.seek(0, os.SEEK_END)
                # A log that is shorter than it was has been rotated: all of it is new.
                stream.seek(max(since if since <= size else 0, size - 20_000))
                text = stream.read().decode(errors="replace")
        except FileNotFoundError:
            return ""
        return "\n".join(text.splitlines()[-lines:])

    def _socket(self) -> Path:
        return socket_dir(self._settings) / "supervisor.sock"

    def _call(self, method: str, *arguments: Any) -> Any:
        from supervisor.xmlrpc import SupervisorTransport

        password = secrets.read_or_generate(self._settings, "supervisor")
        transport: xmlrpc.client.Transport = SupervisorTransport(  # type: ignore[no-untyped-call]
            _USER, password, f"unix://{self._socket()}"
        )
        with xmlrpc.client.ServerProxy("http://127.0.0.1", transport=transport) as proxy:
            return getattr(proxy.supervisor, method)(*arguments)

    def _configuration(self, services: tuple[Service, ...]) -> str:
        password = secrets.read_or_generate(self._settings, "supervisor")
        run, logs = self._settings.run_dir, self._settings.logs_dir
        sections: dict[str, dict[str, object]] = {
            "unix_http_server": {"file": self._socket(), "chmod": "0700", "username": _USER, "password": password},
            "supervisord": {
                "logfile": self.log_file("supervisor"),
                "logfile_maxbytes": _LOG_BYTES,
                "logfile_backups": _LOG_BACKUPS,
                "pidfile": run / "supervisord.pid",
                "childlogdir": logs,
                "umask": f"{PRIVATE:o}",
                "minfds": 1024,
            },
            "rpcinterface:supervisor": {
                "supervisor.rpcinterface_factory": "supervisor.rpcinterface:make_main_rpcinterface"
            },
        }
        for service in services:
            sections[f"program:{service.name}"] = {
                "command": f'"{sys.executable}" -m infra.machines.services.launch {service.name}',
                "environment": ",".join(
                    f'{key}="{value}"'
                    for key, value in {
                        **_as_environment(self._settings),
                        **processes.marks(self._settings, service.name),
                    }.items()
                ),
                "autostart": "false",
                "autorestart": "true",
                "startsecs": 2,
                "startretries": 3,
                "stopsignal": service.stop_signal,
                "stopwaitsecs": service.stop_seconds,
                "killasgroup": "true",
                "redirect_stderr": "true",
                "stdout_logfile": self.log_file(service.name),
                "stdout_logfile_maxbytes": _LOG_BYTES,
                "stdout_logfile_backups": _LOG_BACKUPS,
            }
        return "\n".join(
            f"[{title}]\n" + "".join(f"{key}={str(value).replace('%', '%%')}\n" for key, value in options.items())
            for title, options in sections.items()
        )


def _as_environment(settings: Settings) -> dict[str, str]:
    """The settings as the variables they are read from, so that every service, and every task, has the same."""
    values = settings.model_dump(mode="json", exclude={"quiet"}, exclude_none=True)
    return {f"CALANQUE_{name.upper()}": str(value) for name, value in values.items()}
