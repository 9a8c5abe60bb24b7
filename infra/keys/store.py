"""Keys: one per silo and month, outside the lake, readable by their owner only, destroyed when their time is over.

Destroying a month's key is what makes its pseudonyms unlinkable for good, so a destroyed key leaves a tombstone and is
never created again: late data of that month cannot be pseudonymised any more, and whoever asks is told so.

Beside each key is what was erased under it: pseudonyms that no row may bear any more, for as long as the key lives.
They live with the keys, and not in the lake, so that a lake that was restored still knows them.

Rotation needs nobody: another month is another key. When each is due to be destroyed is declared in :data:`MONTHS` and
worked out by :func:`due_day`; :mod:`privacy.key_duty` does it.
"""

from __future__ import annotations

import importlib
import os
import re
import secrets as entropy
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Protocol

from infra.calendar.clock import add_months
from infra.errors import ExpectedError
from infra.settings import Settings

KEY_BYTES = 32
FILES = "files"

DEFAULT_MONTHS = 2
"""The key of month M is destroyed on the first day of month M + 2: data of M may be a whole month late, no more."""

GRACE = timedelta(days=1)
"""A key made after its date, to load history, lives this long: a load is not cut in the middle by the daily job."""

MONTHS: Mapping[str, int] = MappingProxyType({"noise": 16})
"""Names that are not a silo's, and how many months their keys last. ``noise`` draws the noise of published marts, by
the first month of a quarter: it must be there for as long as anything of that quarter could be counted again, which is
the 13 months that conformed data are kept, after the quarter's last month. Then nobody can take the noise off."""

_CALLS = ("get_or_create", "destroy", "states", "erase", "erased")
_SILO = re.compile(r"[a-z][a-z0-9_]{0,62}")
_MONTH = re.compile(r"\d{4}-(0[1-9]|1[0-2])")


class KeyDestroyedError(LookupError):
    """The key of this month was destroyed when its retention ended; its pseudonyms cannot be computed any more."""


class KeyDamagedError(ExpectedError, ValueError):
    """A key file that must not be used: wrong length, or readable by others."""


class KeyBackendError(ExpectedError, ValueError):
    """CALANQUE_KEYS_BACKEND names nothing that can be used."""


@dataclass(frozen=True, order=True)
class KeyState:
    """What the store has of one key. ``present``: its bytes are there. ``tombstone``: it may never be made again.

    Between the two steps of a destruction that was interrupted, both are true: such a key is used by nobody.
    """

    silo: str
    month: str
    present: bool
    tombstone: bool
    created: datetime | None = None  # null once its bytes are gone

    @property
    def alive(self) -> bool:
        return self.present and not self.tombstone

    @property
    def destroyed(self) -> bool:
        return self.tombstone and not self.present


class Keys(Protocol):
    """Where keys come from. :class:`KeyStore` keeps files; a vault answers the same five calls.

    Any number of processes use it at once.
    """

    def get_or_create(self, silo: str, month: str) -> bytes:
        """The 32-byte key of ``silo`` for ``month`` (``YYYY-MM``), or :class:`KeyDestroyedError`."""
        ...

    def destroy(self, silo: str, month: str) -> None:
        """Make the key of ``silo`` for ``month`` unavailable for ever, whether or not it existed. May be repeated."""
        ...

    def states(self) -> list[KeyState]:
        """Every key that exists or was destroyed, in order of silo and month; never a key's bytes."""
        ...

    def erase(self, silo: str, month: str, pseudonym: bytes) -> None:
        """Remember a pseudonym under the key of ``silo`` for ``month`` as erased until that key is destroyed."""
        ...

    def erased(self, silo: str) -> Mapping[str, frozenset[bytes]]:
        """What was erased under the living keys of ``silo``, by month."""
        ...


def open_keys(settings: Settings) -> Keys:
    """The key store of this lake: files, or what ``factory(settings)`` of the configured ``module:factory`` returns.

    Raises:
        KeyBackendError: there is no such module or factory.
    """
    if settings.keys_backend == FILES:
        return KeyStore(settings.keys_dir)
    module, _, factory = settings.keys_backend.partition(":")
    try:
        opened: Keys = getattr(importlib.import_module(module), factory)(settings)
    except (ImportError, AttributeError, ValueError) as reason:
        raise KeyBackendError(
            f"CALANQUE_KEYS_BACKEND is {settings.keys_backend!r}, which is neither {FILES!r} nor an importable "
            f"module:factory ({reason})"
        ) from reason
    if missing := [call for call in _CALLS if not hasattr(opened, call)]:
        raise KeyBackendError(f"what {settings.keys_backend!r} returns does not answer {', '.join(missing)}")
    return opened


def due_day(silo: str, month: str) -> date:
    """The first day on which the key of ``silo`` for ``month`` (``YYYY-MM``) must be gone."""
    return add_months(date.fromisoformat(f"{month}-01"), MONTHS.get(silo, DEFAULT_MONTHS))


def is_due(state: KeyState, now: datetime) -> bool:
    """Whether a key must be gone by ``now`` and is not."""
    if state.destroyed:
        return False
    if state.tombstone:
        return True  # a destruction that was interrupted
    due = due_day(state.silo, state.month)
    if now.date() < due:
        return False
    made = state.created
    return made is None or made.date() < due or not made <= now < made + GRACE


