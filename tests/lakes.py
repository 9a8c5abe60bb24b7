"""Real lakes for tests: object store and PostgreSQL, with Airflow or without."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from infra import database, registry
from infra.calendar import clock
from infra.machines.provisioning import admit_deliverer
from infra.machines.services import lake as services
from infra.machines.services.model import ServiceError
from infra.machines.stores import minio
from infra.settings import Settings
from ingestion.register import silos


def need_minio() -> None:
    """Skip what asks for it where there is no MinIO program; in CI, where a Go toolchain can build one, fail."""
    try:
        minio.binary()
    except ServiceError as missing:
        if os.environ.get("CI") == "true" and shutil.which("go"):
            pytest.fail(f"MinIO is mandatory in CI where Go is present: {missing}")
        pytest.skip(str(missing))


def drill(home: Path, **options: Any) -> Settings:
    """A lake of tests, in ``home``: made as a drill, so that it may have another clock than the machine's."""
    return Settings(home=home, quiet=True, drill=True, **options)


def declare(settings: Settings, first: date, last: date, *names: str) -> None:
    """Declare silos (all of them by default) complete for the days from the first to the last, as their stewards do."""
    with database.connect(settings, "publisher", "lake") as connection:
        for silo in names or silos():
            registry.declare(
                connection,
                silo,
                list(clock.days(first, last)),
                source="steward",
                said_by="tests",
                said_at=clock.now(settings),
            )


@contextmanager
def running(*, airflow: bool, prefix: str = "calanque-test-") -> Iterator[Settings]:
    """A lake in a home of its own, stopped and removed at the end.

    ``CALANQUE_TEST_HOME`` names a home to use instead, started if need be and left running: handy while developing.
    """
    kept = os.environ.get("CALANQUE_TEST_HOME")
    # Not pytest's own folders: their paths are long, and closed to the account that PostgreSQL runs as under root.
    home = Path(kept) if kept else Path(tempfile.mkdtemp(prefix=prefix))
    home.mkdir(mode=0o755, parents=True, exist_ok=True)
    home.chmod(0o755)
    settings = drill(home)
    admit_deliverer(settings, "tows")
    try:
        services.up(settings, airflow=airflow)
        yield settings
    finally:
        if not kept:
            services.down(settings)
            shutil.rmtree(home, ignore_errors=True)


def open_to_others(home: Path) -> list[str]:
    """What others may read, write or enter; under root they may pass through two folders, see `close_to_others`."""
    passed = {home, home / "data"} if os.getuid() == 0 else set()
    found = []
    for path in (home, *home.rglob("*")):
        mode = path.lstat().st_mode
        allowed = 0o011 if path in passed else 0
        set_by_the_store = path.suffix == ".vif"  # SeaweedFS, whatever the umask, in a folder that is closed
        if not stat.S_ISLNK(mode) and not set_by_the_store and mode & 0o077 & ~allowed:
            found.append(f"{stat.filemode(mode)} {path.relative_to(home)}")
    return found
