"""The numbers of a version, and which of them goes up."""

from __future__ import annotations

import re
from enum import IntEnum

from infra.errors import ExpectedError

_VERSION = re.compile(r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)")


class Level(IntEnum):
    """How much a version differs from the one before; also the place of the number that goes up."""

    PATCH = 3
    MINOR = 2
    MAJOR = 1


class VersionError(ExpectedError, ValueError):
    """A contract and its version do not go together; the message says what to do."""


def step(old: str, new: str) -> Level:
    """Which number goes up from version ``old`` to ``new``.

    Raises:
        VersionError: ``new`` is not a next version of ``old``.
    """
    before, after = parse(old), parse(new)
    for level in (Level.MAJOR, Level.MINOR, Level.PATCH):
        if after == _next(before, level):
            return level
    possible = ", ".join(".".join(map(str, _next(before, level))) for level in (Level.PATCH, Level.MINOR, Level.MAJOR))
    raise VersionError(f"{new} is no next version of {old}: the next is one of {possible}")


def raised(old: str, new: str) -> Level | None:
    """Which number goes up from ``old`` to ``new``, whatever versions lie between; None: none does, or it goes back."""
    for level, before, after in zip(sorted(Level), parse(old), parse(new), strict=True):
        if before != after:
            return level if after > before else None
    return None


def parse(version: str) -> tuple[int, int, int]:
    """The three numbers of a version.

    Raises:
        VersionError: it is not written as three numbers.
    """
    written = _VERSION.fullmatch(version)
    if written is None:
        raise VersionError(f"{version!r} is no version: write three numbers, such as 1.0.0")
    major, minor, patch = (int(number) for number in written.groups())
    return major, minor, patch


def next_version(version: str, level: Level) -> str:
    """The version after ``version`` whose number of ``level`` goes up."""
    return ".".join(map(str, _next(parse(version), level)))


def _next(numbers: tuple[int, int, int], level: Level) -> tuple[int, int, int]:
    major, minor, patch = numbers
    match level:
        case Level.MAJOR:
            return major + 1, 0, 0
        case Level.MINOR:
            return major, minor + 1, 0
        case Level.PATCH:
            return major, minor, patch + 1
