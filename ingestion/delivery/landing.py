"""From the drop folder to the bucket ``landing``: the delivered bytes, untouched, under their own SHA-256.

A delivery is its bytes: delivering them again changes nothing, and says so. A file in the drop folder may come with a
note, ``<file>.delivery.json``, that names its format, the delivery it corrects or the days that it is complete for;
:func:`drop` writes both in the right order.
"""

from __future__ import annotations

import errno
import hashlib
import itertools
import json
import logging
import os
import re
import shutil
import stat
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import BinaryIO, Literal, NamedTuple

import psycopg
from minio import Minio
from minio.error import MinioException
from urllib3.exceptions import HTTPError

from infra import database, logs, object_store, registry
from infra.calendar import clock, days, trusted_clock
from infra.endpoints import NotRunning
from infra.secrets import SecretMissing
from infra.settings import Settings
from infra.transient import Several, disk_full, explained
from ingestion.contracts import retention_limits
from ingestion.delivery import collecting, declaring, handover, notes
from ingestion.delivery.arrivals import LONGEST_NAME, NOTE_SUFFIX, acceptable, shortened, waiting
from ingestion.delivery.notes import Note
from ingestion.formats.opening import open_inside, open_regular
from ingestion.refusal import Refused, printable
from ingestion.register import silos

BUCKET = "landing"
REFUSED_FOLDER = ".refused"
LARGEST = object_store.PART_BYTES * 10_000  # S3 takes ten thousand parts

_CHUNK_BYTES = 2**20
_EXTENSION = re.compile(r"\.([A-Za-z0-9]{1,8})$")

_log = logging.getLogger(__name__)


class StoredOtherwiseError(OSError):
    """The store took bytes, and does not hold as many."""


# Faults that are the lake's, as is a full disk, when it lands nothing at all.
_INFRASTRUCTURE_ERRORS = (psycopg.Error, MinioException, HTTPError, StoredOtherwiseError, NotRunning, SecretMissing)
_STAYS = frozenset({"still_changing", "not_removed"})  # of a file that is refused, but not set aside


Outcome = Literal["new", "again", "restored", "reopened"]


@dataclass(frozen=True)
class Landed:
    """A delivery that is in landing. ``outcome``: it is new, was there already, or is there to be tried again, or its
    bytes had been lost and are there again.

    ``refusal`` is the sentence for which a delivery that was there already had been refused; ``declares`` are the days
    that it was not declared complete for when it came before.
    """

    silo: str
    delivery_id: str
    file_name: str
    bytes: int
    outcome: Outcome
    refusal: str | None = None
    declares: frozenset[date] = frozenset()

    @property
    def sentence(self) -> str:
        if self.declares:
            return (
                f"{self.file_name}: the same bytes were delivered before; what they are complete for is now declared: "
                f"{days.told(self.declares)} (delivery {self.delivery_id[:12]})"
            )
        said = {
            "new": "landed",
            "again": "the same bytes were delivered before: nothing changes"
            if self.refusal is None
            else f"the same bytes were delivered before and refused, and still are: {self.refusal} "
            "They are tried again when formats change, and by `calanque replay`",
            "restored": "the same bytes were delivered before, but the store had lost them: they have landed again",
            "reopened": "not accepted before, it will be tried again as it is delivered now",
        }
        return f"{self.file_name}: {said[self.outcome]} (delivery {self.delivery_id[:12]})"


class Sweep(NamedTuple):
    """What a sweep did: ``landed`` deliveries in order, and files it could not land, each with a sentence."""

    landed: list[Landed]
    turned_away: list[Refused]


def land(
    settings: Settings,
    silo: str,
    path: Path,
    format: str | None = None,  # noqa: A002 - its name everywhere else
    corrects: str | None = None,
    *,
    covers: Sequence[str] = (),
) -> Landed:
    """Copy one file of the drop folder of ``silo`` to landing and record the delivery; the file stays where it is.

    Args:
        settings: of the lake.
        silo: name of a registered silo.
        path: absolute, or relative to the silo's drop folder.
        format: the format's name, when the sender names it.
        corrects: the delivery (its id) that this one replaces entirely, when the sender says so.
        covers: the days that it is complete for, ``2026-01-31`` or ``2026-01-01/2026-01-31``, when the sender says so.

    Raises:
        Refused: not an ordinary file inside the drop folder, too large, changing, or what is said of it cannot be.
        KeyError: no such silo.
        infra.calendar.trusted_clock.ClockDoubtedError: nobody knows what day it lands on.
    """
    with closing(_Landing(settings, silo)) as landing:
        return landing.land(path, notes.said(path, format=format, corrects=corrects, covers=covers))


