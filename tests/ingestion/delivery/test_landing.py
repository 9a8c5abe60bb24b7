"""The drop folder: what lands, what does not, and what is left behind."""

from __future__ import annotations

import hashlib
import os
import uuid
from datetime import UTC, datetime
from pathlib import Path

import essai
import pytest

from infra import database, object_store, registry
from infra.settings import Settings
from ingestion.delivery import landing
from ingestion.refusal import Refused
from ingestion.register import Silo

pytestmark = pytest.mark.live


@pytest.fixture
def silo() -> Silo:
    return essai.make(f"essai_{uuid.uuid4().hex[:12]}")


@pytest.fixture
def folder(lake: Settings, silo: Silo) -> Path:
    folder = lake.drop_dir / silo.name
    folder.mkdir(parents=True)
    return folder


def sweep(lake: Settings, silo: Silo) -> landing.Sweep:
    with essai.registered(silo):
        return landing.sweep(lake, silo.name)


def row(lake: Settings, silo: Silo, delivery_id: str) -> registry.DeliveryRow:
    with database.connect(lake, "steward", "lake") as connection:
        found = registry.delivery(connection, silo.name, delivery_id)
    assert found is not None
    return found


@pytest.mark.parametrize("size", [0, 1, 5000, object_store.PART_BYTES * 2 + 7])
def test_bytes_land_untouched_under_their_digest(lake: Settings, silo: Silo, folder: Path, size: int) -> None:
    content = os.urandom(size)
    (folder / "Été 2026.CSV").write_bytes(content)
    [landed] = sweep(lake, silo).landed
    assert landed.delivery_id == hashlib.sha256(content).hexdigest()
    assert (landed.file_name, landed.bytes, landed.outcome) == ("Été 2026.CSV", size, "new")
    assert list(folder.iterdir()) == []
    found = row(lake, silo, landed.delivery_id)
    assert found.object_key == f"{silo.name}/dt={datetime.now(UTC).date()}/{landed.delivery_id}.csv"
    assert (found.status, found.bytes, found.format, found.corrects) == ("landed", size, None, None)
    store = object_store.client(lake, "pipeline")
    assert object_store.get_bytes(store, "landing", found.object_key) == content


def test_a_note_names_format_and_corrected_delivery_and_goes_with_its_file(
    lake: Settings, silo: Silo, folder: Path
) -> None:
    essai_source = folder.parent / "source.csv"
    essai_source.write_text("a\n")
    with essai.registered(silo):
        target = landing.drop(lake, silo.name, essai_source, "records", "0" * 64)
        second = landing.drop(lake, silo.name, essai_source)
    assert (target.name, second.name) == ("source.csv", "1-source.csv")
    assert sorted(path.name for path in folder.iterdir()) == ["1-source.csv", "source.csv", "source.csv.delivery.json"]
    landed = sweep(lake, silo).landed
    assert [one.outcome for one in landed] == ["new", "again"]
    found = row(lake, silo, landed[0].delivery_id)
    assert (found.format, found.corrects) == ("records", "0" * 64)
    assert list(folder.iterdir()) == []


def test_files_still_being_written_are_left_alone(lake: Settings, silo: Silo, folder: Path) -> None:
    names = ["a.csv.part", "b.TMP", ".hidden.csv", "c.csv.delivery.json"]
    for name in names:
        (folder / name).write_text("a\n")
    assert sweep(lake, silo) == ([], [])
    assert sorted(path.name for path in folder.iterdir()) == sorted(names)


