"""The trigger that watches a drop folder: once for each complete file, never for one that is being written."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from calanque.orchestration.arrivals import DropBucket, DropFolder
from infra import object_store
from infra.settings import Settings
from ingestion.delivery import collecting

PATIENCE = 60


def watch(monkeypatch: pytest.MonkeyPatch, home: Path, steps: list[Callable[[], object]]) -> list[dict[str, Any]]:
    """What the trigger says after each step; each step must make it say something."""
    monkeypatch.setenv("CALANQUE_HOME", str(home))

    async def run() -> list[dict[str, Any]]:
        events = DropFolder("tows", seconds=0.01).run()
        said = []
        for step in steps:
            step()
            said.append((await asyncio.wait_for(anext(events), PATIENCE)).payload)
        return said

    return asyncio.run(run())


def test_each_file_is_announced_once_when_it_is_complete(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "drop" / "tows"

    def deliver(*names: str) -> Callable[[], object]:
        def step() -> None:
            folder.mkdir(parents=True, exist_ok=True)
            for name in (".hidden", "a.csv.delivery.json", "growing.csv.part", *names):
                (folder / name).write_text(name)

        return step

    def finish() -> None:
        (folder / "growing.csv.part").rename(folder / "growing.csv")

    def replace() -> None:
        (folder / "a.csv").unlink()
        deliver("a.csv")()

    said = watch(monkeypatch, tmp_path, [deliver("a.csv"), deliver("b.csv"), finish, replace])
    # The first two are still there when the third comes: had they been announced again, it would say so.
    assert said == [{"silo": "tows", "files": 1}] * 4


def test_a_folder_that_cannot_be_read_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "drop" / "tows"
    folder.parent.mkdir()
    folder.write_text("not a folder")

    def mend() -> None:
        async def later() -> None:
            await asyncio.sleep(0.1)
            folder.unlink()
            folder.mkdir()
            (folder / "a.csv").write_text("a")

        tasks.append(asyncio.get_running_loop().create_task(later()))

    tasks: list[asyncio.Task[None]] = []
    assert watch(monkeypatch, tmp_path, [mend]) == [{"silo": "tows", "files": 1}]


def test_the_triggerer_can_make_it_again_from_what_it_stores() -> None:
    for trigger in (DropFolder, DropBucket):
        path, arguments = trigger("tows").serialize()
        assert path == f"calanque.orchestration.arrivals.{trigger.__name__}"
        assert trigger(**arguments).serialize() == (path, arguments)


@pytest.mark.live
def test_each_object_is_announced_once_and_a_store_that_is_away_is_waited_for(
    lake: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    partner = object_store.client(lake, "deliver-tows")
    for put in collecting.waiting(lake, "tows"):
        collecting.take_away(object_store.client(lake, "landing"), put)
    for name, value in lake.environment().items():
        monkeypatch.setenv(name, value)
    look, away = collecting.waiting, iter([False, False, False, True, True])

    def sometimes(settings: Settings, silo: str) -> list[collecting.Put]:
        if next(away, False):
            raise ConnectionError
        return look(settings, silo)

    monkeypatch.setattr(collecting, "waiting", sometimes)

    async def run() -> list[int]:
        events, said = DropBucket("tows", seconds=0.01).run(), []
        for names in (["a.csv", "b.csv"], ["c.csv"], ["a.csv"]):  # the last in the place of another
            for name in names:
                object_store.put_bytes(partner, "drop", f"tows/{name}", name.encode())
            said.append((await asyncio.wait_for(anext(events), PATIENCE)).payload["files"])
        return said

    assert asyncio.run(run()) == [2, 1, 1]
    for put in look(lake, "tows"):
        collecting.take_away(object_store.client(lake, "landing"), put)
