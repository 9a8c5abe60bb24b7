"""The key store: one key per silo and month, owner-only, safe between processes, never back from the dead."""

from __future__ import annotations

import stat
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest

from infra.keys import KEY_BYTES, KeyDamagedError, KeyDestroyedError, KeyStore


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
