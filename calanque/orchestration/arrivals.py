"""A file that appears in a drop folder is an event: the triggerer watches, so that no worker waits for it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from airflow.triggers.base import BaseEventTrigger, TriggerEvent

from infra.settings import Settings
from ingestion.delivery.arrivals import Arrival, waiting

_log = logging.getLogger(__name__)


class DropFolder(BaseEventTrigger):
    """Fires when a file is complete in the drop folder of ``silo``: seen twice, ``seconds`` apart, without a change.

    A file is announced once; one that stays where it is (landing failed, say) is left to the silo's cadence. After a
    restart everything that waits is announced again, which costs a run that may find nothing to do.
    """

    def __init__(self, silo: str, seconds: float = 1.0) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.silo = silo
        self.seconds = seconds

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return f"{__name__}.{type(self).__name__}", {"silo": self.silo, "seconds": self.seconds}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        folder = Settings().drop_dir / self.silo
        before: set[Arrival] = set()
        announced: set[Arrival] = set()
        while True:
            seen = await asyncio.to_thread(_look, folder)
            complete = seen & before
            if complete - announced:
                yield TriggerEvent({"silo": self.silo, "files": len(complete - announced)})
            announced = complete
            before = seen
            await asyncio.sleep(self.seconds)


class DropBucket(BaseEventTrigger):
    """Fires when a partner has put something for ``silo`` into the object store, where whatever is there is complete.

    Looks every ``seconds``, once a partner may put anything at all; otherwise as :class:`DropFolder`.
    """

    def __init__(self, silo: str, seconds: float = 5.0) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.silo = silo
        self.seconds = seconds

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return f"{__name__}.{type(self).__name__}", {"silo": self.silo, "seconds": self.seconds}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        announced: set[Any] = set()
        while True:
            seen = await asyncio.to_thread(_put, self.silo)
            if seen is not None:
                if seen - announced:
                    yield TriggerEvent({"silo": self.silo, "files": len(seen - announced)})
                announced = seen
            await asyncio.sleep(self.seconds)


def _put(silo: str) -> set[Any] | None:
    """What waits in the object store; None when it does not answer."""
    from ingestion.delivery import collecting

    try:
        return set(collecting.waiting(Settings(), silo))
    except Exception as error:  # it comes back; landing tells whoever has to know
        _log.warning("bucket %s cannot be listed: %s", collecting.BUCKET, type(error).__name__)
        return None


def _look(folder: Path) -> set[Arrival]:
    try:
        return set(waiting(folder))
    except OSError as error:  # a mount that is away comes back; landing tells whoever has to know
        _log.warning("drop folder %s cannot be read: %s", folder, error.strerror)
        return set()