def test_what_cannot_land_is_set_aside_with_the_reason(lake: Settings, silo: Silo, folder: Path) -> None:
    outside = folder.parent / f"outside-{silo.name}.csv"
    outside.write_text("secret\n")
    (folder / "link.csv").symlink_to(outside)
    (folder / "folder.csv").mkdir()
    os.mkfifo(folder / "pipe.csv")
    (folder / "noted.csv").write_text("a\n")
    (folder / "noted.csv.delivery.json").write_text('{"corrects": "yesterday"}')
    (folder / "good.csv").write_text("a\n")

    done = sweep(lake, silo)

    assert [landed.file_name for landed in done.landed] == ["good.csv"]
    assert {(refused.file, refused.rule) for refused in done.turned_away} == {
        ("link.csv", "not_a_file"),
        ("folder.csv", "not_a_file"),
        ("pipe.csv", "not_a_file"),
        ("noted.csv", "note_unreadable"),
    }
    assert [path.name for path in folder.iterdir()] == [".refused"]
    aside = folder / ".refused"
    assert (aside / "link.csv").is_symlink()
    assert outside.read_text() == "secret\n"
    assert (aside / "noted.csv").read_text() == "a\n"
    for refused in done.turned_away:
        assert (aside / f"{refused.file}.why.txt").read_text() == refused.sentence + "\n"
    assert sweep(lake, silo) == ([], [])


ODD_NOTES = {
    "brackets": b"[" * 65_000,
    "braces": b'{"a":' * 13_000,
    "large": b" " * 70_000 + b"{}",
    "binary": bytes(range(128, 256)),
    "nothing": b"",
    "list": b"[]",
    "key": b'{"colour": "red"}',
    "number": b'{"format": 7}',
    "infinity": b'{"format": 1e999}',
    "surrogate": b'{"format": "\\ud800"}',
}


def test_a_note_that_is_none_is_the_fault_of_its_file(lake: Settings, silo: Silo, folder: Path) -> None:
    for name, note in ODD_NOTES.items():
        (folder / f"{name}.csv").write_text(f"{name}\n")
        (folder / f"{name}.csv.delivery.json").write_bytes(note)
    (folder / "good.csv").write_text("good\n")
    (folder / "good.csv.delivery.json").write_text('{"format": "records"}', "utf-16")

    done = sweep(lake, silo)

    assert [landed.file_name for landed in done.landed] == ["good.csv"]
    assert {(refused.file, refused.rule) for refused in done.turned_away} == {
        (f"{name}.csv", "note_unreadable") for name in ODD_NOTES
    }
    assert all((folder / ".refused" / f"{name}.csv.delivery.json").exists() for name in ODD_NOTES)


def test_a_path_outside_the_drop_folder_is_refused(lake: Settings, silo: Silo, folder: Path) -> None:
    outside = folder.parent / f"outside-{silo.name}.csv"
    outside.write_text("a\n")
    with essai.registered(silo):
        for path in (outside, Path("..") / outside.name):
            with pytest.raises(Refused) as caught:
                landing.land(lake, silo.name, path)
            assert caught.value.rule == "path_outside"


def test_a_file_replaced_while_it_lands_is_not_lost(
    lake: Settings, silo: Silo, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = folder / "data.csv"
    path.write_text("first\n")
    digest = landing._digest

    def replaced_meanwhile(stream: object) -> tuple[str, int]:
        found = digest(stream)  # type: ignore[arg-type]
        if path.read_text() == "first\n":
            path.unlink()
            path.write_text("second\n")
        return found

    monkeypatch.setattr(landing, "_digest", replaced_meanwhile)
    done = sweep(lake, silo)
    assert [refused.rule for refused in done.turned_away] == ["still_changing"]
    assert path.read_text() == "second\n"
    assert [landed.outcome for landed in sweep(lake, silo).landed] == ["new"]
    for content in ("first\n", "second\n"):
        assert row(lake, silo, hashlib.sha256(content.encode()).hexdigest()).status == "landed"


def test_files_land_in_order_of_arrival(lake: Settings, silo: Silo, folder: Path) -> None:
    for name in ("z.csv", "a.csv", "m.csv"):
        (folder / f"{name}.part").write_text(name)
        (folder / f"{name}.part").rename(folder / name)
    assert [landed.file_name for landed in sweep(lake, silo).landed] == ["z.csv", "a.csv", "m.csv"]
