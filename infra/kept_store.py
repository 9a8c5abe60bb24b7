"""Which object store a lake's objects are in: decided when the lake first starts, written in its home, then kept.

MinIO, which cities use in production, when its program is there; else SeaweedFS, which comes as a wheel. A lake whose
store changed under it would look empty.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import Literal, get_args

Store = Literal["seaweedfs", "minio", "external"]

_KEPT = "object-store"


def minio_program() -> Path | None:
    """The MinIO server program: the one CALANQUE_MINIO names, the one ``make minio`` built, or the one on PATH."""
    named = os.environ.get("CALANQUE_MINIO")
    beside = Path(sys.executable).parent / "minio"
    found = named or (str(beside) if beside.exists() else shutil.which("minio"))
    return Path(found) if found else None


def of(home: Path) -> Store:
    """The store of the lake in ``home``; of one that never started, the one it would get."""
    kept = written(home)
    if kept is not None:
        return kept
    for known in ("seaweedfs", "minio"):  # started by a version that wrote nothing down
        if (home / "data" / known).exists():
            return known
    return "minio" if minio_program() else "seaweedfs"


def written(home: Path) -> Store | None:
    """The store that the lake in ``home`` was started with; None of one that never started."""
    try:
        said = (home / _KEPT).read_text().strip()
    except FileNotFoundError:
        return None
    return next((known for known in get_args(Store) if known == said), None)


def keep(home: Path, store: Store) -> None:
    """Write down which store the lake in ``home`` has."""
    (home / _KEPT).write_text(f"{store}\n")
