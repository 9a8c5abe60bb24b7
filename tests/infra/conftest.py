"""The two object stores that the storage suite runs on."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from lakes import drill, need_minio

from infra.machines.provisioning import admit_deliverer
from infra.machines.services import lake as services
from infra.settings import Settings


@pytest.fixture(scope="session", params=["seaweedfs", "minio"])
def store(request: pytest.FixtureRequest) -> Iterator[Settings]:
    """A provisioned lake on each object store in turn.

    Without a MinIO binary that half is skipped, and says so; in CI, where a Go toolchain can build one, it fails.
    """
    if request.param == "seaweedfs":
        embedded: Settings = request.getfixturevalue("lake")
        if embedded.store != "seaweedfs":
            pytest.skip(f"the shared lake stands on {embedded.store}")
        yield embedded
        return
    need_minio()
    home = Path(tempfile.mkdtemp(prefix="calanque-minio-"))
    home.chmod(0o755)
    settings = drill(home, object_store="minio")
    admit_deliverer(settings, "tows")
    try:
        services.up(settings, airflow=False)
        yield settings
    finally:
        services.down(settings)
        shutil.rmtree(home, ignore_errors=True)
