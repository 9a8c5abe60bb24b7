"""Every landed delivery of a silo, from its bytes to the conformed tables, one after the other and each on its own.

A delivery that cannot be accepted is refused with a sentence. One that fails for another reason stays landed, to be
tried again, and does not stop the next: the failures are raised together at the end. Nothing here logs a value of a
delivery.
"""

from __future__ import annotations

import errno
import logging
import shutil
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import psycopg
from minio import Minio
from minio.error import MinioException
from pyiceberg.exceptions import CommitFailedException
from urllib3.exceptions import HTTPError

from infra import database, object_store, registry
from infra.catalog import open_catalog
from infra.city import City, load_city
from infra.endpoints import NotRunning
from infra.keys import KeyDamagedError, open_keys
from infra.registry import DeliveryRow
from infra.secrets import SecretMissing
from infra.settings import Settings
from ingestion import handover, landing, quarantine, receipts, tables
from ingestion.checking import ContractMismatchError
from ingestion.committing import Committer
from ingestion.conforming import BooksError, Conformed, conform
from ingestion.opening import open_delivery
from ingestion.pseudonyms import Pseudonymiser
from ingestion.reading import read_batches
from ingestion.receipts import Receipt
from ingestion.recognition import named, recognise, sample
from ingestion.refusal import Refused
from ingestion.register import Dataset, Format, Silo, silos
from ingestion.staging import DataFile

# Exceptions whose message is about our own parts. Any other may quote a value, so only its type and place are told.
_SPEAKABLE = (
    OSError,
    MinioException,
    HTTPError,
    psycopg.OperationalError,
    CommitFailedException,
    NotRunning,
    SecretMissing,
    KeyDamagedError,
    ContractMismatchError,
    BooksError,
)

_log = logging.getLogger(__name__)


class IngestionError(RuntimeError):
    """Deliveries that could not be processed; they stay landed and will be tried again. ``receipts`` has the others."""

    def __init__(self, failures: list[str], done: list[Receipt]) -> None:
        super().__init__("\n".join(failures))
        self.receipts = done


class DamagedError(OSError):
    """An object of landing whose bytes are no longer those that were delivered."""


def ingest(settings: Settings, silo: str, report: Callable[[Receipt], None] | None = None) -> list[Receipt]:
    """Check, conform and commit every landed delivery of ``silo``, in order of landing, corrected before correction.

    One process at a time works on a silo; another waits, and finds nothing left to do.

    Args:
        settings: of the lake.
        silo: name of a registered silo.
        report: called with each receipt as soon as the delivery is settled.

    Raises:
        IngestionError: some deliveries failed; the others are done.
        KeyError: no such silo.
    """
    declared = silos()[silo]
    done: list[Receipt] = []
    failures: list[str] = []
    with (
        closing(database.connect(settings, "pipeline", "lake")) as connection,
        registry.locked(connection, f"silo {silo}"),
    ):
        waiting = registry.landed_deliveries(connection, silo)
        connection.commit()
        handover.clear(settings, silo, {delivery.delivery_id for delivery in waiting})
        if not waiting:
            return []
        worker = _Worker(settings, declared, connection)
        for delivery in _in_order(waiting):
            try:
                receipt = worker.process(delivery)
            except Exception as error:  # whatever it is, it must not stop the next delivery
                if not connection.closed:
                    connection.rollback()
                failures.append(f"{silo}: {delivery.file_name} ({delivery.delivery_id[:12]}): {_told(error, settings)}")
                _log.error("%s", failures[-1])  # without a traceback, which may quote values
                continue
            _log.info(
                "%s: %s (%s): %s, %d rows in, %d accepted, %d quarantined",
                silo,
                delivery.file_name,
                delivery.delivery_id[:12],
                receipt.status,
                receipt.tally.rows_in,
                receipt.tally.accepted,
                receipt.tally.quarantined,
            )
            done.append(receipt)
            if report is not None:
                report(receipt)
    if failures:
        raise IngestionError(failures, done)
    return done


def newest_commit(settings: Settings, silo: str) -> int:
    """The sequence number of the newest commit of ``silo``; 0 when there is none."""
    with closing(database.connect(settings, "pipeline", "lake")) as connection:
        return registry.newest_commits(connection).get(silo, 0)


