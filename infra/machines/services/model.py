"""What a service is: a command to keep running, and how to know that it works."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from infra.errors import ExpectedError


class ServiceError(ExpectedError, RuntimeError):
    """A service could not be started, stopped or reached; the message says which, why, and what to do."""


class NotReady(Exception):
    """The service runs but does not answer as it should yet; the message says what it answered."""


@dataclass(frozen=True)
class Service:
    """One server process, kept running by the supervisor.

    ``ready`` returns when the service does its work and raises :class:`NotReady` when it does not yet. ``configure``
    writes the service's configuration files and says whether they changed. ``prepare`` runs in the service's own
    process just before ``command`` replaces it, each time, so that a restart after a crash finds its files in order.
    ``leavings`` are files that a killed server leaves and that would be in the way of the next one.
    ``start_seconds`` is how long it may stand still while it starts: write nothing to its log, compute nothing.
    ``told_by`` are services without which nobody can tell whether this one works.
    ``environment`` may hold secrets, so it is asked for in that process too.
    ``remedy`` is what to do when it does not start and says no reason that :mod:`infra.machines.services.remedies`
    knows. ``account`` is the system account to run as when the lake is started by root; ``places`` are the files and
    folders that it has to reach.
    """

    name: str
    command: tuple[str, ...]
    directory: Path
    ready: Callable[[], None]
    remedy: str
    environment: Callable[[], Mapping[str, str]] = dict
    configure: Callable[[], bool] | None = None
    prepare: Callable[[], None] | None = None
    leavings: tuple[Path, ...] = ()
    account: str | None = None
    places: Callable[[], Iterable[Path]] = tuple
    stop_signal: str = "TERM"
    stop_seconds: int = 15
    start_seconds: int = 60
    told_by: tuple[str, ...] = ()
    ports: tuple[int, ...] = ()
