"""The two object stores that the storage suite runs on."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.services import lake as services
from infra.settings import Settings


def _minio_binary() -> Path | None:
    """The MinIO server named by CALANQUE_MINIO, or beside this Python, or on PATH."""
    named = os.environ.get("CALANQUE_MINIO")
    beside = Path(sys.executable).parent / "minio"
    found = named or (str(beside) if beside.exists() else shutil.which("minio"))
    return Path(found) if found else None


@pytest.fixture(scope="session", params=["seaweedfs", "minio"])
def store(request: pytest.FixtureRequest) -> Iterator[Settings]:
    """A provisioned lake on each object store in turn.

    Without a MinIO binary that half is skipped, and says so; in CI, where a Go toolchain can build one, it fails.
    """
    if request.param == "seaweedfs":
        embedded: Settings = request.getfixturevalue("lake")
        if embedded.object_store != "seaweedfs":
            pytest.skip(f"the shared lake stands on {embedded.object_store}")
        yield embedded
        return
    binary = _minio_binary()
    if binary is None:
        if os.environ.get("CI") == "true" and shutil.which("go"):
            pytest.fail("MinIO is mandatory in CI where Go is present: run `make minio` first")
        pytest.skip("no MinIO binary: `make minio` builds one, CALANQUE_MINIO names one")
    home = Path(tempfile.mkdtemp(prefix="calanque-minio-"))
    home.chmod(0o755)
    settings = Settings(home=home, object_store="minio", quiet=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", f"{binary.parent}{os.pathsep}{os.environ['PATH']}")
        try:
            services.up(settings, airflow=False)
            yield settings
        finally:
            services.down(settings)
            shutil.rmtree(home, ignore_errors=True)