class KeyStore:
    """Keys as files ``<directory>/<silo>/<YYYY-MM>.key`` of mode 0600 in folders of mode 0700."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def __repr__(self) -> str:
        return f"KeyStore({str(self._directory)!r})"

    def get_or_create(self, silo: str, month: str) -> bytes:
        """The key of ``silo`` for ``month`` (``YYYY-MM``): 32 random bytes, created on first use.

        Processes may race: the first key linked into place wins and all return it.

        Raises:
            KeyDestroyedError: the key existed and was destroyed.
            KeyDamagedError: the file is not a usable key; the message names the file and the remedy.
        """
        key = self._path(silo, month, ".key")
        tombstone = self._path(silo, month, ".destroyed")
        if not tombstone.exists() and not key.exists():
            self._create(key)
            if tombstone.exists():  # destroyed while this process was creating it
                key.unlink(missing_ok=True)
        if tombstone.exists():
            raise KeyDestroyedError(
                f"the key of silo {silo} for {month} was destroyed: data of that month came too late"
            )
        return _read(key)

    def destroy(self, silo: str, month: str) -> None:
        """Destroy the key of ``silo`` for ``month``, whether or not it was ever used. Doing it twice is harmless."""
        key = self._path(silo, month, ".key")
        tombstone = self._path(silo, month, ".destroyed")
        self._make_folder(tombstone.parent)
        # The tombstone comes first: after a crash between the two steps the key is already refused.
        os.close(os.open(tombstone, os.O_WRONLY | os.O_CREAT, 0o600))
        _sync_folder(tombstone.parent)
        self._path(silo, month, ".erased").unlink(missing_ok=True)
        try:
            with key.open("r+b") as stream:
                stream.write(entropy.token_bytes(KEY_BYTES))
                os.fsync(stream.fileno())
        except FileNotFoundError:
            return
        key.unlink(missing_ok=True)
        _sync_folder(key.parent)

    def states(self) -> list[KeyState]:
        """Every key that exists or was destroyed, in order of silo and month."""
        found: dict[tuple[str, str], dict[str, Path]] = {}
        for path in self._directory.glob("*/*"):
            if (
                path.suffix in {".key", ".destroyed"}
                and _SILO.fullmatch(path.parent.name)
                and _MONTH.fullmatch(path.stem)
            ):
                found.setdefault((path.parent.name, path.stem), {})[path.suffix] = path
        return sorted(
            KeyState(silo, month, ".key" in files, ".destroyed" in files, _modified(files.get(".key")))
            for (silo, month), files in found.items()
        )

    def erase(self, silo: str, month: str, pseudonym: bytes) -> None:
        """Remember ``pseudonym`` until the key of ``silo`` for ``month`` is destroyed: at once when it was."""
        if pseudonym in self.erased(silo).get(month, ()):
            return
        path = self._path(silo, month, ".erased")
        self._make_folder(path.parent)
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        with os.fdopen(descriptor, "w") as stream:
            stream.write(f"{pseudonym.hex()}\n")
            stream.flush()
            os.fsync(descriptor)
        _sync_folder(path.parent)
        if self._path(silo, month, ".destroyed").exists():
            path.unlink(missing_ok=True)

    def erased(self, silo: str) -> Mapping[str, frozenset[bytes]]:
        """What was erased under the living keys of ``silo``, by month.

        Raises:
            KeyDamagedError: a list of them cannot be read; the message names the file and the remedy.
        """
        found = {}
        for path in sorted(self._directory.glob(f"{silo}/*.erased")):
            try:
                found[path.stem] = frozenset(map(bytes.fromhex, path.read_text().split()))
            except ValueError:
                raise KeyDamagedError(
                    f"{path} is damaged, and rows that were erased would come back: restore it from the key store's "
                    "backup"
                ) from None
        return found

    def _path(self, silo: str, month: str, suffix: str) -> Path:
        if not _SILO.fullmatch(silo) or not _MONTH.fullmatch(month):
            raise ValueError(f"no such key: silo {silo!r}, month {month!r} (expected a register name and YYYY-MM)")
        return self._directory / silo / f"{month}{suffix}"

    def _make_folder(self, folder: Path) -> None:
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)

    def _create(self, key: Path) -> None:
        self._make_folder(key.parent)
        draft = key.with_name(f".{key.name}.{os.getpid()}.{entropy.token_hex(4)}")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as stream:
                stream.write(entropy.token_bytes(KEY_BYTES))
                stream.flush()
                os.fsync(stream.fileno())
            os.link(draft, key)
        except FileExistsError:
            return  # another process was first: its key is the key
        finally:
            draft.unlink(missing_ok=True)
        # Losing the key after pseudonyms were committed would orphan them: the name must be durable before first use.
        _sync_folder(key.parent)


def _read(key: Path) -> bytes:
    descriptor = os.open(key, os.O_RDONLY)
    with os.fdopen(descriptor, "rb") as stream:
        if os.fstat(descriptor).st_mode & 0o077:
            raise KeyDamagedError(
                f"{key} can be read by others: restrict it with `chmod 600` and consider it disclosed"
            )
        content = stream.read(KEY_BYTES + 1)
    if len(content) != KEY_BYTES:
        raise KeyDamagedError(f"{key} does not hold a {KEY_BYTES}-byte key: restore it from the key store's backup")
    return content


def _modified(path: Path | None) -> datetime | None:
    try:
        return None if path is None else datetime.fromtimestamp(path.stat().st_mtime, UTC)
    except FileNotFoundError:  # destroyed meanwhile
        return None


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
