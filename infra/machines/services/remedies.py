"""What to do about a server that did not start: read from what it said, so that each cause has its own remedy."""

from __future__ import annotations

import re

# What servers write, in Python, Go and C; the words are the operating system's own.
_CAUSES = (
    (
        r"no space left on device|disk quota exceeded",
        "free some disk space: `calanque doctor` shows which disk is full",
    ),
    (
        r"permission denied|operation not permitted|is closed to the account",
        "open what is named above to the account that needs it, or keep the lake elsewhere (CALANQUE_HOME)",
    ),
    (r"read-only file system", "make the disk writable, or keep the lake elsewhere (CALANQUE_HOME)"),
    (
        r"address already in use",
        "stop the program that listens there, or `calanque down`, which frees the lake's ports",
    ),
    (r"cannot allocate memory|out of memory|memoryerror", "free some memory: stop other programs"),
    (r"too many open files", "raise the limit of open files (`ulimit -n`)"),
    (r"cannot open shared object file|modulenotfounderror|is not installed", "install again: `make clean install`"),
)


def of(said: str, otherwise: str) -> str:
    """The remedy of the cause that ``said`` names last; ``otherwise`` where it names none."""
    found = [(match.start(), remedy) for cause, remedy in _CAUSES for match in re.finditer(cause, said, re.IGNORECASE)]
    return max(found)[1] if found else otherwise