class LandingError(Several):
    """Files that could not be landed because of the lake; they wait where they are, and will be tried again."""


def sweep(settings: Settings, silo: str) -> Sweep:
    """Land every file of the drop folder of ``silo``, in order of arrival; each leaves the folder once landed, and
    waits for ingestion on this machine (:mod:`ingestion.delivery.handover`). What partners put into the object store is
    fetched into the folder first (:mod:`ingestion.delivery.collecting`).

    Left alone: names that begin with a dot or end in one of :data:`ingestion.delivery.arrivals.UNFINISHED`. What can
    never be landed (a link, a folder...) is moved to the sub-folder :data:`REFUSED_FOLDER` with the reason beside it.
    What may be landed another time (a file that is still changing, one that the disk cannot read...) stays for the next
    sweep. Whatever is wrong with a file, the next is landed.

    Raises:
        LandingError: files met faults of the lake, and none landed. Others, when store or database are away.
        KeyError: no such silo.
        OSError: the drop folder cannot be read.
    """
    folder = drop_folder(settings, silo)
    result = Sweep([], _collect(settings, silo, folder))
    arrived = waiting(folder)
    if arrived:
        with logs.stage(settings, "land", silo=silo), closing(_Landing(settings, silo)) as landing:
            for path in (folder / arrival.name for arrival in arrived):
                became = _land_or_say_why_not(landing, folder, path)
                if isinstance(became, Landed):
                    with logs.context(delivery_id=became.delivery_id, bytes=became.bytes, outcome=became.outcome):
                        _log.info("%s: %s", silo, became.sentence)
                    result.landed.append(became)
                elif became is not None:
                    _log.warning("%s: %s", silo, became.sentence)
                    result.turned_away.append(became)
                    if _is_infrastructure_error(became):
                        landing.require_answers()
    faults = [left for left in result.turned_away if _is_infrastructure_error(left)]
    if faults and not result.landed:  # else it is not the lake that is to blame
        said = "\n".join(f"{silo}: {left.sentence}" for left in faults)
        raise LandingError(said, [left.__cause__ for left in faults if left.__cause__])
    return result


def _land_or_say_why_not(landing: _Landing, folder: Path, path: Path) -> Landed | Refused | None:
    """Land one file of the drop folder, whatever it is; None when another sweep took it meanwhile."""
    try:
        try:
            _require_name(path)
            return landing.land(path, notes.read(folder, path), take_away=True)
        except Refused as refused:
            if refused.rule not in _STAYS:
                _set_aside(folder, path, refused)
            return refused
    except Exception as error:  # whatever it is, it must not stop the next file
        landing.recover()
        if isinstance(error, FileNotFoundError) and not os.path.lexists(path):
            return None
        return _left(path.name, error)


def _is_infrastructure_error(left: Refused) -> bool:
    error = left.__cause__
    return error is not None and (isinstance(error, _INFRASTRUCTURE_ERRORS) or disk_full(error))


def _require_name(path: Path) -> None:
    size = len(os.fsencode(path.name))
    if size > LONGEST_NAME:
        problem = f"its name has {size} bytes, and {LONGEST_NAME} are the most"
        raise Refused("name_too_long", path.name, problem, "Deliver it under a shorter name")


def _left(name: str, error: Exception) -> Refused:
    """What is said of a file that met an error nobody foresaw; the error is its cause."""
    why = explained(error) or (isinstance(error, OSError) and error.strerror) or type(error).__name__
    problem = f"it could not be landed, and stays where it is ({why})"
    left = Refused("not_landed", name, problem, "It is tried again; should it stay, look at it, or take it away")
    left.__cause__ = error
    return left


