"""The bytes of every object that some backup names, each once, under their SHA-256."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import BinaryIO, Protocol

_CHUNK_BYTES = 2**20


class Readable(Protocol):
    def read(self, size: int = ..., /) -> bytes: ...


class Pool:
    """Files ``<folder>/<first two digits>/<sha256>``; one appears only once complete, and is never changed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def path(self, sha256: str) -> Path:
        return self._folder / sha256[:2] / sha256

    def add(self, stream: Readable) -> tuple[str, int]:
        """Keep what is left of ``stream``; its SHA-256 and size."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft = self._folder / f".{os.getpid()}-{os.urandom(8).hex()}.part"
        digest, size = hashlib.sha256(), 0
        try:
            with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as copy:
                while chunk := stream.read(_CHUNK_BYTES):
                    digest.update(chunk)
                    size += len(chunk)
                    copy.write(chunk)
                copy.flush()
                os.fsync(copy.fileno())
            target = self.path(digest.hexdigest())
            target.parent.mkdir(mode=0o700, exist_ok=True)
            draft.rename(target)
        finally:
            draft.unlink(missing_ok=True)
        return digest.hexdigest(), size

    def open(self, sha256: str) -> BinaryIO:
        return self.path(sha256).open("rb")

    def has(self, sha256: str, size: int) -> bool:
        try:
            return self.path(sha256).stat().st_size == size
        except FileNotFoundError:
            return False

    def intact(self, sha256: str) -> bool:
        """Whether the bytes are there and are those that were kept."""
        try:
            with self.path(sha256).open("rb") as stream:
                return hashlib.file_digest(stream, "sha256").hexdigest() == sha256
        except FileNotFoundError:
            return False

    def keep_only(self, wanted: Collection[str]) -> int:
        """Delete every file that is not ``wanted``, those of interrupted backups too; how many."""
        gone = 0
        for path in self._files():
            if path.name not in wanted:
                path.unlink()
                gone += 1
        return gone

    def _files(self) -> Iterator[Path]:
        return (path for path in self._folder.rglob("*") if path.is_file())
