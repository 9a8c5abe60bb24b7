"""A disk that is really full: a file system of a few megabytes in memory, where this machine lets one be mounted."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def small_disk(folder: Path, megabytes: int) -> Iterator[Path]:
    """``folder`` as a disk of its own of so many megabytes; a visible skip where none can be made."""
    folder.mkdir(parents=True, exist_ok=True)
    mount = shutil.which("mount")
    if mount is None or os.getuid() != 0:
        pytest.skip("only root can mount a small disk to fill")
    made = subprocess.run(
        [mount, "-t", "tmpfs", "-o", f"size={megabytes}m,mode=755", "calanque-test", str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    if made.returncode:
        pytest.skip(f"no small disk can be mounted here: {made.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=False)


def fill(folder: Path) -> Path:
    """Take all the room that is left in ``folder``; deleting the file that is returned gives it back."""
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as stream:
        for size in (2**20, 2**12):
            block = bytes(size)
            try:
                while True:
                    stream.write(block)
            except OSError:
                continue
    return ballast
