"""Whatever lies in a drop folder: no file keeps another from landing, and of each it is known what became of it."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import socket
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import essai
import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from minio.error import MinioException

from infra import object_store
from infra.settings import Settings
from infra.transient import transient
from ingestion.delivery import collecting, landing
from ingestion.delivery.arrivals import NOTE_SUFFIX, waiting
from ingestion.refusal import REFUSALS
from ingestion.register import Silo

pytestmark = pytest.mark.live

NAMES = st.one_of(
    st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=80),
    st.binary(min_size=1, max_size=40).map(lambda name: os.fsdecode(name.replace(b"/", b"").replace(b"\0", b""))),
    st.integers(180, 255).map(lambda size: "n" * (size - 4) + ".csv"),
    st.sampled_from(
        ["a.csv.part", ".refused", ".refused.csv", "a\nb.csv", "-rf", "%s{}", " ", "CON", "..csv", "a.why.txt"]
    ),
).filter(lambda name: name not in {"", ".", ".."} and len(os.fsencode(name)) <= 255 and name != ".refused")
NOTES = st.one_of(
    st.none(),
    st.binary(max_size=60),
    st.sampled_from(['{"format": "records"}', "{}", "[" * 100_000, '{"a":' * 50_000, '{"corrects": 1e400}']).map(
        str.encode
    ),
    st.just("folder"),
    st.just("link"),
)
KINDS = st.sampled_from(["file"] * 6 + ["link", "dangling", "folder", "full folder", "pipe", "socket", "loop"])
THINGS = st.tuples(
    NAMES, KINDS, st.binary(max_size=40), NOTES, st.sampled_from([0o644, 0o600, 0o000, 0o111, 0o4755, 0o1777])
)


def make_socket(path: Path, _: bytes) -> None:
    with socket.socket(socket.AF_UNIX) as made, contextlib.chdir(path.parent):
        made.bind(path.name if len(os.fsencode(path.name)) < 100 else "s")  # a socket's path is short


def make_full_folder(path: Path, content: bytes) -> None:
    path.mkdir()
    (path / "a.csv").write_bytes(content)


MAKERS: dict[str, Callable[[Path, bytes], Any]] = {
    "file": Path.write_bytes,
    "link": lambda path, _: path.symlink_to("/etc/hostname"),
    "dangling": lambda path, _: path.symlink_to("nowhere"),
    "loop": lambda path, _: path.symlink_to(path.name),
    "folder": lambda path, _: path.mkdir(),
    "full folder": make_full_folder,
    "pipe": lambda path, _: os.mkfifo(path),
    "socket": make_socket,
}


def make(folder: Path, thing: tuple[str, str, bytes, bytes | str | None, int]) -> None:
    name, kind, content, note, mode = thing
    path, beside = folder / name, folder / f"{name}{NOTE_SUFFIX}"
    MAKERS[kind](path, content)
    if path.exists() and not path.is_symlink():
        path.chmod(mode)
    if note is not None and len(os.fsencode(beside.name)) <= 255:
        MAKERS[note if isinstance(note, str) else "file"](beside, note if isinstance(note, bytes) else b"")


def empty(folder: Path) -> None:
    """Make ``folder`` anew, whatever lay there: an ordinary user cannot look into a folder of mode 0."""
    for found, folders, _ in os.walk(folder):
        for name in folders:
            if not (path := Path(found) / name).is_symlink():
                path.chmod(0o700)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)


@pytest.fixture(scope="module")
def silo() -> Silo:
    return essai.make(f"essai_{uuid.uuid4().hex[:12]}")


@given(st.lists(THINGS, max_size=6, unique_by=lambda thing: thing[0]))
@settings(max_examples=60)
def test_whatever_lies_there_a_good_file_lands_and_of_each_file_it_is_known_what_became(
    lake: Settings, silo: Silo, things: list[tuple[str, str, bytes, bytes | str | None, int]]
) -> None:
    folder = lake.drop_dir / silo.name
    empty(folder)
    for thing in things:
        try:
            make(folder, thing)
        except OSError as error:  # a socket of a shortened name, or another thing of the name that it was shortened to
            if error.errno not in {errno.EEXIST, errno.EADDRINUSE}:
                raise
    (folder / "the good one.csv").write_text(uuid.uuid4().hex)
    arrived = [arrival.name for arrival in waiting(folder)]

    with essai.registered(silo):
        swept = landing.sweep(lake, silo.name)

    assert ("the good one.csv", "new") in {(landed.file_name, landed.outcome) for landed in swept.landed}
    assert len(swept.landed) + len(swept.turned_away) == len(arrived)
    assert {refused.rule for refused in swept.turned_away} <= set(REFUSALS)
    assert waiting(folder) == []
    aside = folder / landing.REFUSED_FOLDER
    reasons = [
        path.read_text(errors="replace")
        for path in (aside.iterdir() if swept.turned_away else ())
        if path.name.endswith(".why.txt") and path.is_file() and not path.is_symlink()
    ]
    assert set(reasons) >= {f"{refused.sentence}\n" for refused in swept.turned_away}


def test_a_reason_is_written_to_nothing_that_was_delivered(lake: Settings, silo: Silo, tmp_path: Path) -> None:
    folder = drop_files(lake, silo)
    (tmp_path / "theirs.txt").write_text("untouched")
    aside = folder / landing.REFUSED_FOLDER
    with essai.registered(silo):
        (folder / "a.csv.why.txt").symlink_to(tmp_path / "theirs.txt")
        os.mkfifo(folder / "b.csv.why.txt")
        landing.sweep(lake, silo.name)
        for name in ("a.csv", "b.csv"):
            (folder / name).mkdir()
            [refused] = landing.sweep(lake, silo.name).turned_away
            assert (aside / f"1-{name}.why.txt").read_text() == f"{refused.sentence}\n"
    assert (tmp_path / "theirs.txt").read_text() == "untouched"


def drop_files(lake: Settings, silo: Silo, *names: str) -> Path:
    folder = lake.drop_dir / silo.name
    empty(folder)
    for name in names:
        (folder / name).write_text(f"{name} {uuid.uuid4().hex}")
    return folder


def failing_for(name: str, error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the upload of one file fail."""
    put: Callable[..., Any] = object_store.put_stream

    def put_or_fail(*args: Any, **named: Any) -> Any:
        if named["name"] == name:
            raise error
        return put(*args, **named)

    monkeypatch.setattr(object_store, "put_stream", put_or_fail)


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.EIO, os.strerror(errno.EIO)),
        RuntimeError("dt=2026-01-01"),
        MemoryError(),
        RecursionError("deep"),
        MinioException("not this one"),
        psycopg.DataError("not this one"),
    ],
)
def test_a_file_that_meets_any_error_stays_and_is_told_of(
    lake: Settings, silo: Silo, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = drop_files(lake, silo, "a.csv", "b.csv", "c.csv")
    failing_for("b.csv", error, monkeypatch)
    with essai.registered(silo):
        swept = landing.sweep(lake, silo.name)
        assert sorted(landed.file_name for landed in swept.landed) == ["a.csv", "c.csv"]
        [left] = swept.turned_away
        assert left.rule == "not_landed"
        assert "dt=" not in left.sentence  # what an error says may be a value
        assert [path.name for path in folder.iterdir()] == ["b.csv"]
        monkeypatch.undo()
        assert [landed.file_name for landed in landing.sweep(lake, silo.name).landed] == ["b.csv"]


def test_a_fault_that_lets_nothing_land_is_the_lakes(
    lake: Settings, silo: Silo, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = drop_files(lake, silo, "a.csv")
    failing_for("a.csv", psycopg.OperationalError("the connection is lost"), monkeypatch)
    with (
        essai.registered(silo),
        pytest.raises(landing.LandingError, match=r"a\.csv: .*the database does not") as caught,
    ):
        landing.sweep(lake, silo.name)
    assert transient(caught.value)
    assert [path.name for path in folder.iterdir()] == ["a.csv"]


def test_reasons_are_not_written_through_a_link(lake: Settings, silo: Silo, tmp_path: Path) -> None:
    folder = drop_files(lake, silo, "good.csv")
    (folder / landing.REFUSED_FOLDER).symlink_to(tmp_path)
    (folder / "folder.csv").mkdir()
    with essai.registered(silo):
        swept = landing.sweep(lake, silo.name)
    assert [landed.file_name for landed in swept.landed] == ["good.csv"]
    assert [(left.file, left.rule) for left in swept.turned_away] == [("folder.csv", "not_landed")]
    assert list(tmp_path.iterdir()) == []


def test_a_file_of_any_name_can_be_dropped(lake: Settings, silo: Silo, tmp_path: Path) -> None:
    drop_files(lake, silo)
    names = ["n" * 251 + ".csv", "é" * 120 + ".csv", ".hidden.csv", "a.csv.part", "a.csv.delivery.json", "a\nb.csv"]
    with essai.registered(silo):
        for name in names:
            path = tmp_path / name
            path.write_text(uuid.uuid4().hex)
            landing.drop(lake, silo.name, path, "records")
        swept = landing.sweep(lake, silo.name)
    assert (len(swept.landed), swept.turned_away) == (len(names), [])


def test_an_object_that_cannot_be_fetched_keeps_no_other_from_it(
    lake: Settings, silo: Silo, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = drop_files(lake, silo)
    puts = [collecting.Put(datetime.now(UTC), f"{silo.name}/{name}", "1") for name in ("lost.csv", "good.csv")]

    def fetch(_store: object, put: collecting.Put, target: Path) -> dict[str, str]:
        if put.file_name == "lost.csv":
            raise MinioException("lost")
        target.write_text(uuid.uuid4().hex)
        return {}

    monkeypatch.setattr(collecting, "waiting", lambda *_: puts)
    monkeypatch.setattr(collecting, "fetch", fetch)
    monkeypatch.setattr(collecting, "take_away", lambda *_: None)
    with essai.registered(silo):
        swept = landing.sweep(lake, silo.name)
    assert [landed.file_name for landed in swept.landed] == ["good.csv"]
    assert [(left.file, left.rule) for left in swept.turned_away] == [("lost.csv", "not_landed")]
    assert list(folder.iterdir()) == []
