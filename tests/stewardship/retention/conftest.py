"""A lake of their own, on each object store, for tests that move its clock: no other test may live in it."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from lakes import drill, need_minio

from infra.machines.services import lake as services
from infra.settings import Settings


@contextmanager
def _lake(store: str) -> Iterator[Settings]:
    home = Path(tempfile.mkdtemp(prefix="calanque-ret-"))
    home.chmod(0o755)
    settings = drill(home, object_store=store)
    try:
        services.up(settings, airflow=False)
        yield settings
    finally:
        services.down(settings)
        shutil.rmtree(home, ignore_errors=True)


@pytest.fixture(scope="module")
def mortal(request: pytest.FixtureRequest) -> Iterator[Settings]:
    """A lake on the object store that the module's parameter names; the embedded one without."""
    store = getattr(request, "param", "seaweedfs")
    if store == "minio":
        need_minio()
    with _lake(store) as settings:
        yield settings
