"""Files beside the lake: what is old goes, what is in use stays, nothing outside is touched."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from stewardship.retention import log_files
from stewardship.retention.files import FileHolding, arrived

NOW = datetime.now(UTC)
DAY = timedelta(days=1)


def written(path: Path, age: timedelta) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("content")
    moment = (NOW - age).timestamp()
    os.utime(path, (moment, moment))
    return path


def holding(folder: Path, *, now: datetime = NOW) -> FileHolding:
    return FileHolding(folder, holding="work", limit=DAY, now=now)


def test_what_is_older_than_its_limit_goes_and_is_counted(tmp_path: Path) -> None:
    old, new = written(tmp_path / "a" / "old", DAY), written(tmp_path / "b" / "new", DAY - timedelta(minutes=1))
    assert holding(tmp_path).look().overdue
    tally = holding(tmp_path).clean()
    assert (tally.objects, tally.bytes) == (1, 7)
    assert not old.exists()
    assert new.exists()
    assert holding(tmp_path).look().overdue == ()
    assert holding(tmp_path).clean().objects == 0


def test_a_link_goes_and_what_it_points_to_stays(tmp_path: Path) -> None:
    outside = written(tmp_path / "outside" / "file", 9 * DAY)
    inside = tmp_path / "inside"
    inside.mkdir()
    for name, target in (("file", outside), ("folder", outside.parent), ("nowhere", tmp_path / "none")):
        (inside / name).symlink_to(target)
    holding(inside, now=NOW + 2 * DAY).clean()
    assert list(inside.iterdir()) == []
    assert outside.exists()


def test_a_file_that_says_it_is_old_arrived_today(tmp_path: Path) -> None:
    """A delivery keeps the date its sender's system gave it: that is not how long it has been here."""
    path = written(tmp_path / "file", 900 * DAY)
    arrivals = FileHolding(tmp_path, holding="drop", limit=DAY, now=NOW, touched=arrived)
    assert arrivals.clean().objects == 0
    assert path.exists()


def test_an_emptied_folder_goes_with_its_files_once_it_is_old(tmp_path: Path) -> None:
    written(tmp_path / "a" / "b" / "old", 3 * DAY)
    holding(tmp_path).clean()
    holding(tmp_path, now=datetime.now(UTC) + 2 * DAY).clean()
    holding(tmp_path, now=datetime.now(UTC) + 4 * DAY).clean()
    assert list(tmp_path.iterdir()) == []


def test_no_folder_is_nothing_to_do(tmp_path: Path) -> None:
    assert holding(tmp_path / "none").clean().objects == 0
    assert holding(tmp_path / "none").look().oldest is None
    log_files.cut(tmp_path / "none", NOW)


def test_a_live_log_is_cut_and_its_writer_goes_on(tmp_path: Path) -> None:
    log = tmp_path / "service.log"
    with log.open("ab", buffering=0) as writer:
        writer.write(b"first\n")
        log_files.cut(tmp_path, NOW)
        assert log.read_bytes() == b"first\n"  # the first call only begins to count
        log_files.cut(tmp_path, NOW + log_files.EVERY - timedelta(seconds=1))
        assert log.read_bytes() == b"first\n"
        log_files.cut(tmp_path, NOW + log_files.EVERY)
        writer.write(b"second\n")
    assert log.read_bytes() == b"second\n"
    [closed] = tmp_path.glob("service.log.*")
    assert closed.read_bytes() == b"first\n"


@pytest.mark.parametrize(
    ("name", "closed"),
    [("service.log", False), ("service.log.1", True), (".cut", False), ("airflow/dag_id=x/attempt=1.log", True)],
)
def test_which_logs_are_written_no_more(name: str, closed: bool) -> None:
    assert log_files.is_closed(Path(name)) is closed