def _collect(settings: Settings, silo: str, folder: Path) -> list[Refused]:
    """Bring what was put into the object store to the drop folder; what could not be brought stays there.

    Killed half-way, the same bytes come twice.
    """
    left: list[Refused] = []
    arrived = collecting.waiting(settings, silo)
    if not arrived:
        return left
    folder.mkdir(parents=True, exist_ok=True)
    store = object_store.client(settings, collecting.ROLE)
    for put in arrived:
        try:
            with _reserved(folder, put.file_name) as target:
                metadata = collecting.fetch(store, put, _draft_path(target))
                if said := {name: metadata[name] for name in Note.model_fields if name in metadata}:
                    notes.path_of(target).write_text(json.dumps(said))
                _draft_path(target).rename(target)
            _sync(folder)
            collecting.take_away(store, put)
        except Exception as error:  # as above
            left.append(_left(put.file_name, error))
            _log.warning("%s: bucket %s: %s", silo, collecting.BUCKET, left[-1].sentence)
            if _is_infrastructure_error(left[-1]):
                collecting.waiting(settings, silo)  # is it the store?
    return left


def drop(
    settings: Settings,
    silo: str,
    path: Path,
    format: str | None = None,  # noqa: A002
    corrects: str | None = None,
    *,
    covers: Sequence[str] = (),
) -> Path:
    """Deliver a copy of ``path``: put it in the drop folder of ``silo``, where it appears complete and after its note.

    Raises:
        Refused: ``path`` is not an ordinary file, or what is said of it cannot be.
        KeyError: no such silo.
    """
    folder = drop_folder(settings, silo)
    folder.mkdir(parents=True, exist_ok=True)
    note = notes.said(path, format=format, corrects=corrects, covers=covers)
    _refuse_early(path, note, declaring.local_day(settings, clock.now(settings)))
    with open_regular(path, path.name) as source, _reserved(folder, acceptable(path.name)) as target:
        draft = _draft_path(target)
        with draft.open("wb") as copy:
            shutil.copyfileobj(source, copy, _CHUNK_BYTES)
        notes.write(target, note)
        for written in (draft, notes.path_of(target)):
            if written.exists():  # whoever may read the folder may read what is in it, whatever the umask
                written.chmod(0o600 | (folder.stat().st_mode & 0o044))
        draft.rename(target)
    return target


def drop_folder(settings: Settings, silo: str) -> Path:
    """Where files of ``silo`` are delivered.

    Raises:
        KeyError: no such silo.
    """
    if silo not in silos():
        raise KeyError(f"there is no silo {silo!r}; there are: {', '.join(silos())}")
    return settings.drop_dir / silo


