"""Running a step in a process of its own, and the most memory that it and its children held."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from tempfile import TemporaryFile
from typing import Any

import psutil

from infra.settings import Settings

_SAMPLE_SECONDS = 0.05


class FailedError(RuntimeError):
    """A step failed; the message ends with what it said."""


@dataclass(frozen=True)
class Measured:
    """``seconds`` and ``cpu_seconds`` are the step's own, without starting Python and importing.

    ``cpu_seconds`` count every core, and children such as dbt, but not the servers of the lake. ``peak_bytes`` is
    resident memory.
    """

    seconds: float
    cpu_seconds: float
    peak_bytes: int
    found: dict[str, Any]


def watch(settings: Settings, step: str, **parameters: Any) -> Measured:
    """Run one of :data:`benchmarks.steps.STEPS` and wait for it.

    The peak is of the process and its descendants (dbt, for instance) together, sampled twenty times a second: what the
    system itself remembers of a process includes the one that forked it.

    Raises:
        FailedError: it exited with an error.
    """
    command = [sys.executable, "-m", "benchmarks.steps", step, json.dumps(parameters)]
    with TemporaryFile() as answer, TemporaryFile() as complaints:
        process = subprocess.Popen(
            command, env={**os.environ, **settings.environment()}, stdout=answer, stderr=complaints
        )
        try:
            peak = _wait(process)
        finally:
            process.kill()  # interrupted: nothing of it may go on beside what is cleaned up
            process.wait()
        answer.seek(0)
        complaints.seek(0)
        if process.returncode != 0:
            said = complaints.read().decode(errors="replace").strip()[-2000:]
            raise FailedError(f"step {step} {parameters} failed:\n{said}")
        found = json.loads(answer.read().splitlines()[-1])
    return Measured(found.pop("seconds"), found.pop("cpu_seconds"), peak, found)


def _wait(process: subprocess.Popen[bytes]) -> int:
    tree, peak = psutil.Process(process.pid), 0
    while process.poll() is None:
        peak = max(peak, _resident(tree))
        time.sleep(_SAMPLE_SECONDS)
    return peak


def _resident(tree: psutil.Process) -> int:
    total = 0
    try:
        members = [tree, *tree.children(recursive=True)]
    except psutil.NoSuchProcess:
        return 0
    for member in members:
        try:
            total += member.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return total
