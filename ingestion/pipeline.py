"""Every landed delivery of a silo, from its bytes to the conformed tables, one after the other and each on its own.

A delivery that cannot be accepted is refused with a sentence. One that fails for another reason does not stop the next.
When the lake is to blame (a server is away, a disk full, a key missing, a table damaged) it stays landed, to be tried
again, and the failures are raised together at the end. When the delivery itself is (an error that nobody foresaw, or
attempts that keep failing while others succeed, or take their process with them) it is parked: told once, and tried
again only when somebody asks. Nothing here logs a value of a delivery.
"""

from __future__ import annotations

import logging
import shutil
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl
import psycopg
from minio import Minio
from minio.error import MinioException
from pyiceberg.exceptions import CommitFailedException, NoSuchTableError
from sqlalchemy.exc import SQLAlchemyError
from urllib3.exceptions import HTTPError

from infra import contract_versions, database, logs, object_store, registry
from infra.calendar import clock
from infra.catalog import IncompatibleSchemaError, TableDamagedError, damage, open_catalog
from infra.city.profile import City, load_city
from infra.contract_versions import ContractHeldError
from infra.endpoints import NotRunning
from infra.keys.known_keys import KnownKeys
from infra.keys.store import KeyBackendError, KeyDamagedError, open_keys
from infra.openlineage import outbox
from infra.registry import DeliveryRow
from infra.registry.cover import Source
from infra.secrets import SecretMissing
from infra.settings import Settings
from infra.transient import Several, explained, transient
from ingestion import delivery_lineage, receipts, replay
from ingestion.conformed import tables, undeclared
from ingestion.conformed.committing import Committer
from ingestion.conformed.other_months import OtherMonths
from ingestion.contracts import rules, silo_documents
from ingestion.contracts.checking import ContractMismatchError
from ingestion.delivery import declaring, handover, landing
from ingestion.formats.format import Format
from ingestion.formats.opening import open_delivery
from ingestion.formats.reading import read_batches
from ingestion.formats.recognition import named, recognise, sample
from ingestion.receipts import Receipt
from ingestion.refusal import BY_FORMAT, Refused
from ingestion.register import Dataset, Silo, silos
from ingestion.rows import quarantine
from ingestion.rows.conforming import BooksError, Conformed, conform
from ingestion.rows.pseudonyms import Pseudonymiser
from ingestion.rows.staging import DataFile

# Exceptions whose message is about our own parts. Any other may quote a value, so only its type and place are told.
_SAFE_TO_QUOTE = (
    OSError,
    MinioException,
    HTTPError,
    psycopg.OperationalError,
    CommitFailedException,
    ContractMismatchError,
    BooksError,
)

# Faults of the lake that do not pass by themselves. Whoever mends them needs no list of deliveries to try again.
_INFRASTRUCTURE_ERRORS = (
    OSError,
    MinioException,
    HTTPError,
    psycopg.InternalError,
    psycopg.ProgrammingError,
    psycopg.OperationalError,
    SQLAlchemyError,
    NoSuchTableError,
    TableDamagedError,
    IncompatibleSchemaError,
    SecretMissing,
    KeyBackendError,
    KeyDamagedError,
)

ATTEMPTS = 5
"""A delivery is parked instead of being tried once more than this: see :func:`ingest`."""

_log = logging.getLogger(__name__)


class IngestionError(Several):
    """Deliveries that could not be processed because of the lake; they stay landed and will be tried again.

    ``receipts`` has the others, ``causes`` the errors: :func:`infra.transient.transient` says whether to do so soon.
    """

    def __init__(self, failures: list[str], done: list[Receipt], causes: list[Exception]) -> None:
        super().__init__("\n".join(failures), causes)
        self.receipts = done


class DamagedError(OSError):
    """An object of landing whose bytes are no longer those that were delivered."""


# Those whose message is a sentence for whoever has to act.
_SENTENCES = (
    NotRunning,
    SecretMissing,
    KeyDamagedError,
    KeyBackendError,
    DamagedError,
    TableDamagedError,
    IncompatibleSchemaError,
    ContractHeldError,
)


