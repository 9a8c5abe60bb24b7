"""Two builds of the same rows, shared by the tests of the dbt project: dbt takes seconds to start."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import small_lake
from small_lake import Lake


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where both lakes are, and the keys they share."""
    return tmp_path_factory.mktemp("dbt")


@pytest.fixture(scope="session")
def built(folder: Path) -> Lake:
    """A small lake, built by one thread."""
    return _build(folder / "one", threads=1)


@pytest.fixture(scope="session")
def rebuilt(folder: Path) -> Lake:
    """The same rows in another order, in more files, built by eight threads."""
    return _build(folder / "two", threads=8, shuffle=True)


@pytest.fixture(scope="session")
def manifest(built: Lake) -> dict[str, Any]:
    return json.loads((built.folder / "target" / "manifest.json").read_text())


def _build(folder: Path, threads: int, *, shuffle: bool = False) -> Lake:
    rows = small_lake.tables()
    if shuffle:
        rows = {name: frame.sample(fraction=1, shuffle=True, seed=7) for name, frame in rows.items()}
    lake = small_lake.make(folder, folder.parent / "keys", rows, parts=2 if shuffle else 1)
    done = small_lake.dbt(lake, "build", "--threads", str(threads), "--exclude", "test_type:unit")
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    return lake