class _Landing:
    """The connections that landing needs: role ``landing`` can put and list in its bucket, and nothing else."""

    def __init__(self, settings: Settings, silo: str) -> None:
        self._settings = settings
        self._silo = silo
        self._folder = drop_folder(settings, silo)
        now = trusted_clock.now(settings, "pipeline")
        self._day, self._today = now.date(), declaring.local_day(settings, now)
        self._store: Minio = object_store.client(settings, "landing")
        self._connection: psycopg.Connection = database.connect(settings, "pipeline", "lake")

    def close(self) -> None:
        self._connection.close()

    def recover(self) -> None:
        """Be ready for the next file, whatever the last one met."""
        if not self._connection.closed:
            self._connection.rollback()

    def require_answers(self) -> None:
        """Have it raised now if store or database are away: the next file would only meet the same."""
        object_store.exists(self._store, BUCKET, f"{self._silo}/")
        self._connection.execute("select 1")
        self._connection.commit()

    def land(self, path: Path, note: Note, *, take_away: bool = False) -> Landed:
        _refuse_early(path, note, self._today)
        with open_inside(self._folder, path) as stream:
            before = os.fstat(stream.fileno())
            if before.st_size > LARGEST:
                problem = f"its {before.st_size:,} bytes are more than the {LARGEST:,} that one object can hold"
                raise Refused("too_large", path.name, problem, "Deliver it in parts")
            delivery_id, size = _digest(stream)
            outcome, refusal = self._record(path, stream, delivery_id, size, note)
            new = outcome in {"new", "reopened"}
            declares = frozenset[date]() if new else self._declare_more(delivery_id, printable(path.name), note)
            if take_away:
                self._take_away(path, before, delivery_id if new and _made_private(stream) else None)
        return Landed(self._silo, delivery_id, printable(path.name), size, outcome, refusal, declares)

    def _record(
        self, path: Path, stream: BinaryIO, delivery_id: str, size: int, note: Note
    ) -> tuple[Outcome, str | None]:
        known = registry.delivery(self._connection, self._silo, delivery_id)
        self._connection.commit()
        if known is not None and known.status not in {"refused", "parked"}:
            if self._still_kept(known):
                return "again", None
            self._upload(path, stream, known.object_key, delivery_id, size)
            return "restored", None
        if known is not None and known.status == "refused" and self._says_nothing_new(known, note):
            return "again", known.reason
        key = f"{self._silo}/dt={self._day}/{delivery_id}.{_extension(path)}"
        self._upload(path, stream, key, delivery_id, size)
        if known is not None:
            reopened = registry.reopen_delivery(
                self._connection,
                self._silo,
                delivery_id,
                object_key=key,
                file_name=printable(path.name),
                format_name=note.format,
                corrects=note.corrects,
                landed_on=self._today,
                covers=note.days or None,
            )
            self._connection.commit()
            return "reopened" if reopened else "again", None
        added = registry.add_delivery(
            self._connection,
            silo=self._silo,
            delivery_id=delivery_id,
            object_key=key,
            file_name=printable(path.name),
            size=size,
            format_name=note.format,
            corrects=note.corrects,
            landed_on=self._today,
            covers=note.days or None,
        )
        self._connection.commit()
        return "new" if added else "again", None

    def _declare_more(self, delivery_id: str, name: str, note: Note) -> frozenset[date]:
        """What bytes that are here already are now declared to be complete for; when they are read, if they wait."""
        if registry.also_name_delivery(self._connection, self._silo, delivery_id, name, note.days):
            self._connection.commit()
            return frozenset(note.days)
        known = registry.delivery(self._connection, self._silo, delivery_id)
        if known is None or known.status != "committed" or known.format is None:  # nothing of it was taken
            return frozenset()
        now = replace(known, landed_on=self._today, also_named=[name], covers=note.days)
        said = declaring.declared(silos()[self._silo], now, known.format, known.rows_in)
        covered = registry.covered_days(self._connection, [self._silo])[self._silo]
        more = {source: found - covered for source, found in said.items() if found - covered}
        declaring.declare(self._connection, known, more, clock.now(self._settings))
        self._connection.commit()
        return frozenset().union(*more.values())

    def _still_kept(self, known: registry.DeliveryRow) -> bool:
        """Whether the store has all bytes of a delivery, or need not have them any longer."""
        oldest = retention_limits.landing(self._silo).first_day_kept(self._day)
        return known.landed_at.date() < oldest or self._stored(known.object_key) == [known.bytes]

    def _stored(self, key: str) -> list[int | None]:
        """The size of the object with this key; nothing when there is none."""
        found = self._store.list_objects(BUCKET, prefix=key)
        return [each.size for each in found if each.object_name == key]

    def _says_nothing_new(self, refused: registry.DeliveryRow, note: Note) -> bool:
        """Whether the same bytes would be refused again: they are still there, and nothing else is said of them."""
        kept = object_store.exists(self._store, BUCKET, refused.object_key)
        said = (refused.format, refused.corrects, refused.covers or [])
        return kept and (note == Note() or (note.format, note.corrects, note.days) == said)

    def _upload(self, path: Path, stream: BinaryIO, key: str, delivery_id: str, size: int) -> None:
        stream.seek(0)
        try:
            object_store.put_stream(self._store, BUCKET, key, stream, name=path.name, sha256=delivery_id)
        except object_store.ObjectChangedError:
            raise _still_changing(path) from None
        # The store checked the digest of every request as it came; that all of them count is seen by the size.
        stored = self._stored(key)
        if stored != [size]:
            raise StoredOtherwiseError(
                f"object {key} of bucket {BUCKET} holds {stored} bytes where {size} were sent: check the store"
            )

    def _take_away(self, path: Path, before: os.stat_result, awaited: str | None) -> None:
        """Remove a landed file, or hand it over to whoever awaits that delivery.

        First goes its note: were the note alone to stay, the next file would get it.
        """
        if not _unchanged(path, before):
            raise _still_changing(path)  # what landed is a delivery all the same; what is there now is another
        try:
            notes.path_of(path).unlink(missing_ok=True)
            given = handover.give(self._settings, self._silo, awaited, path) if awaited else None
            if given is None:
                path.unlink()
        except FileNotFoundError:
            raise
        except OSError:
            problem = "it has landed, but the lake may not remove it from the drop folder"
            remedy = "Let the lake's account write to that folder, or remove the file"
            raise Refused("not_removed", path.name, problem, remedy) from None
        if given is not None and not _unchanged(given, before):  # swapped at the last moment
            given.rename(path)
            raise _still_changing(path)


