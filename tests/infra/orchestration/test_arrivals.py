"""The trigger that watches a drop folder: once for each complete file, never for one that is being written."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from infra.orchestration.arrivals import DropFolder

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
    path, arguments = DropFolder("tows").serialize()
    assert path == "infra.orchestration.arrivals.DropFolder"
    assert DropFolder(**arguments).serialize() == (path, arguments)
