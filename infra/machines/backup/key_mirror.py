"""Keys and the two secrets that cannot be made again, in a place of their own: a mirror, without a history.

A backup of keys that remembered a destroyed key would undo its destruction. So there is one copy only, and each backup
makes it forget what the key store has forgotten. An erasure is brought to it at once: a lake restored from a backup
that is older takes the erased rows out again.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from datetime import datetime
from pathlib import Path

from infra import secrets
from infra.keys import signing_key
from infra.keys.store import FILES, KeyStore, is_due
from infra.machines.backup.manifest import BackupError
from infra.settings import Settings

SECRETS = (signing_key.SECRET,)
"""Without it no line can be added to the ledger any more. All other secrets are generated anew."""


_MIRROR = ".mirror"
"""In the key store: where the last backup mirrored it."""


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
    _private(settings.keys_dir)
    (settings.keys_dir / _MIRROR).write_text(str(folder))
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
    _copy_erased(KeyStore(settings.keys_dir), kept)
    return living


def mirror_erasures(settings: Settings) -> bool | None:
    """Bring what was erased to the mirror of the last backup: whether it could be; None when there is no mirror."""
    try:
        folder = Path((settings.keys_dir / _MIRROR).read_text())
    except FileNotFoundError:
        return None
    if not (folder / "keys").is_dir():
        return False
    try:
        _copy_erased(KeyStore(settings.keys_dir), KeyStore(folder / "keys"))
    except OSError:
        return False
    return True


def _copy_erased(source: KeyStore, target: KeyStore) -> None:
    """Have ``target`` remember what ``source`` does, of the keys that both have."""
    living = {(state.silo, state.month) for state in target.states() if state.alive}
    for silo in {state.silo for state in source.states()}:
        for month, pseudonyms in source.erased(silo).items():
            if (silo, month) in living:
                for pseudonym in pseudonyms:
                    target.erase(silo, month, pseudonym)


def bring_back(settings: Settings, folder: Path, now: datetime) -> int:
    """Give an empty lake the keys of ``folder``; how many live. A key that is due by now is destroyed instead.

    A key store that outlived its lake may know more than the mirror: what it destroyed and what was erased under its
    keys stay so. The lake's own signing key, with which nothing was signed yet, gives way to that of the backup.

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
    destroyed = {(state.silo, state.month) for state in store.states() if state.tombstone}
    for state in KeyStore(folder / "keys").states():
        if not state.alive or is_due(state, now) or (state.silo, state.month) in destroyed:
            store.destroy(state.silo, state.month)
            continue
        name = f"{state.silo}/{state.month}.key"
        source, target = folder / "keys" / name, settings.keys_dir / name
        if target.exists() and target.read_bytes() != source.read_bytes():
            raise BackupError(f"this lake has keys of its own ({state.silo}): restore into a new CALANQUE_HOME")
        _copy(source, target)
        living += 1
    _copy_erased(KeyStore(folder / "keys"), store)
    return living


def _private(folder: Path) -> None:
    """``folder``, and what leads to it as far as it is not there, for its owner only."""
    if not folder.is_dir():
        _private(folder.parent)
        folder.mkdir(mode=0o700, exist_ok=True)


def _copy(source: Path, target: Path) -> None:
    """A copy that only its owner may read, complete or not there, and as old: a key's age says when it is due."""
    _private(target.parent)
    draft = target.with_name(f".{target.name}.{os.getpid()}")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as stream:
        stream.write(source.read_bytes())
        stream.flush()
        made = source.stat()
        os.utime(stream.fileno(), ns=(made.st_atime_ns, made.st_mtime_ns))
        os.fsync(stream.fileno())
    draft.rename(target)