def _in_order(deliveries: list[DeliveryRow]) -> Iterator[DeliveryRow]:
    """In order of landing, but each after the one it corrects when both wait."""
    waiting = {delivery.delivery_id: delivery for delivery in deliveries}

    def with_corrected(delivery: DeliveryRow) -> Iterator[DeliveryRow]:
        if waiting.pop(delivery.delivery_id, None) is None:
            return
        corrected = waiting.get(delivery.corrects or "")
        if corrected is not None:
            yield from with_corrected(corrected)
        yield delivery

    for delivery in deliveries:
        yield from with_corrected(delivery)


@dataclass
class _Stages:
    """How long each stage took, in seconds."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        started = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = round(time.perf_counter() - started, 3)


class _Worker:
    """What processing the deliveries of one silo needs, opened once."""

    def __init__(self, settings: Settings, silo: Silo, connection: psycopg.Connection) -> None:
        self._settings = settings
        self._silo = silo
        self._connection = connection
        self._store: Minio = object_store.client(settings, "pipeline")
        self._catalog = open_catalog(settings, "pipeline")
        # All of them, delivered or not: a mart may join a table that nothing was delivered to yet.
        self._tables = tables.ensure_tables(self._catalog, silo)
        self._committer = Committer(settings, connection, self._catalog, self._store)
        self._city: City = load_city(settings)
        self._keys = open_keys(settings)

    def process(self, delivery: DeliveryRow) -> Receipt:
        """Settle one delivery: committed or refused. Done again after a crash anywhere, it ends in the same state."""
        stages = _Stages()
        receipt = Receipt(
            silo=delivery.silo,
            delivery_id=delivery.delivery_id,
            file_name=delivery.file_name,
            bytes=delivery.bytes,
            landed_at=delivery.landed_at,
            corrects=delivery.corrects,
            status="committed",
            seconds=stages.seconds,
            format=delivery.format,
        )
        with _scratch(self._settings.work_dir / "ingest" / delivery.silo / delivery.delivery_id) as scratch:
            try:
                receipt = self._accept(delivery, receipt, stages, scratch)
            except Refused as refused:
                receipt = replace(receipt, status="refused", rule=refused.rule, reason=refused.sentence)
        receipts.write(self._store, receipt)
        registry.settle_delivery(
            self._connection,
            delivery.silo,
            delivery.delivery_id,
            status=receipt.status,
            reason=receipt.reason,
            format_name=receipt.format,
            tally=receipt.tally,
        )
        self._connection.commit()
        return receipt

    def _accept(self, delivery: DeliveryRow, receipt: Receipt, stages: _Stages, scratch: Path) -> Receipt:
        name = delivery.file_name
        self._require_corrected(delivery)
        with stages("fetch"):
            delivered = self._fetch(delivery, scratch)
        with handover.steady(delivered, name):
            with stages("open"):
                opened = open_delivery(delivered, name, scratch)
                beginning = sample(opened.path)
                if delivery.format is not None:
                    accepted = named(self._silo, delivery.format, beginning, name)
                else:
                    accepted = recognise(self._silo, beginning, name)
            dataset = self._silo.dataset(accepted.dataset)
            receipt = replace(
                receipt,
                format=accepted.name,
                dataset=dataset.name,
                encoding=opened.encoding,
                notes=opened.notes,
                contracts=receipts.contracts(dataset),
            )
            with stages("conform"):
                conformed = self._conform(opened.path, name, accepted, delivery.delivery_id, scratch)
        receipt = replace(receipt, tally=conformed.tally, lines=conformed.lines)
        if conformed.tally.rows_in == 0:
            receipt = replace(receipt, notes=(*opened.notes, "no_records"))
        with stages("quarantine"):
            rejected = quarantine.write(self._store, delivery.silo, delivery.delivery_id, conformed.rejects, scratch)
            receipt = replace(receipt, quarantine=rejected)
        if delivery.corrects is not None and not conformed.files:
            refused = Refused(
                "correction_empty",
                name,
                "it corrects another delivery, and none of its rows is good: nothing was replaced",
                "See its quarantine, mend the rows and deliver it again",
            )
            return replace(receipt, status="refused", rule=refused.rule, reason=refused.sentence)
        with stages("commit"):
            committed = self._committer.commit(
                dataset,
                conformed.files,
                silo=delivery.silo,
                delivery_id=delivery.delivery_id,
                corrects=delivery.corrects,
                scratch=scratch,
                overtaking=self._overtaking(delivery, dataset, scratch),
            )
        return replace(receipt, days=committed.days, outputs=committed.outputs, snapshot_id=committed.snapshot_id)

    def _require_corrected(self, delivery: DeliveryRow) -> None:
        if delivery.corrects is None:
            return
        known = registry.delivery(self._connection, delivery.silo, delivery.corrects)
        self._connection.commit()
        if known is None or known.delivery_id == delivery.delivery_id:
            problem = f"it corrects delivery {delivery.corrects[:12]}, which silo {delivery.silo} never received"
            remedy = "Deliver it again and name the delivery it corrects as `calanque report` shows it"
            raise Refused("correction_unknown", delivery.file_name, problem, remedy)

    def _overtaking(self, delivery: DeliveryRow, dataset: Dataset, scratch: Path) -> list[DataFile]:
        """The rows of later deliveries that were corrected before this one could be committed, from their bytes.

        Mostly there are none. Those bytes landed after this delivery's own, so they are still kept; but for a delivery
        that was refused long ago, and is tried again now.
        """
        others = registry.overtaking_deliveries(self._connection, delivery.silo, dataset.name, delivery.delivery_id)
        self._connection.commit()
        files: list[DataFile] = []
        for other in others:
            folder = scratch / f"overtaking-{other.delivery_id[:12]}"
            folder.mkdir()
            try:
                path = self._download(other, folder)
            except KeyError:
                raise Refused(
                    "overtaken",
                    delivery.file_name,
                    f"delivery {other.delivery_id[:12]}, which came after it, was corrected since and is no longer "
                    "kept: which rows it had replaced is not known any more",
                    "Deliver it again in a new file, with its current rows only",
                ) from None
            opened = open_delivery(path, other.file_name, folder)
            accepted = self._silo.format(str(other.format), sample(opened.path))
            files += self._conform(opened.path, other.file_name, accepted, other.delivery_id, folder).files
        return files

    def _fetch(self, delivery: DeliveryRow, scratch: Path) -> Path:
        path = scratch / "delivered"
        if handover.take(self._settings, delivery.silo, delivery.delivery_id, path):
            return path
        return self._download(delivery, scratch)

    def _download(self, delivery: DeliveryRow, folder: Path) -> Path:
        path = folder / "delivered"
        object_store.get_file(self._store, landing.BUCKET, delivery.object_key, path)
        found, _ = object_store.digest_file(path)
        if found != delivery.delivery_id:
            raise DamagedError(
                f"object {delivery.object_key} of bucket {landing.BUCKET} no longer holds the delivered bytes: deliver "
                "the file again"
            )
        return path

    def _conform(self, path: Path, name: str, accepted: Format, delivery_id: str, scratch: Path) -> Conformed:
        dataset = self._silo.dataset(accepted.dataset)
        return conform(
            lambda: read_batches(path, accepted, name=name),
            dataset=dataset,
            accepted=accepted,
            city=self._city,
            pseudonymiser=Pseudonymiser(self._silo.name, self._keys),
            schema=tables.file_schema(self._tables[dataset.name]),
            delivery_id=delivery_id,
            scratch=scratch,
        )


@contextmanager
def _scratch(folder: Path) -> Iterator[Path]:
    """An empty private folder; what a killed run left there goes first. The silo's lock keeps it to one process."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700, parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _told(error: Exception, settings: Settings) -> str:
    """What may be said of an unexpected error: nothing that could quote the delivery."""
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return f"no space is left on the disk of {settings.work_dir}: free some, and it will be tried again"
    if isinstance(error, _SPEAKABLE):
        return f"{type(error).__name__}: {error}"
    frames = traceback.extract_tb(error.__traceback__)
    places = " < ".join(f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in reversed(frames[-6:]))
    return f"{type(error).__name__} at {places} (its message is withheld: it may quote the delivery)"
