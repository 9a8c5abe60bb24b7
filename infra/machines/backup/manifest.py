"""What a backup holds: a list, stored beside it with its own checksum."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Self

from infra.errors import ExpectedError

FILE = "manifest.json"
CHECKSUM = "manifest.sha256"
_NAME = "%Y-%m-%dT%H%M%SZ"


class BackupError(ExpectedError, RuntimeError):
    """A backup that cannot be made, used or believed; the message says which and what to do."""


@dataclass(frozen=True)
class Stored:
    """One object as it was: its bytes are in the pool under ``sha256``."""

    bucket: str
    key: str
    sha256: str
    size: int
    content_type: str
    etag: str
    stored_on: date  # the day its time begins: that of its landing for a delivery, else that of its storing

    @property
    def place(self) -> tuple[str, str]:
        return self.bucket, self.key


@dataclass(frozen=True)
class Dump:
    """One database, as pg_dump wrote it."""

    database: str
    file: str
    sha256: str
    size: int


@dataclass(frozen=True)
class Manifest:
    """A complete backup: databases first, then every object that they may name."""

    made_at: datetime
    dumps: tuple[Dump, ...]
    objects: tuple[Stored, ...]

    @property
    def name(self) -> str:
        return self.made_at.astimezone(UTC).strftime(_NAME)

    @property
    def size(self) -> int:
        return sum(dump.size for dump in self.dumps) + sum(each.size for each in self.objects)

    def write(self, folder: Path) -> None:
        content = json.dumps(asdict(self), default=lambda value: value.isoformat(), indent=1).encode()
        (folder / FILE).write_bytes(content)
        (folder / CHECKSUM).write_text(hashlib.sha256(content).hexdigest() + "\n")

    @classmethod
    def read(cls, folder: Path) -> Self:
        """The manifest in ``folder``.

        Raises:
            BackupError: there is none, or it is not the one that was written.
        """
        try:
            content = (folder / FILE).read_bytes()
            expected = (folder / CHECKSUM).read_text().strip()
        except FileNotFoundError:
            raise BackupError(f"{folder} is no complete backup: its {FILE} or {CHECKSUM} is missing") from None
        if hashlib.sha256(content).hexdigest() != expected:
            raise BackupError(f"{folder / FILE} was changed since it was written: use another backup")
        said: dict[str, Any] = json.loads(content)
        return cls(
            made_at=datetime.fromisoformat(said["made_at"]),
            dumps=tuple(Dump(**dump) for dump in said["dumps"]),
            objects=tuple(
                Stored(**{**each, "stored_on": date.fromisoformat(each["stored_on"])}) for each in said["objects"]
            ),
        )


def folders(place: Path) -> list[Path]:
    """The complete backups kept in ``place``, oldest first."""
    return sorted(path.parent for path in (place / "backups").glob(f"[0-9]*/{FILE}"))
