"""Two builds of the same rows, shared by the tests of the dbt project: dbt takes seconds to start."""

from __future__ import annotations

from pathlib import Path

import pytest
import small_lake
from small_lake import Lake


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """A small lake, built by one thread."""
    return _build(tmp_path_factory.mktemp("dbt") / "one", threads=1)


@pytest.fixture(scope="session")
def rebuilt(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """The same rows in another order, in more files, built by two threads."""
    return _build(tmp_path_factory.mktemp("dbt") / "two", threads=2, shuffle=True)


def _build(folder: Path, threads: int, *, shuffle: bool = False) -> Lake:
    rows = small_lake.tables()
    if shuffle:
        rows = {name: frame.sample(fraction=1, shuffle=True, seed=7) for name, frame in rows.items()}
    lake = small_lake.make(folder, rows, parts=2 if shuffle else 1)
    done = small_lake.dbt(lake, "build", "--threads", str(threads))
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    return lake
