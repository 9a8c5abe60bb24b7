"""The daily job: every holding cleaned, disk space given back, keys destroyed; proof that nothing is past its limit.

The proof is ``receipts/retention/<date>.json``: what each run of that day removed, by holding and silo, and what the
last one found when it listed every holding again. It is stored after each, so that a killed run has said what it did.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import psycopg
from minio import Minio
from minio.error import MinioException
from urllib3.exceptions import HTTPError

from infra import database, logs, object_store, registry
from infra.calendar import clock, trusted_clock
from infra.machines.stores.compaction import Compacted, compact
from infra.settings import Settings
from ingestion.conformed.vehicles import datasets_with_vehicles
from ingestion.contracts import retention_limits
from ingestion.delivery import arrivals
from ingestion.register import silos
from privacy import key_duty
from stewardship.retention import conformed, log_files, objects
from stewardship.retention.erased import ErasedHolding
from stewardship.retention.files import FileHolding, arrived
from stewardship.retention.holdings import Holding, Sight, Tally
from stewardship.retention.objects import ObjectHolding

ROLE = "retention"
LOCK = "retention"
RECEIPTS = "receipts"
PREFIX = "retention/"

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Outcome:
    """What one run removed and what it then found.

    ``overdue`` must be empty: it is what is past its limit still. ``failures`` are holdings that could not be cleaned,
    and why: each may be tried again.
    """

    at: datetime
    run: str
    tallies: tuple[Tally, ...]
    keys: tuple[str, ...]
    expired: tuple[str, ...]  # deliveries refused because their bytes went before they could be read
    compacted: Compacted | None
    oldest: dict[str, str | None]
    overdue: tuple[str, ...]
    failures: tuple[str, ...] = ()

    @property
    def changed(self) -> bool:
        """Whether the run removed anything."""
        return bool(self.keys or self.expired or any(tally.anything for tally in self.tallies))

    @property
    def receipt_key(self) -> str:
        return f"{PREFIX}{self.at.date()}.json"

    def as_json(self) -> dict[str, Any]:
        """The outcome as JSON has it: dates in ISO 8601, holdings that lost nothing left out."""
        return {
            "at": self.at.isoformat(),
            "run": self.run,
            "removed": [_as_json(tally) for tally in self.tallies if tally.anything],
            "keys_destroyed": list(self.keys),
            "deliveries_expired": list(self.expired),
            "store": None if self.compacted is None else asdict(self.compacted),
            "oldest_kept": self.oldest,
            "overdue": list(self.overdue),
            "failures": list(self.failures),
        }


def run(settings: Settings, *, run_id: str) -> Outcome:
    """Hold the lake to its limits as of :func:`infra.calendar.clock.now`. Again the same day, it finds nothing to do.

    A holding that cannot be cleaned does not stop the others: see :attr:`Outcome.failures`. One process at a time; it
    may run beside ingestion, builds and releases.

    Args:
        settings: of the lake.
        run_id: what the receipt says of who ran it, such as the id of an Airflow run.

    Raises:
        infra.calendar.trusted_clock.ClockDoubtedError: the clock is not believed; nothing was removed.
    """
    now = trusted_clock.now(settings, ROLE)
    tallies: list[Tally] = []
    failures: list[str] = []
    with (
        logs.stage(settings, "retention"),
        closing(database.connect(settings, ROLE, "lake")) as connection,
        registry.locked(connection, LOCK),
    ):
        diary = _Diary(settings, now, run_id)
        keys = tuple(f"{gone.silo}/{gone.month}" for gone in key_duty.destroy_due(settings, run=run_id))
        log_files.cut(settings.logs_dir, now)
        holdings = dict(_holdings(settings, now))
        for name, holding in holdings.items():
            try:
                tallies.append(holding.clean())
            except Exception as error:  # whatever it is, it must not stop the next holding
                failures.append(f"{name} could not be cleaned: {_why(error)}")
            diary.note(tallies, keys)
        expired = tuple(_expire_undigested(settings, now))
        stored = {"landing", "quarantine", "conformed", "erased"}
        removed = any(tally.anything for tally in tallies if tally.holding in stored)
        compacted = compact(settings) if removed else None
        oldest, overdue = _look(settings, holdings)
        outcome = Outcome(now, run_id, tuple(tallies), keys, expired, compacted, oldest, overdue, tuple(failures))
        diary.close(outcome)
        for tally in tallies:
            if tally.anything:
                gone = {"holding": tally.holding, "rows": tally.rows, "objects": tally.objects, "bytes": tally.bytes}
                logs.tell(_log, f"{tally.holding}: what was past {tally.limit} is gone", silo=tally.silo, **gone)
        for sentence in (*failures, *overdue):
            _log.error("%s", sentence)
    return outcome


def check(settings: Settings) -> tuple[dict[str, str | None], tuple[str, ...]]:
    """Only look: the oldest day each holding holds, and a sentence for each thing that is past its limit."""
    return _look(settings, dict(_holdings(settings, clock.now(settings))))


def _holdings(settings: Settings, now: datetime) -> Iterator[tuple[str, Holding]]:
    """Every holding of the lake, by what it is called in the receipt."""
    store: Minio = object_store.client(settings, ROLE)
    today = now.date()
    for bucket, limit_of in (("landing", retention_limits.landing), ("quarantine", retention_limits.quarantine)):
        for folder in objects.folders(store, bucket):
            silo = folder.rstrip("/")
            yield (
                f"{bucket}/{silo}",
                ObjectHolding(
                    store,
                    holding=bucket,
                    silo=silo,
                    bucket=bucket,
                    prefix=folder,
                    limit=limit_of(silo),
                    today=today,
                ),
            )
    for declared, dataset in datasets_with_vehicles():  # first: what they leave behind goes with the conformed holdings
        yield f"erased/{dataset.name}", ErasedHolding(settings, declared.name, dataset)
    for silo, declared in silos().items():
        for dataset in declared.datasets:
            limit = retention_limits.conformed(silo)
            yield f"conformed/{dataset.name}", conformed.ConformedHolding(settings, silo, dataset, limit, now)
    yield (
        "candidates",
        ObjectHolding(
            store,
            holding="candidates",
            silo=None,
            bucket="lake",
            prefix="candidates/",
            limit=retention_limits.Limit(days=retention_limits.CANDIDATES.days),
            today=today,
        ),
    )
    yield "work", FileHolding(settings.work_dir, holding="work", limit=retention_limits.WORK, now=now, touched=arrived)
    for silo, declared in silos().items():
        yield (
            f"drop/{silo}",
            FileHolding(
                settings.drop_dir / silo,
                holding="drop",
                silo=silo,
                limit=declared.retention.landing,
                now=now,
                touched=arrived,
                chosen=_will_never_land,
            ),
        )
    yield (
        "lineage",
        FileHolding(
            settings.lineage_dir, holding="lineage", limit=retention_limits.LINEAGE, now=now, chosen=_is_day_of_events
        ),
    )
    yield (
        "logs",
        FileHolding(
            settings.logs_dir, holding="logs", limit=retention_limits.LOGS, now=now, chosen=log_files.is_closed
        ),
    )


def _is_day_of_events(path: Path) -> bool:
    """Whether a file of the lineage folder holds events: the others say how far they were sent."""
    return not path.name.startswith(".")


def _will_never_land(path: Path) -> bool:
    """Whether a file of a drop folder, named from there, was turned away or never completed: the others wait."""
    first = path.parts[0]
    return first.startswith(".") or path.name.lower().endswith(arrivals.UNFINISHED)


def _look(settings: Settings, holdings: dict[str, Holding]) -> tuple[dict[str, str | None], tuple[str, ...]]:
    sights: dict[str, Sight] = {name: holding.look() for name, holding in holdings.items()}
    overdue = [sentence for sight in sights.values() for sentence in sight.overdue]
    known = [dataset.name for declared in silos().values() for dataset in declared.datasets]
    overdue += [
        f"table {name}: no registered silo claims it, so nobody says how long it may be kept"
        for name in conformed.unclaimed(settings, known)
    ]
    keys = key_duty.keys(settings)
    overdue += [f"key {line.silo}/{line.month} was due on {line.due}" for line in keys if line.overdue]
    oldest = {name: None if sight.oldest is None else sight.oldest.isoformat() for name, sight in sights.items()}
    return oldest, tuple(overdue)


def _expire_undigested(settings: Settings, now: datetime) -> Iterator[str]:
    """Refuse the deliveries whose bytes reached their limit before they could be read; delivered again, they land."""
    with closing(database.connect(settings, ROLE, "lake")) as connection:
        for silo in silos():
            limit = retention_limits.landing(silo)
            reason = f"its bytes were kept for {limit} and could not be read in that time: deliver the file again"
            for delivery_id in registry.expire_deliveries(connection, silo, limit.first_day_kept(now.date()), reason):
                _log.warning("%s: delivery %s expired in landing, never read", silo, delivery_id[:12])
                yield f"{silo}/{delivery_id}"
        connection.commit()


class _Diary:
    """The receipt of a day: the runs before this one, and this one as far as it has come."""

    def __init__(self, settings: Settings, now: datetime, run_id: str) -> None:
        self._store = object_store.client(settings, ROLE)
        self._key = f"{PREFIX}{now.date()}.json"
        self._now, self._run = now, run_id
        try:
            self._before: list[dict[str, Any]] = object_store.get_json(self._store, RECEIPTS, self._key)["runs"]
        except KeyError:
            self._before = []
        self._noted: list[dict[str, Any]] = []

    def note(self, tallies: list[Tally], keys: tuple[str, ...]) -> None:
        told = [_as_json(tally) for tally in tallies if tally.anything]
        if told != self._noted:
            self._noted = told
            begun = {"at": self._now.isoformat(), "run": self._run, "removed": told, "keys_destroyed": list(keys)}
            self._write({**begun, "unfinished": True})

    def close(self, outcome: Outcome) -> None:
        if outcome.changed or outcome.overdue or outcome.failures or not self._before:
            self._write(outcome.as_json())

    def _write(self, entry: dict[str, Any]) -> None:
        runs = {"date": self._now.date().isoformat(), "runs": [*self._before, entry]}
        object_store.put_json(self._store, RECEIPTS, self._key, runs)


def _why(error: Exception) -> str:
    """What may be said of an error: the words of our own parts; of any other, which may quote a value, its place."""
    if isinstance(error, OSError | MinioException | HTTPError | psycopg.Error | objects.NotDeletedError):
        return f"{type(error).__name__}: {error}"
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__} at {Path(frame.filename).name}:{frame.lineno}"


def _as_json(tally: Tally) -> dict[str, Any]:
    first = tally.first_day_kept
    return {**asdict(tally), "first_day_kept": None if first is None else first.isoformat()}
