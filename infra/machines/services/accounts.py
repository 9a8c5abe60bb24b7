"""Running a program as an unprivileged system account when the lake is root's."""

from __future__ import annotations

import os
import pwd
import shutil
import stat
from collections.abc import Iterable
from pathlib import Path

from infra.machines.services.model import ServiceError

# The numbers of two capabilities in the masks of /proc/<pid>/status.
_DAC_OVERRIDE, _SETPCAP = 1, 8


def closed_to(account: str, places: Iterable[Path]) -> Path | None:
    """The first file or folder that keeps ``account`` from reading one of these places; None when all are open.

    Mode bits only, not ACLs. Folders that lead to a place need to be entered, the place itself to be read.
    """
    entry = pwd.getpwnam(account)
    groups = set(os.getgrouplist(account, entry.pw_gid))

    def lacks(path: Path, bits: int) -> bool:
        found = path.stat()
        whose = 6 if found.st_uid == entry.pw_uid else 3 if found.st_gid in groups else 0
        wanted = bits | stat.S_ISDIR(found.st_mode)
        return (found.st_mode >> whose) & wanted != wanted

    there = [place for place in places if place.exists()]
    ways = {folder for place in there for folder in place.resolve().parents}
    closed = [folder for folder in sorted(ways) if lacks(folder, 1)] or [place for place in there if lacks(place, 4)]
    return next(iter(closed), None)


def as_account(command: tuple[str, ...], account: str | None, places: Iterable[Path]) -> tuple[str, ...]:
    """``command`` as ``account`` would run it; unchanged when ``account`` is None.

    Where one of ``places`` is closed to the account, such as a lake in root's own home, the program keeps the one
    capability that lets it through, and no other. Servers look before they open, with access(), for which the kernel
    takes that capability away from all but root; the secure bit NO_SETUID_FIXUP keeps it from doing so.

    Raises:
        ServiceError: the program ``setpriv`` (package util-linux) is missing, or this machine does not give root the
            right to let an account through.
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
    closed = closed_to(account, places)
    if closed is None:
        return (*drop, "--inh-caps=-all", "--", *command)
    if not (_has(_DAC_OVERRIDE) and _has(_SETPCAP)):
        raise ServiceError(
            f"{closed} is closed to the account {account}, and root may not let it through here (it lacks the "
            "capabilities dac_override and setpcap): "
            f"`chmod o+x {closed}`, or keep checkout and CALANQUE_HOME elsewhere, or run the lake as an ordinary user"
        )
    keep = ("--inh-caps=-all,+dac_override", "--ambient-caps=-all,+dac_override", "--securebits=+no_setuid_fixup")
    return (*drop, *keep, "--", *command)


def passes_everywhere(pid: int) -> bool:
    """Whether a process runs with the capability that lets it through any folder."""
    return _has(_DAC_OVERRIDE, pid)


def _has(capability: int, pid: int | str = "self") -> bool:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    mask = next(line.split()[1] for line in lines if line.startswith("CapEff:"))
    return bool(int(mask, 16) >> capability & 1)