def ingest(settings: Settings, silo: str, report: Callable[[Receipt], None] | None = None) -> list[Receipt]:
    """Check, conform and commit every landed delivery of ``silo``, in order of landing, corrected before correction.

    One process at a time works on a silo; another waits, and finds nothing left to do.

    An attempt that came to nothing, since the lake spoilt it or the process was killed, counts when another delivery
    of the silo went through after it. After :data:`ATTEMPTS` that count a delivery is parked; until then it is the last
    to be tried, so that it keeps no other waiting.

    Args:
        settings: of the lake.
        silo: name of a registered silo.
        report: called with each receipt as soon as the delivery is settled.

    Raises:
        IngestionError: the lake let some deliveries down, or all; the others are done.
        KeyError: no such silo.
    """
    declared = silos()[silo]
    done: list[Receipt] = []
    failures: list[str] = []
    causes: list[Exception] = []
    with (
        logs.stage(settings, "ingest", silo=silo),
        closing(database.connect(settings, "pipeline", "lake")) as connection,
        registry.locked(connection, f"silo {silo}"),
    ):
        _reopen_refused(settings, declared, connection)
        waiting = registry.landed_deliveries(connection, silo)
        connection.commit()
        handover.clear(settings, silo, {delivery.delivery_id for delivery in waiting})
        if not waiting:
            return []
        try:
            worker = _Worker(settings, declared, connection)
        except Exception as error:
            failure = f"{silo}: what waits ({len(waiting)}) cannot be ingested: {_safe_message(error)}"
            _log.error("%s", failure)
            raise IngestionError([failure], [], [error]) from None
        for delivery in _followed(_in_order(waiting)):
            try:
                with delivery_lineage.of_delivery(settings, declared, delivery, _safe_message) as settled:
                    receipt = worker.process(delivery)
                    settled(receipt)
            except Exception as error:  # whatever it is, it must not stop the next delivery
                if not connection.closed:
                    connection.rollback()
                failures.append(f"{silo}: {delivery.file_name} ({delivery.delivery_id[:12]}): {_safe_message(error)}")
                causes.append(error)
                _log.error("%s", failures[-1])  # without a traceback, which may quote values
                with suppress(psycopg.Error):  # it is told anyway
                    registry.fail_attempt(connection, silo, delivery.delivery_id, _safe_message(error))
                    connection.commit()
                continue
            tally = receipt.tally
            with logs.context(**_log_fields(receipt)):
                if receipt.refusal:
                    level = logging.ERROR if receipt.status == "parked" else logging.INFO
                    _log.log(level, "%s: %s", silo, receipt.refusal)
                else:
                    _log.info(
                        "%s: %s (%s): %s, %d rows in, %d accepted, %d quarantined",
                        silo,
                        delivery.file_name,
                        delivery.delivery_id[:12],
                        receipt.status,
                        tally.rows_in,
                        tally.accepted,
                        tally.quarantined,
                    )
            if receipt.undeclared:
                rows = {date.fromisoformat(day): count for day, count in receipt.undeclared.items()}
                _log.warning("%s: %s", delivery.file_name, undeclared.sentence(silo, rows))
            done.append(receipt)
            if report is not None:
                report(receipt)
    outbox.send(settings)
    if failures:
        raise IngestionError(failures, done, causes)
    return done


def newest_commit(settings: Settings, silo: str) -> int:
    """The sequence number of the newest commit of ``silo``; 0 when there is none."""
    with closing(database.connect(settings, "pipeline", "lake")) as connection:
        return registry.newest_commits(connection).get(silo, 0)


def changed_days(settings: Settings, silo: str, *, since: int) -> list[date]:
    """The event days whose rows the commits of ``silo`` after sequence number ``since`` changed, in order."""
    with closing(database.connect(settings, "pipeline", "lake")) as connection:
        return registry.changed_days(connection, silo, since)


def _reopen_refused(settings: Settings, silo: Silo, connection: psycopg.Connection) -> None:
    """Have the deliveries tried again that were refused when other formats were known, if their bytes are kept."""
    for refused in registry.refused_before(connection, silo.name, silo_documents.known_formats(silo)):
        if object_store.exists(object_store.client(settings, "pipeline"), landing.BUCKET, refused.object_key):
            registry.reopen_delivery(
                connection,
                silo.name,
                refused.delivery_id,
                object_key=refused.object_key,
                file_name=refused.file_name,
                format_name=refused.format,
                corrects=refused.corrects,
                landed_on=refused.landed_on,
                covers=refused.covers,
            )
            _log.info("%s: %s: refused before today's formats: it is tried again", silo.name, refused.file_name)
        else:
            registry.forget_known_formats(connection, silo.name, refused.delivery_id)
    connection.commit()


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


