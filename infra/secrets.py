"""Secrets are files of mode 0600, one per name, outside the tree; generated once, never defaulted, never logged."""

from __future__ import annotations

import os
import secrets as entropy
from pathlib import Path

from infra.errors import ExpectedError
from infra.settings import Settings


class SecretMissing(ExpectedError, LookupError):
    """A secret this process needs was neither generated nor given."""


def path(settings: Settings, name: str) -> Path:
    return settings.secrets_dir / name


def read(settings: Settings, name: str) -> str:
    """The secret called ``name``.

    Raises:
        SecretMissing: no such file; the message says how to create it.
    """
    try:
        return path(settings, name).read_text().strip()
    except FileNotFoundError:
        raise SecretMissing(
            f"secret {name!r} is missing from {settings.secrets_dir}: run `calanque up`, which generates what is "
            f"missing, or put the file there yourself (mode 0600)"
        ) from None


def read_or_generate(settings: Settings, name: str, *, nbytes: int = 24) -> str:
    """The secret called ``name``, created from ``nbytes`` bytes of entropy on first use.

    Two processes may race: the first file linked into place wins and both return its content.
    """
    target = path(settings, name)
    if not target.exists():
        write(settings, name, entropy.token_urlsafe(nbytes))
    return read(settings, name)


def write(settings: Settings, name: str, value: str) -> None:
    """Store ``value`` under ``name`` unless the name is taken; readable by its owner only from the first byte."""
    settings.secrets_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    target = path(settings, name)
    draft = target.with_name(f".{name}.{os.getpid()}.{entropy.token_hex(4)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w") as stream:
            stream.write(value)
            stream.flush()
            os.fsync(stream.fileno())
        os.link(draft, target)
    except FileExistsError:
        pass
    finally:
        draft.unlink(missing_ok=True)
