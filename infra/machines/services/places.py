"""Private files, and short private folders for unix sockets, whose paths may hold about a hundred characters."""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path

from infra.machines.services.model import ServiceError
from infra.settings import Settings

_LONGEST_SOCKET_PATH = 100
_LONGEST_SOCKET_NAME = len("/supervisor.sock.99999999")  # supervisor binds a name with its process id, then links it


def socket_dir(settings: Settings) -> Path:
    """The folder of this lake's sockets, which only its owner may enter; created if need be.

    Raises:
        ServiceError: the fallback folder under /tmp exists and is not safely ours.
    """
    folder = settings.run_dir / "sockets"
    if len(str(folder)) + _LONGEST_SOCKET_NAME > _LONGEST_SOCKET_PATH:
        digest = hashlib.sha256(str(settings.home).encode()).hexdigest()[:12]
        folder = Path("/tmp") / f"calanque-{os.getuid()}-{digest}"  # noqa: S108 - created 0700 and checked below
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise ServiceError(f"{folder} is not a folder that only its owner may enter: remove it, then run `calanque up`")
    return folder


def close_to_others(settings: Settings) -> None:
    """Take every right to the lake's folder, and to what is directly in it, from all but its owner.

    Under root, others may pass through the two that lead PostgreSQL's account to its data, and not look.
    """
    passed = {settings.home, settings.data_dir} if os.getuid() == 0 else set()
    for path in (settings.home, *settings.home.iterdir()):
        found = path.lstat()
        excess = found.st_mode & (0o066 if path in passed else 0o077)
        if excess and not stat.S_ISLNK(found.st_mode):
            path.chmod(stat.S_IMODE(found.st_mode) & ~excess)


def write_private(target: Path, content: str) -> bool:
    """Make ``target`` hold ``content``, readable by its owner only, in one step; whether that changed anything."""
    if target.exists() and target.read_text() == content:
        return False
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = target.with_name(f".{target.name}.{os.getpid()}")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as stream:
        stream.write(content)
    draft.replace(target)
    return True