def _followed(deliveries: Iterator[DeliveryRow]) -> Iterator[DeliveryRow]:
    """Each delivery while everything that is logged is about it."""
    for delivery in deliveries:
        with logs.context(delivery_id=delivery.delivery_id):
            yield delivery


def _log_fields(receipt: Receipt) -> dict[str, object]:
    """What a log line says of a delivery beside its sentence."""
    days = {"first_day": str(receipt.days[0]), "last_day": str(receipt.days[-1])} if receipt.days else {}
    return {
        "step": "settle",
        "status": receipt.status,
        "rule": receipt.rule,
        "bytes": receipt.bytes,
        "rows_in": receipt.tally.rows_in,
        "accepted": receipt.tally.accepted,
        "quarantined": receipt.tally.quarantined,
        "snapshot_id": receipt.snapshot_id,
        **days,
    }


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
            logs.tell(_log, f"{name}: {self.seconds[name]} s", step=name, seconds=self.seconds[name])


class _Worker:
    """What processing the deliveries of one silo needs, opened once."""

    def __init__(self, settings: Settings, silo: Silo, connection: psycopg.Connection) -> None:
        self._settings = settings
        self._silo = silo
        self._connection = connection
        for document in silo_documents.of_silo(silo):
            contract_versions.admit(connection, document, clock.now(settings))
        connection.commit()
        self._store: Minio = object_store.client(settings, "pipeline")
        self._catalog = open_catalog(settings, "pipeline")
        with ThreadPoolExecutor(1) as beside:  # its time is that of servers, mostly
            # All of them, delivered or not: a mart may join a table that nothing was delivered to yet.
            ensured = beside.submit(tables.ensure_tables, self._catalog, silo)
            self._city: City = load_city(settings)
            self._tables = ensured.result()
        self._committer = Committer(settings, connection, self._catalog, self._store)
        self._keys = KnownKeys(settings, open_keys(settings))
        self._other_months = OtherMonths(settings, self._catalog, silo.name, self._keys)

    def process(self, delivery: DeliveryRow) -> Receipt:
        """Settle one delivery: committed, refused or parked. Done again after a crash anywhere, it ends the same.

        Raises:
            Exception: the lake is to blame, see :data:`_INFRASTRUCTURE_ERRORS`.
        """
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
            replays=self._replays(delivery),
        )
        with _scratch(self._settings.work_dir / "ingest" / delivery.silo / delivery.delivery_id) as scratch:
            try:
                attempts = registry.begin_attempt(self._connection, delivery.silo, delivery.delivery_id)
                self._connection.commit()
                if attempts > ATTEMPTS:
                    receipt = replace(receipt, status="parked", reason=_attempts_exhausted(delivery))
                else:
                    with rules.at(clock.now(self._settings)):
                        receipt = self._accept(delivery, receipt, stages, scratch)
            except Refused as refused:
                receipt = replace(receipt, status="refused", rule=refused.rule, reason=refused.sentence)
            except Exception as error:
                if _is_infrastructure_error(error):
                    raise
                if not self._connection.closed:
                    self._connection.rollback()
                receipt = replace(receipt, status="parked", reason=f"{delivery.file_name}: {_safe_message(error)}")
        if delivery.replays and receipt.status != "committed":  # what it was before still stands
            reason = f"replay {delivery.replays} was not made: {receipt.reason}"
            registry.abandon_replay(self._connection, delivery.silo, delivery.delivery_id, reason)
            self._connection.commit()
            return receipt
        receipt = self._declare(delivery, receipt)
        receipts.write(self._store, receipt)
        registry.settle_delivery(
            self._connection,
            delivery.silo,
            delivery.delivery_id,
            status=receipt.status,
            reason=receipt.reason,
            format_name=receipt.format,
            tally=receipt.tally,
            known_formats=silo_documents.known_formats(self._silo) if receipt.rule in BY_FORMAT else None,
            undeclared=receipt.undeclared,
        )
        self._connection.commit()
        return receipt

    def _declare(self, delivery: DeliveryRow, receipt: Receipt) -> Receipt:
        """Declare what a delivery declares, in the transaction that settles it: nothing unless it is committed.

        It may have come again while it was read, and from here on does not before it is settled. The receipt then has
        the days that it declares, and its rows of days that nobody declared.
        """
        said: Mapping[Source, frozenset[date]] = {}
        if receipt.status == "committed" and receipt.format is not None:
            known = registry.delivery(self._connection, delivery.silo, delivery.delivery_id, lock=True) or delivery
            said = declaring.declared(self._silo, known, receipt.format, receipt.tally.rows_in)
            declaring.declare(self._connection, delivery, said, clock.now(self._settings))
        covered = registry.covered_days(self._connection, [receipt.silo])[receipt.silo]
        undeclared = {day: rows for day, rows in receipt.undeclared.items() if date.fromisoformat(day) not in covered}
        return replace(receipt, covers=tuple(sorted(frozenset().union(*said.values()))), undeclared=undeclared)

    def _accept(self, delivery: DeliveryRow, receipt: Receipt, stages: _Stages, scratch: Path) -> Receipt:
        name = delivery.file_name
        self._require_corrected(delivery)
        delivered = scratch / "delivered"
        with stages("fetch"):
            handed_over = handover.take(self._settings, delivery.silo, delivery.delivery_id, delivered)
            if not handed_over:
                self._fetch(delivery, delivered)
        with handover.steady(delivered, name, delivery.delivery_id) if handed_over else nullcontext():
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
                conformed = self._conform(opened.path, name, accepted, delivery, scratch)
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
        with stages("commit"), self._damage_told_apart(dataset):
            committed = self._committer.commit(
                dataset,
                conformed.files,
                silo=delivery.silo,
                delivery_id=delivery.delivery_id,
                corrects=delivery.corrects,
                scratch=scratch,
                overtaking=self._overtaking(delivery, dataset, scratch),
                replay=delivery.replays,
            )
        self._other_months.add(dataset, delivery.delivery_id, conformed.files, _leaving(delivery))
        by_day = Counter[str]()
        for file in conformed.files if not dataset.reference else ():
            by_day[file.day.isoformat()] += file.rows
        return replace(
            receipt,
            days=committed.days,
            outputs=committed.outputs,
            snapshot_id=committed.snapshot_id,
            undeclared=dict(by_day),  # those of declared days are taken out when it is settled
            reason=self._beside_other_corrections(delivery),
        )

    def _beside_other_corrections(self, delivery: DeliveryRow) -> str | None:
        """What stands when another delivery corrects the same one as ``delivery``; None when none does."""
        if delivery.corrects is None:
            return None
        others = registry.corrections(self._connection, delivery.silo, delivery.corrects)
        self._connection.commit()
        names = [f"{each.file_name} ({each.delivery_id[:12]})" for each in others if each.seq != delivery.seq]
        if not names:
            return None
        return (
            f"{delivery.file_name}: {delivery.corrects[:12]} was corrected by {' and '.join(names)} too. All of these "
            "corrections stand, and of a record that several have, the one that landed last. Should one replace "
            "another whole, deliver it as a correction of that one"
        )

    @contextmanager
    def _damage_told_apart(self, dataset: Dataset) -> Iterator[None]:
        """Should reading or changing a table fail, first look whether it is damaged: then no delivery is to blame."""
        try:
            yield
        except Refused:
            raise
        except Exception as error:
            if not transient(error):
                found = damage(self._catalog, tables.identifier(dataset))
                if found is not None:
                    raise TableDamagedError(found) from error
            raise

    def _replays(self, delivery: DeliveryRow) -> tuple[dict[str, Any], ...]:
        if not delivery.replays:
            return ()
        found = registry.replays(self._connection, delivery.silo, delivery.delivery_id)
        self._connection.commit()
        return tuple(found)

    def _require_corrected(self, delivery: DeliveryRow) -> None:
        if delivery.corrects is None:
            return
        known = registry.delivery(self._connection, delivery.silo, delivery.corrects)
        self._connection.commit()
        if known is None or known.delivery_id == delivery.delivery_id:
            problem = f"it corrects delivery {delivery.corrects[:12]}, which silo {delivery.silo} never received"
            remedy = "Deliver it again and name the delivery it corrects as `calanque deliveries` shows it"
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
            path = folder / "delivered"
            try:
                self._download(other, path)
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
            files += self._conform(opened.path, other.file_name, accepted, other, folder).files
        return files

    def _fetch(self, delivery: DeliveryRow, path: Path) -> None:
        try:
            self._download(delivery, path)
        except KeyError:
            if delivery.replays:
                raise replay.gone(delivery) from None
            raise DamagedError(
                f"object {delivery.object_key} of bucket {landing.BUCKET} is not there any more: deliver the file again"
            ) from None

    def _download(self, delivery: DeliveryRow, path: Path) -> None:
        object_store.get_file(self._store, landing.BUCKET, delivery.object_key, path)
        found, _ = object_store.digest_file(path)
        if found != delivery.delivery_id:
            raise DamagedError(
                f"object {delivery.object_key} of bucket {landing.BUCKET} no longer holds the delivered bytes: deliver "
                "the file again"
            )

    def _knowing(self, dataset: Dataset) -> City:
        """The city with the places that ``dataset`` may be about beside its own: those of the register delivered."""
        if dataset.places is None:
            return self._city
        table = self._catalog.load_table(tables.identifier(self._silo.dataset(dataset.places)))
        delivered = pl.DataFrame(table.scan(selected_fields=("place_id", "zone_id")).to_arrow()).cast(pl.String)
        both = pl.concat([self._city.places, delivered], how="diagonal")
        return replace(self._city, places=both.unique("place_id", keep="first", maintain_order=True))

    def _conform(self, path: Path, name: str, accepted: Format, delivery: DeliveryRow, scratch: Path) -> Conformed:
        dataset = self._silo.dataset(accepted.dataset)
        return conform(
            lambda: read_batches(path, accepted, name=name),
            dataset=dataset,
            accepted=accepted,
            city=self._knowing(dataset),
            pseudonymiser=Pseudonymiser(
                self._silo.name, self._keys, lambda: self._known_records(dataset, _leaving(delivery))
            ),
            schema=tables.file_schema(self._tables[dataset.name]),
            delivery_id=delivery.delivery_id,
            scratch=scratch,
        )

    def _known_records(self, dataset: Dataset, leaving: set[str]) -> Mapping[date, pl.Series]:
        with self._damage_told_apart(dataset):
            return self._other_months.known(dataset, leaving)


