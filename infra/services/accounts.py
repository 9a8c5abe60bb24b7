"""Running a program as an unprivileged system account when the lake is root's."""

from __future__ import annotations

import os
import pwd
import shutil
from pathlib import Path

from infra.services.model import ServiceError


def can_reach(account: str, *places: Path) -> bool:
    """Whether ``account`` may enter each folder that leads to each of these places (mode bits only, not ACLs)."""
    entry = pwd.getpwnam(account)
    groups = set(os.getgrouplist(account, entry.pw_gid))

    def may_enter(folder: Path) -> bool:
        found = folder.stat()
        if found.st_uid == entry.pw_uid:
            return bool(found.st_mode & 0o100)
        return bool(found.st_mode & (0o010 if found.st_gid in groups else 0o001))

    return all(may_enter(folder) for place in places for folder in (place, *place.resolve().parents) if folder.exists())


def as_account(command: tuple[str, ...], account: str | None, *, keep_capabilities: bool) -> tuple[str, ...]:
    """``command`` as ``account`` would run it; unchanged when ``account`` is None.

    ``keep_capabilities`` lets the program through folders that the account may not enter, such as a lake in root's own
    home: it keeps the one capability needed for that, and no other.

    Raises:
        ServiceError: the program ``setpriv`` (package util-linux) is missing.
    """
    if account is None:
        return command
    if shutil.which("setpriv") is None:
        raise ServiceError(
            f"running a server as {account} needs the program setpriv: install the package util-linux, "
            "or run the lake as an ordinary user"
        )
    entry = pwd.getpwnam(account)
    drop = ["setpriv", f"--reuid={entry.pw_uid}", f"--regid={entry.pw_gid}", "--clear-groups", "--no-new-privs"]
    if keep_capabilities:
        drop += ["--inh-caps=-all,+dac_override", "--ambient-caps=-all,+dac_override"]
    else:
        drop += ["--inh-caps=-all"]
    return (*drop, "--", *command)
