"""What landing hands over spares a download and is never believed: the digest decides."""

from __future__ import annotations

import stat
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import essai
import pytest

from infra import object_store
from infra.settings import Settings
from ingestion import pipeline
from ingestion.delivery import handover, landing
from ingestion.receipts import Receipt
from ingestion.refusal import Refused
from ingestion.register import Silo
from ingestion.rows.conforming import Conformed

pytestmark = pytest.mark.live

CONTENT = essai.csv(essai.RECORDS, [("r1", "2025-01-30", 1, "AB-001-CD"), ("r2", "2025-01-31", 2, "AB-002-CD")])


@pytest.fixture
def silo() -> Silo:
    return essai.make(f"essai_{uuid.uuid4().hex[:12]}")


@pytest.fixture
def downloads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The keys that ingestion fetches from the store."""
    fetched: list[str] = []
    get_file = object_store.get_file

    def noted(store: object, bucket: str, key: str, path: Path) -> None:
        fetched.append(key)
        get_file(store, bucket, key, path)  # type: ignore[arg-type]

    monkeypatch.setattr(object_store, "get_file", noted)
    return fetched


def ingest(lake: Settings, silo: Silo, meanwhile: Callable[[Path], None] = lambda _: None) -> Receipt:
    with essai.registered(silo):
        essai.deliver(lake, silo.name, "rows.csv", CONTENT)
        [landed] = landing.sweep(lake, silo.name).landed
        meanwhile(handover.folder(lake, silo.name) / landed.delivery_id)
        [receipt] = pipeline.ingest(lake, silo.name)
    assert (receipt.delivery_id, receipt.status) == (landed.delivery_id, "committed")
    assert list(handover.folder(lake, silo.name).iterdir()) == []
    assert set(essai.table(lake, silo.datasets[0])["record"]) == {"r1", "r2"}
    return receipt


def test_landed_bytes_are_not_fetched_again(lake: Settings, silo: Silo, downloads: list[str]) -> None:
    def look(given: Path) -> None:
        assert given.read_bytes() == CONTENT
        assert stat.S_IMODE(given.parent.stat().st_mode) == 0o700

    ingest(lake, silo, look)
    assert downloads == []


def test_bytes_that_are_not_there_are_fetched(lake: Settings, silo: Silo, downloads: list[str]) -> None:
    ingest(lake, silo, Path.unlink)
    assert len(downloads) == 1


@pytest.mark.parametrize("kind", ["changed", "cut", "binary", "link"])
def test_other_bytes_are_not_believed(lake: Settings, silo: Silo, downloads: list[str], kind: str) -> None:
    def tamper(given: Path) -> None:
        if kind == "link":
            elsewhere = given.parent.with_name(f"elsewhere-{silo.name}")
            given.rename(elsewhere)
            given.symlink_to(elsewhere)
        else:
            other = {"changed": CONTENT.replace(b"r1", b"r9"), "cut": CONTENT[:-5], "binary": b"\x7fELF\x00\x01"}
            given.write_bytes(other[kind])
        with pytest.raises(pipeline.IngestionError, match="written to after it had landed"):
            pipeline.ingest(lake, silo.name)
        assert downloads == []

    ingest(lake, silo, tamper)
    assert len(downloads) == 1


@pytest.mark.parametrize("refused", [False, True])
def test_a_file_written_to_while_it_is_read_is_fetched_the_next_time(
    lake: Settings, silo: Silo, downloads: list[str], monkeypatch: pytest.MonkeyPatch, refused: bool
) -> None:
    conform = pipeline.conform

    def written_to(*arguments: Any, **named: Any) -> Conformed:
        with next((lake.work_dir / "ingest" / silo.name).glob("*/delivered")).open("ab") as delivered:
            delivered.write(b"r3,2025-01-31,3,AB-003-CD\n")
        if refused:
            raise Refused("columns_missing", "rows.csv", "of what was written", "nothing")
        return conform(*arguments, **named)

    with essai.registered(silo):
        essai.deliver(lake, silo.name, "rows.csv", CONTENT)
        landing.sweep(lake, silo.name)
        monkeypatch.setattr(pipeline, "conform", written_to)
        with pytest.raises(pipeline.IngestionError, match="written to after it had landed"):
            pipeline.ingest(lake, silo.name)
        assert downloads == []
        monkeypatch.setattr(pipeline, "conform", conform)
        [receipt] = pipeline.ingest(lake, silo.name)
    assert (receipt.status, receipt.tally.accepted, len(downloads)) == ("committed", 2, 1)
    assert set(essai.table(lake, silo.datasets[0])["record"]) == {"r1", "r2"}


def test_another_disk_costs_a_download_and_nothing_else(
    lake: Settings, silo: Silo, downloads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def not_here(self: Path, target: Path) -> Path:
        if handover.folder(lake, silo.name) == target.parent:
            raise OSError(18, "Invalid cross-device link")
        return self.replace(target)

    monkeypatch.setattr(Path, "rename", not_here)
    ingest(lake, silo)
    assert len(downloads) == 1


def test_what_nobody_awaits_does_not_stay(lake: Settings, silo: Silo) -> None:
    ingest(lake, silo)
    with essai.registered(silo):
        essai.deliver(lake, silo.name, "again.csv", CONTENT)
        assert [landed.outcome for landed in landing.sweep(lake, silo.name).landed] == ["again"]
        folder = handover.folder(lake, silo.name)
        assert list(folder.iterdir()) == []
        (folder / ("0" * 64)).write_bytes(b"of a delivery that another machine ingested")
        assert pipeline.ingest(lake, silo.name) == []
    assert list(folder.iterdir()) == []
