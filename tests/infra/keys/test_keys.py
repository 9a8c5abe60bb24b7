"""The key store: one key per silo and month, owner-only, safe between processes, never back from the dead."""

from __future__ import annotations

import stat
from concurrent.futures import ProcessPoolExecutor
from datetime import date
from multiprocessing import get_context
from pathlib import Path

import pytest

from infra.keys.store import (
    KEY_BYTES,
    KeyBackendError,
    KeyDamagedError,
    KeyDestroyedError,
    KeyState,
    KeyStore,
    due_day,
    open_keys,
)
from infra.settings import Settings


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "keys"


def test_a_key_is_made_once_and_differs_by_silo_and_month(folder: Path) -> None:
    store = KeyStore(folder)
    names = [("tows", "2026-01"), ("tows", "2026-02"), ("verbalisations", "2026-01")]
    keys = [store.get_or_create(*name) for name in names]
    assert len(set(keys)) == 3
    assert all(len(key) == KEY_BYTES for key in keys)
    assert [KeyStore(folder).get_or_create(*name) for name in names] == keys


def test_only_the_owner_can_read_keys(folder: Path) -> None:
    KeyStore(folder).get_or_create("tows", "2026-01")
    modes = {path.relative_to(folder).as_posix(): stat.S_IMODE(path.stat().st_mode) for path in folder.rglob("*")}
    assert modes == {"tows": 0o700, "tows/2026-01.key": 0o600}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_key_that_others_can_read_or_that_was_cut_is_not_used(folder: Path) -> None:
    store = KeyStore(folder)
    store.get_or_create("tows", "2026-01")
    path = folder / "tows" / "2026-01.key"
    path.chmod(0o644)
    with pytest.raises(KeyDamagedError, match=r"2026-01\.key can be read by others"):
        store.get_or_create("tows", "2026-01")
    path.chmod(0o600)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(KeyDamagedError, match="32-byte key"):
        store.get_or_create("tows", "2026-01")


@pytest.mark.parametrize("used_before", [True, False])
def test_a_destroyed_key_never_comes_back(folder: Path, used_before: bool) -> None:
    store = KeyStore(folder)
    if used_before:
        store.get_or_create("tows", "2026-01")
    store.destroy("tows", "2026-01")
    store.destroy("tows", "2026-01")
    with pytest.raises(KeyDestroyedError, match="silo tows for 2026-01"):
        KeyStore(folder).get_or_create("tows", "2026-01")
    assert [path.name for path in (folder / "tows").iterdir()] == ["2026-01.destroyed"]
    assert store.get_or_create("tows", "2026-02")


@pytest.mark.parametrize(
    ("silo", "month"), [("../tows", "2026-01"), ("tows", "2026-13"), ("tows", "../../x"), ("", "")]
)
def test_a_name_that_is_not_a_silo_and_a_month_is_refused(folder: Path, silo: str, month: str) -> None:
    with pytest.raises(ValueError, match="no such key"):
        KeyStore(folder).get_or_create(silo, month)


def _key(folder: Path, month: int) -> bytes:
    return KeyStore(folder).get_or_create("tows", f"{2000 + month // 12}-{month % 12 + 1:02}")


def test_processes_that_race_get_the_same_key(folder: Path) -> None:
    months = [month for month in range(40) for _ in range(2)]
    with ProcessPoolExecutor(4, mp_context=get_context("fork")) as pool:
        keys = list(pool.map(_key, [folder] * len(months), months))
    assert keys[::2] == keys[1::2]
    assert len(set(keys)) == 40
    assert len(list((folder / "tows").iterdir())) == 40  # no draft is left behind


# --- what the store says of its keys, and other stores ----------------------------------------------------------------


def test_the_store_says_what_it_has_and_never_a_key(folder: Path) -> None:
    store = KeyStore(folder)
    assert store.states() == []
    kept, destroyed = store.get_or_create("tows", "2026-02"), store.get_or_create("tows", "2026-01")
    store.destroy("tows", "2026-01")
    store.destroy("verbalisations", "2025-12")  # never used
    states = store.states()
    assert [(state.silo, state.month, state.alive, state.destroyed) for state in states] == [
        ("tows", "2026-01", False, True),
        ("tows", "2026-02", True, False),
        ("verbalisations", "2025-12", False, True),
    ]
    assert states[1].created is not None
    assert not any(key.hex() in repr(states) for key in (kept, destroyed))


def test_a_destruction_that_was_interrupted_is_neither_alive_nor_done(folder: Path) -> None:
    store = KeyStore(folder)
    store.get_or_create("tows", "2026-01")
    (folder / "tows" / "2026-01.destroyed").touch(0o600)  # the first of the two steps
    [state] = store.states()
    assert (state.alive, state.destroyed) == (False, False)
    with pytest.raises(KeyDestroyedError):
        store.get_or_create("tows", "2026-01")
    store.destroy("tows", "2026-01")
    assert store.states()[0].destroyed


class Vault:
    """A key store of somebody else's: what CALANQUE_KEYS_BACKEND may name."""

    def __init__(self, settings: Settings) -> None:
        self.city = settings.city

    def get_or_create(self, silo: str, month: str) -> bytes:
        return f"{silo}{month}".encode().ljust(KEY_BYTES, b".")

    def destroy(self, silo: str, month: str) -> None:
        raise NotImplementedError

    def states(self) -> list[KeyState]:
        return []

    def erase(self, silo: str, month: str, pseudonym: bytes) -> None:
        raise NotImplementedError

    def erased(self, silo: str) -> dict[str, frozenset[bytes]]:  # noqa: ARG002
        return {}


def test_another_store_is_named_by_configuration(folder: Path) -> None:
    assert isinstance(open_keys(Settings(keys=folder)), KeyStore)
    vault = open_keys(Settings(keys_backend=f"{__name__}:Vault", city="elsewhere"))
    assert isinstance(vault, Vault)
    assert vault.city == "elsewhere"


@pytest.mark.parametrize("named", ["vault", "no.such.module:open", "infra.keys.store:no_such_factory", ":", ""])
def test_a_store_that_is_not_there_is_refused_by_name(named: str) -> None:
    with pytest.raises(KeyBackendError, match="CALANQUE_KEYS_BACKEND"):
        open_keys(Settings(keys_backend=named))


@pytest.mark.parametrize(
    ("silo", "month", "due"),
    [
        ("tows", "2026-01", date(2026, 3, 1)),
        ("verbalisations", "2026-11", date(2027, 1, 1)),
        ("tows", "2026-12", date(2027, 2, 1)),
        ("noise", "2026-01", date(2027, 5, 1)),
    ],
)
def test_when_a_key_is_due(silo: str, month: str, due: date) -> None:
    assert due_day(silo, month) == due
