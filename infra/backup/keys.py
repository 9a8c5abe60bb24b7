"""Keys and the two secrets that cannot be made again, in a place of their own: a mirror, without a history.

A backup of keys that remembered a destroyed key would undo its destruction. So there is one copy only, and each backup
makes it forget what the key store has forgotten.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from datetime import date
from pathlib import Path

from infra import secrets
from infra.backup.manifest import BackupError
from infra.keys import FILES, KeyStore, due_day
from infra.settings import Settings
from infra.signed_copies import SIGNING_KEY

SECRETS = (SIGNING_KEY,)
"""Without it no line can be added to the ledger any more. All other secrets are generated anew."""


def mirror(settings: Settings, folder: Path, wrong: Collection[tuple[str, str]] = ()) -> int:
    """Make ``folder`` hold the keys that live now, tombstones of those destroyed, and nothing else; how many live.

    Keys that are ``wrong`` (silo and month) stay in the mirror as they were: its copy may be the only right one. Keys
    of another backend than files are its own business: only the secrets are copied then.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.chmod(0o700)
    for name in SECRETS:
        source = secrets.path(settings, name)
        if source.exists():
            _copy(source, folder / "secrets" / name)
    if settings.keys_backend != FILES:
        return 0
    living = 0
    kept = KeyStore(folder / "keys")
    for state in KeyStore(settings.keys_dir).states():
        if (state.silo, state.month) in wrong:
            continue
        if state.alive:
            name = f"{state.silo}/{state.month}.key"
            _copy(settings.keys_dir / name, folder / "keys" / name)
            living += 1
        else:
            kept.destroy(state.silo, state.month)
    return living


def bring_back(settings: Settings, folder: Path, today: date) -> int:
    """Give an empty lake the keys of ``folder``; how many live. A key that is due by now is destroyed instead.

    The lake's own signing key, with which nothing was signed yet, gives way to that of the backup.

    Raises:
        BackupError: ``folder`` holds no keys, or the lake has some already.
    """
    if not (folder / "secrets").is_dir():
        raise BackupError(f"{folder} holds no backup of keys: name the folder that `calanque backup --keys` wrote")
    for name in SECRETS:
        source, target = folder / "secrets" / name, secrets.path(settings, name)
        if source.exists():
            _copy(source, target)
    if settings.keys_backend != FILES:
        return 0
    store, living = KeyStore(settings.keys_dir), 0
    for state in KeyStore(folder / "keys").states():
        if not state.alive or due_day(state.silo, state.month) <= today:
            store.destroy(state.silo, state.month)
            continue
        name = f"{state.silo}/{state.month}.key"
        source, target = folder / "keys" / name, settings.keys_dir / name
        if target.exists() and target.read_bytes() != source.read_bytes():
            raise BackupError(f"this lake has keys of its own ({state.silo}): restore into a new CALANQUE_HOME")
        _copy(source, target)
        living += 1
    return living


def _private(folder: Path) -> None:
    """``folder``, and what leads to it as far as it is not there, for its owner only."""
    if not folder.is_dir():
        _private(folder.parent)
        folder.mkdir(mode=0o700, exist_ok=True)


def _copy(source: Path, target: Path) -> None:
    """A copy that only its owner may read, complete or not there."""
    _private(target.parent)
    draft = target.with_name(f".{target.name}.{os.getpid()}")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as stream:
        stream.write(source.read_bytes())
        stream.flush()
        os.fsync(stream.fileno())
    draft.rename(target)