def _made_private(stream: BinaryIO) -> bool:
    """Take the file from all but its owner; False when that is somebody else."""
    try:
        os.fchmod(stream.fileno(), 0o600)
    except PermissionError:
        return False
    return True


def _unchanged(path: Path, before: os.stat_result) -> bool:
    now = path.lstat()
    return (now.st_ino, now.st_size, now.st_mtime_ns) == (before.st_ino, before.st_size, before.st_mtime_ns)


def _digest(stream: BinaryIO) -> tuple[str, int]:
    digest, size = hashlib.sha256(), 0
    while chunk := stream.read(_CHUNK_BYTES):
        digest.update(chunk)
        size += len(chunk)
    return digest.hexdigest(), size


def _refuse_early(path: Path, note: Note, today: date) -> None:
    """Refuse a file that is said to be complete for a day that is not over."""
    if note.days and note.days[-1] >= today:
        problem = f"it is declared complete for {note.days[-1]}, and that day is not over"
        raise Refused("covers_too_early", path.name, problem, "Declare only days that are over")


def _still_changing(path: Path) -> Refused:
    return Refused(
        "still_changing",
        path.name,
        "it changed while it was being landed",
        "Deliver it once complete: write it under a name that ends in .part, then rename it",
    )


def _extension(path: Path) -> str:
    found = _EXTENSION.search(path.name)
    return found.group(1).lower() if found else "bin"


@contextmanager
def _reserved(folder: Path, name: str) -> Iterator[Path]:
    """A name in ``folder``, ``name`` if it can be, that no other :func:`drop` uses meanwhile: its note is its own."""
    for candidate in (name, *(f"{count}-{name}" for count in range(1, 1000))):
        target = folder / candidate
        try:
            _draft_path(target).touch(0o600, exist_ok=False)
        except FileExistsError:
            continue
        try:
            if not os.path.lexists(target) and not os.path.lexists(notes.path_of(target)):
                yield target
                return
        finally:
            _draft_path(target).unlink(missing_ok=True)
    raise FileExistsError(f"{folder} is full of files called {name}: is anything sweeping it?")


def _sync(folder: Path) -> None:
    """Have the names in a folder be on the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _draft_path(target: Path) -> Path:
    return target.with_name(f".{target.name}.part")


def _take(path: Path) -> None:
    """Have what was delivered be private, and a folder one that may be moved, as far as it is ours."""
    mode = path.lstat().st_mode
    if stat.S_ISREG(mode) or stat.S_ISDIR(mode):
        with suppress(PermissionError):
            path.chmod(0o700 if stat.S_ISDIR(mode) else 0o600)


def _set_aside(folder: Path, path: Path, refused: Refused) -> None:
    """Move what cannot be landed out of the way, itself and not what it may point to, with the reason beside it.

    Raises:
        OSError: it cannot be moved.
    """
    aside = folder / REFUSED_FOLDER
    aside.mkdir(mode=0o700, exist_ok=True)
    if aside.is_symlink():
        raise OSError(errno.ELOOP, f"{REFUSED_FOLDER} is a link")
    called = shortened(path.name)
    for name in itertools.chain([called], (f"{count}-{called}" for count in itertools.count(1))):
        # Each was delivered under a name of its own choice, and may be a link, or a pipe that nobody reads.
        moved, why, note = (aside / f"{name}{suffix}" for suffix in ("", ".why.txt", NOTE_SUFFIX))
        if not any(map(os.path.lexists, (moved, why, note))):
            break
    try:
        with why.open("x", errors="backslashreplace") as reason:
            reason.write(refused.sentence + "\n")
        _take(path)
        path.rename(moved)
    except BaseException:
        why.unlink(missing_ok=True)
        raise
    with suppress(OSError):  # there is none, or the name is too long for one
        notes.path_of(path).rename(note)
