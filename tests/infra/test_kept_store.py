"""The store of a lake is chosen when it first starts, and never silently another one afterwards."""

from __future__ import annotations

from pathlib import Path

import pytest

from infra import kept_store
from infra.machines.services import lake as services
from infra.machines.services.model import ServiceError
from infra.settings import Settings


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A program that is there."""
    monkeypatch.delenv("CALANQUE_OBJECT_STORE", raising=False)
    monkeypatch.setenv("CALANQUE_MINIO", str(tmp_path / "minio"))
    return tmp_path / "minio"


@pytest.fixture
def no_program(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("CALANQUE_OBJECT_STORE", raising=False)
    monkeypatch.delenv("CALANQUE_MINIO", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(kept_store.sys, "executable", str(tmp_path / "python"))


@pytest.mark.usefixtures("program")
def test_a_new_lake_takes_minio_where_it_is(tmp_path: Path) -> None:
    assert Settings(home=tmp_path / "lake").store == "minio"


@pytest.mark.usefixtures("no_program")
def test_a_new_lake_without_minio_takes_the_store_that_is_installed(tmp_path: Path) -> None:
    assert Settings(home=tmp_path / "lake").store == "seaweedfs"


@pytest.mark.usefixtures("program")
@pytest.mark.parametrize("store", ["seaweedfs", "minio", "external"])
def test_a_lake_keeps_its_store(tmp_path: Path, store: kept_store.Store) -> None:
    kept_store.keep(tmp_path, store)
    assert Settings(home=tmp_path).store == store


@pytest.mark.usefixtures("program")
def test_a_lake_from_before_keeps_the_store_that_has_its_data(tmp_path: Path) -> None:
    (tmp_path / "data" / "seaweedfs").mkdir(parents=True)
    assert Settings(home=tmp_path).store == "seaweedfs"


@pytest.mark.usefixtures("no_program")
def test_what_is_asked_for_goes_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CALANQUE_OBJECT_STORE", "external")
    assert Settings(home=tmp_path).store == "external"


def test_another_store_is_refused_before_anything_starts(tmp_path: Path) -> None:
    kept_store.keep(tmp_path, "minio")
    with pytest.raises(ServiceError, match="the objects of this lake are in minio"):
        services.up(Settings(home=tmp_path, object_store="seaweedfs"))
    assert kept_store.written(tmp_path) == "minio"
    assert not (tmp_path / "data").exists()
