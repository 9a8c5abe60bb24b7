"""Keys that are checked against what the registry knows of them, so that a lost key is missed and not made again.

A key made anew in the place of a lost one would give every vehicle and record of its month another name: corrections
would no longer find what they correct, and rows would be there twice. A noise key made anew would draw other noise for
counts that are published, and who averages the two has less noise than was promised. The registry keeps a check value
of each key when it is first used, from which the key cannot be found out.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from contextlib import closing

from infra import database, registry
from infra.keys.store import KeyDamagedError, KeyDestroyedError, Keys, KeyState
from infra.settings import Settings

_REMEDY = "from the mirror that `calanque backup --keys` keeps, see docs/operations/backup.md"


class KnownKeys:
    """The keys of ``keys``, each the one that was used before or none, as ``role``: ``pipeline`` or ``publisher``."""

    def __init__(self, settings: Settings, keys: Keys, role: str = "pipeline") -> None:
        self._settings = settings
        self._keys = keys
        self._role = role
        self._noted: dict[tuple[str, str], str] = {}

    def get_or_create(self, silo: str, month: str) -> bytes:
        """The key of ``silo`` for ``month``, made only if it never was.

        Raises:
            KeyDestroyedError: its time is over.
            KeyDamagedError: it was used before and is gone, or another one is in its place.
        """
        noted = self._noted.get((silo, month)) or self._look_up(silo, month)
        if noted is not None and not self._is_there(silo, month):
            raise KeyDamagedError(
                f"the key of silo {silo} for {month} was used before and is gone: put it back {_REMEDY}"
            )
        key = self._keys.get_or_create(silo, month)
        if noted is None:
            noted = self._note(silo, month, _check_value(key))
        if not hmac.compare_digest(noted, _check_value(key)):
            raise KeyDamagedError(
                f"the key of silo {silo} for {month} is not the one that was used before: put that one back {_REMEDY}"
            )
        self._noted[silo, month] = noted
        return key

    def destroy(self, silo: str, month: str) -> None:
        self._keys.destroy(silo, month)

    def states(self) -> list[KeyState]:
        return self._keys.states()

    def erase(self, silo: str, month: str, pseudonym: bytes) -> None:
        self._keys.erase(silo, month, pseudonym)

    def erased(self, silo: str) -> Mapping[str, frozenset[bytes]]:
        return self._keys.erased(silo)

    def wrong(self) -> dict[tuple[str, str], str]:
        """What is wrong with keys that were used before, by silo and month: each is gone, replaced or damaged."""
        found = {}
        for silo, month in self._used():
            try:
                self.get_or_create(silo, month)
            except KeyDestroyedError:
                continue
            except KeyDamagedError as damage:
                found[silo, month] = str(damage)
        return found

    def _is_there(self, silo: str, month: str) -> bool:
        """Whether the store has something to say of the key: its bytes, or that it was destroyed."""
        return any((state.silo, state.month) == (silo, month) for state in self._keys.states())

    def _used(self) -> list[tuple[str, str]]:
        with closing(database.connect(self._settings, self._role, "lake", autocommit=True)) as connection:
            return registry.used_keys(connection)

    def _look_up(self, silo: str, month: str) -> str | None:
        with closing(database.connect(self._settings, self._role, "lake", autocommit=True)) as connection:
            return registry.key_check(connection, silo, month)

    def _note(self, silo: str, month: str, value: str) -> str:
        with closing(database.connect(self._settings, self._role, "lake", autocommit=True)) as connection:
            return registry.note_key(connection, silo, month, value)


def _check_value(key: bytes) -> str:
    return hmac.digest(key, b"calanque check value", hashlib.sha256).hex()[:32]
