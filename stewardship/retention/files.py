"""Files beside the lake: scratch of killed runs, what the drop folder turned away, logs."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from stewardship.retention.holdings import Sight, Tally


@dataclass(frozen=True)
class _File:
    path: Path
    bytes: int
    touched: datetime


def written(found: os.stat_result) -> float:
    """When the content was last written: the age of a log, which is renamed when it is rotated."""
    return found.st_mtime


def arrived(found: os.stat_result) -> float:
    """When the file came here: a moved or copied file may say that it was written years ago."""
    return found.st_ctime


class FileHolding:
    """The files below ``folder``, each kept ``limit`` after it was ``touched`` last; empty folders go with them.

    Links are removed, never followed. ``chosen`` says which files are meant; all by default.
    """

    def __init__(
        self,
        folder: Path,
        *,
        holding: str,
        silo: str | None = None,
        limit: timedelta,
        now: datetime,
        touched: Callable[[os.stat_result], float] = written,
        chosen: Callable[[Path], bool] = lambda _: True,
    ) -> None:
        self._folder, self._holding, self._silo = folder, holding, silo
        self._limit, self._oldest_kept = limit, now - limit
        self._touched, self._chosen = touched, chosen

    def clean(self) -> Tally:
        tally = Tally(self._holding, self._silo, f"{self._limit.days} days", self._oldest_kept.date())
        for file in self._files():
            if file.touched <= self._oldest_kept:
                with suppress(FileNotFoundError):  # its owner was quicker
                    file.path.unlink()
                    tally.objects += 1
                    tally.bytes += file.bytes
        self._remove_empty_folders()
        return tally

    def look(self) -> Sight:
        found = list(self._files())
        late = [file for file in found if file.touched <= self._oldest_kept]
        oldest: date | None = min((file.touched.date() for file in found), default=None)
        told = f"{self._folder}: {len(late)} files older than {self._limit.days} days"
        return Sight(oldest, (told,) if late else ())

    def _files(self) -> Iterator[_File]:
        for folder, folders, files in os.walk(self._folder):
            links = [name for name in folders if (Path(folder) / name).is_symlink()]
            for name in (*files, *links):
                path = Path(folder) / name
                with suppress(FileNotFoundError):
                    found = path.lstat()
                    if self._chosen(path.relative_to(self._folder)) and not stat.S_ISSOCK(found.st_mode):
                        yield _File(path, found.st_size, datetime.fromtimestamp(self._touched(found), UTC))

    def _remove_empty_folders(self) -> None:
        for folder, _, _ in os.walk(self._folder, topdown=False):
            path = Path(folder)
            with suppress(OSError):  # not empty, or just filled again
                old = datetime.fromtimestamp(path.stat().st_mtime, UTC) <= self._oldest_kept
                if path != self._folder and self._chosen(path.relative_to(self._folder)) and old:
                    path.rmdir()
