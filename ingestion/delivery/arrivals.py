"""What waits in a drop folder: the rule that landing shares with whoever watches the folder. Imports nothing heavy."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import NamedTuple

NOTE_SUFFIX = ".delivery.json"
UNFINISHED = (".part", ".tmp", ".partial", ".filepart", ".crdownload")
LONGEST_NAME = 200
"""Bytes of a file's name: a file system takes 255, and notes, reasons and numbers are added to it."""

_NOT_IN_A_NAME = re.compile(r"[\x00-\x1f\x7f/\\]")


class Arrival(NamedTuple):
    """A file to be landed. Two that are equal are one file that did not change in between."""

    changed_ns: int  # of a rename, or of the last byte
    name: str
    inode: int
    bytes: int


def waiting(folder: Path) -> list[Arrival]:
    """What is there to be landed, in order of arrival; nothing when there is no such folder.

    Left alone: names that begin with a dot, notes, and names that end in one of :data:`UNFINISHED`.

    Raises:
        OSError: the folder cannot be read.
    """
    arrived = []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                name = entry.name
                if name.startswith(".") or name.lower().endswith(UNFINISHED) or name.endswith(NOTE_SUFFIX):
                    continue
                try:
                    found = entry.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue  # taken meanwhile
                arrived.append(Arrival(found.st_ctime_ns, name, found.st_ino, found.st_size))
    except FileNotFoundError:
        return []
    return sorted(arrived)


def acceptable(name: str) -> str:
    """``name`` as a file may be called in a drop folder: it does not say that it is unfinished, hidden or a note."""
    name = _NOT_IN_A_NAME.sub("_", name)
    while name.lower().endswith((*UNFINISHED, NOTE_SUFFIX)):
        name = name.rpartition(".")[0]
    return shortened(name.lstrip(".")).lstrip(".") or "delivery"


def shortened(name: str) -> str:
    """The end of ``name``, where its extension is, in at most :data:`LONGEST_NAME` bytes."""
    return os.fsencode(name)[-LONGEST_NAME:].decode("utf-8", "ignore")
