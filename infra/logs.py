"""Structured logs: what a lake does, as lines of JSON that say which delivery, silo, run and stage they are about.

Work is done inside :func:`stage`, and what concerns one delivery inside :func:`context`: whatever is logged there
through the standard ``logging`` goes to ``home/logs/pipeline/<UTC day>.jsonl`` as well, with those fields. In a task of
Airflow, which logs through structlog, the same fields are in the task's own log. A file is written to by every process
of the lake, a line at a time, and no more once its day is over: retention removes it like any other log.

Lines hold sentences of our own and figures. Of an exception there is its type and place, never its message, which may
quote a value of a delivery.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import traceback
import uuid
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from contextvars import ContextVar
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from infra.settings import Settings

PACKAGES: Final = ("calanque", "infra", "ingestion", "privacy", "publication", "stewardship")
FOLDER: Final = "pipeline"

_PROCESS: Final = f"process-{uuid.uuid4().hex[:12]}"
# What Airflow tells a task of itself, by the name it has in our lines.
_OF_AIRFLOW: Final = {
    "run_id": "AIRFLOW_CTX_DAG_RUN_ID",
    "dag_id": "AIRFLOW_CTX_DAG_ID",
    "task_id": "AIRFLOW_CTX_TASK_ID",
    "try_number": "AIRFLOW_CTX_TRY_NUMBER",
}

_fields: ContextVar[Mapping[str, Any]] = ContextVar("calanque_log_fields", default={})  # noqa: B039 - never changed
_folder: ContextVar[Path | None] = ContextVar("calanque_log_folder", default=None)


@contextmanager
def stage(settings: Settings, name: str, **fields: Any) -> Iterator[None]:
    """Log to this lake's lines what happens inside, as stage ``name`` of the current run, with these fields.

    The run is Airflow's when a task runs this, else one made up for the process. A stage within a stage is its own.
    """
    _configure()
    run: dict[str, Any] = {"run_id": _PROCESS}
    run |= {field: os.environ[variable] for field, variable in _OF_AIRFLOW.items() if variable in os.environ}
    token = _folder.set(settings.logs_dir / FOLDER)
    try:
        with context(**run, stage=name, **fields):
            yield
    finally:
        _folder.reset(token)


@contextmanager
def context(**fields: Any) -> Iterator[None]:
    """Add these fields to whatever is logged inside."""
    token = _fields.set({**_fields.get(), **fields})
    with ExitStack() as undo:
        # Airflow's tasks have it; loading it where nobody does would only cost time.
        if "structlog" in sys.modules:
            from structlog.contextvars import bound_contextvars  # noqa: PLC0415

            undo.enter_context(bound_contextvars(**fields))
        try:
            yield
        finally:
            _fields.reset(token)


def tell(log: logging.Logger, sentence: str, **fields: Any) -> None:
    """Log one sentence with figures or names of its own beside it."""
    with context(**fields):
        log.info(sentence, stacklevel=2)


def read(settings: Settings) -> Iterator[dict[str, Any]]:
    """Every line that is kept, the oldest file first, each file in the order in which it was written."""
    for path in sorted((settings.logs_dir / FOLDER).glob("*.jsonl")):
        with path.open(encoding="utf-8") as lines:
            for line in lines:
                with suppress(json.JSONDecodeError):  # cut short when a disk was full
                    yield json.loads(line)


class _Lines(logging.Handler):
    """Appends each record to the file of its day, in one write, so that lines of several processes never mix."""

    def emit(self, record: logging.LogRecord) -> None:
        # The interpreter's own last resort (warnings to standard error) ends where any handler is found: keep it.
        if not logging.root.handlers and logging.lastResort and record.levelno >= logging.lastResort.level:
            logging.lastResort.handle(record)
        folder = _folder.get()
        if folder is None:
            return
        at = datetime.fromtimestamp(record.created, UTC)
        line = {
            "at": at.isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            **_fields.get(),
            "event": record.getMessage(),
            "logger": record.name,
        }
        if record.exc_info and record.exc_info[0] is not None:
            line["error"] = record.exc_info[0].__name__
            frames = traceback.extract_tb(record.exc_info[2])[-6:]
            line["error_at"] = [f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in frames]
        data = json.dumps(line, ensure_ascii=False, default=str).encode(errors="backslashreplace") + b"\n"
        with suppress(OSError):  # a log that cannot be written, on a full disk say, must not stop the work
            _append(folder / f"{at.date()}.jsonl", data)


def _append(path: Path, data: bytes) -> None:
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
    try:
        descriptor = os.open(path, flags, 0o600)
    except FileNotFoundError:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(path, flags, 0o600)
    try:
        os.write(descriptor, data)
    finally:
        os.close(descriptor)


_HANDLER: Final = _Lines()


def _configure() -> None:
    """Have our packages' loggers write lines; once per process, though whoever configures logging may undo it."""
    for name in PACKAGES:
        logger = logging.getLogger(name)
        if _HANDLER not in logger.handlers:
            logger.addHandler(_HANDLER)
            if logger.level == logging.NOTSET:
                logger.setLevel(logging.INFO)
