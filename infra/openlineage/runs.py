"""Telling of a run as it happens: that it started, and how it ended, with what it read and wrote."""

from __future__ import annotations

import logging
import os
import secrets as entropy
import time
import traceback
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

from infra.openlineage import facets, outbox
from infra.openlineage.facets import Facets
from infra.openlineage.names import Name
from infra.settings import Settings

# The names that OpenLineage gives to the variables by which a run tells the programs it starts who started them.
PARENT = "OPENLINEAGE_PARENT_ID"
ROOT = "OPENLINEAGE_ROOT_PARENT_ID"

log = logging.getLogger(__name__)


@contextmanager
def never_failing() -> Iterator[None]:
    """What goes wrong inside is logged, by type and place, and goes no further: lineage must not stop the work."""
    try:
        yield
    except Exception as error:  # whatever it is
        frame = traceback.extract_tb(error.__traceback__)[-1]
        log.warning("lineage could not be told: %s at %s:%s", type(error).__name__, frame.name, frame.lineno)


def new_id() -> str:
    """A UUID of version 7, which OpenLineage recommends: its beginning is the time, so that runs sort by it."""
    stamp = time.time_ns() // 1_000_000
    value = stamp << 80 | 0x7 << 76 | entropy.randbits(12) << 64 | 0b10 << 62 | entropy.randbits(62)
    return str(uuid.UUID(int=value))


@dataclass(frozen=True)
class Dataset:
    """A dataset that a run read or wrote. ``facets`` are true of it always, ``of_run`` of this run's share of it."""

    name: Name
    facets: Mapping[str, Any] = field(default_factory=dict)
    of_run: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Run:
    """One run of a job. Each method keeps an event; none raises, and none waits for a backend."""

    settings: Settings
    job: str
    job_facets: Mapping[str, Any] = field(default_factory=dict)
    run_id: str = field(default_factory=new_id)
    parent: Facets | None = None

    @property
    def id_in_environment(self) -> str:
        """The run as :data:`PARENT` holds it."""
        return f"{self.settings.openlineage_namespace}/{self.job}/{self.run_id}"

    def as_parent(self) -> Facets:
        """What a run says that was started by this one."""
        me = (Name(self.settings.openlineage_namespace, self.job), self.run_id)
        return facets.parent(*me, *(_named(os.environ.get(ROOT, "")) or me))

    def start(self, inputs: Iterable[Dataset] = ()) -> None:
        self._tell("START", {}, inputs, ())

    def complete(
        self, inputs: Iterable[Dataset] = (), outputs: Iterable[Dataset] = (), run_facets: Facets | None = None
    ) -> None:
        self._tell("COMPLETE", run_facets or {}, inputs, outputs)

    def fail(self, sentence: str, inputs: Iterable[Dataset] = (), run_facets: Facets | None = None) -> None:
        """The run failed; ``sentence`` says why and must quote no value of the data."""
        self._tell("FAIL", {**(run_facets or {}), **facets.error(sentence)}, inputs, ())

    def _tell(
        self,
        kind: Literal["START", "COMPLETE", "FAIL"],
        run_facets: Facets,
        inputs: Iterable[Dataset],
        outputs: Iterable[Dataset],
    ) -> None:
        parent = self.parent if self.parent is not None else started_by()
        event = {
            "eventType": kind,
            "eventTime": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "producer": facets.PRODUCER,
            "schemaURL": facets.EVENT_SCHEMA,
            "run": {"runId": self.run_id, "facets": {**parent, **run_facets}},
            "job": {
                "namespace": self.settings.openlineage_namespace,
                "name": self.job,
                "facets": dict(self.job_facets),
            },
            "inputs": [
                {**each.name._asdict(), "facets": dict(each.facets), "inputFacets": dict(each.of_run)}
                for each in inputs
            ],
            "outputs": [
                {**each.name._asdict(), "facets": dict(each.facets), "outputFacets": dict(each.of_run)}
                for each in outputs
            ],
        }
        outbox.keep(self.settings, event)


def started_by() -> Facets:
    """The parent that the environment names, as facets; nothing when it names none."""
    parent = _named(os.environ.get(PARENT, ""))
    if parent is None:
        return {}
    return facets.parent(*parent, *(_named(os.environ.get(ROOT, "")) or parent))


def _named(value: str) -> tuple[Name, str] | None:
    """``namespace/job/run``, as the variables hold it."""
    namespace, separator, rest = value.partition("/")
    job, _, run_id = rest.rpartition("/")
    return (Name(namespace, job), run_id) if separator and job and run_id else None