@contextmanager
def _scratch(folder: Path) -> Iterator[Path]:
    """An empty private folder; what a killed run left there goes first. The silo's lock keeps it to one process."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700, parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _leaving(delivery: DeliveryRow) -> set[str]:
    """The deliveries whose rows leave their table when ``delivery`` is committed: its own, when it is replayed."""
    return {delivery.delivery_id, delivery.corrects or ""}


def _is_infrastructure_error(error: Exception) -> bool:
    """Whether an error is the lake's own, and not that of the delivery that met it."""
    return transient(error) or (isinstance(error, _INFRASTRUCTURE_ERRORS) and not isinstance(error, DamagedError))


def _attempts_exhausted(delivery: DeliveryRow) -> str:
    last = f"the last one said: {delivery.reason}" if delivery.reason else "the process ended in the middle of it"
    return (
        f"{delivery.file_name}: {ATTEMPTS} attempts to ingest it came to nothing while others went through ({last}); "
        "it is too much for this machine, or there is something in it that was not foreseen: try `calanque replay`"
    )


def _safe_message(error: Exception) -> str:
    """What may be said of an unexpected error: nothing that could quote the delivery."""
    sentence = explained(error)
    if sentence is not None:
        return sentence
    if isinstance(error, _SENTENCES):
        return str(error)
    if isinstance(error, _SAFE_TO_QUOTE):
        return f"{type(error).__name__}: {error}"
    frames = traceback.extract_tb(error.__traceback__)
    places = " < ".join(f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in reversed(frames[-6:]))
    return f"{type(error).__name__} at {places} (its message is withheld: it may quote the delivery)"
