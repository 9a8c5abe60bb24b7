"""The files by which an operator describes a lake, read within limits: none of them may stop whoever reads it."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

LARGEST_TOML = 2**20
LARGEST_JSON = 2**27


class DocumentError(ValueError):
    """A file that cannot be used; the message says why, not which, and has no final full stop."""


def read_toml(path: Path) -> dict[str, Any]:
    """What a TOML file says.

    Raises:
        DocumentError: it cannot be read, is no TOML, too large, or nested too deep.
    """
    content = _bytes(path, LARGEST_TOML)
    try:
        return tomllib.loads(content.decode())
    except ValueError as error:  # a number of too many digits is a plain one
        raise DocumentError(f"not a TOML file: {error}") from None
    except RecursionError:
        raise DocumentError("not a TOML file that can be used: it is nested too deep") from None


def read_json(path: Path) -> Any:
    """What a JSON file says.

    Raises:
        DocumentError: it cannot be read, is no JSON, too large, or nested too deep.
    """
    content = _bytes(path, LARGEST_JSON)
    try:
        return json.loads(content)
    except ValueError as error:
        raise DocumentError(f"not a JSON file: {error}") from None
    except RecursionError:
        raise DocumentError("not a JSON file that can be used: it is nested too deep") from None


def _bytes(path: Path, largest: int) -> bytes:
    try:
        if path.exists() and not path.is_file():  # a pipe would keep us waiting
            raise DocumentError("not an ordinary file")
        with path.open("rb") as file:
            content = file.read(largest + 1)
    except OSError as error:
        raise DocumentError(f"cannot be read: {error.strerror}") from None
    if len(content) > largest:
        raise DocumentError(f"larger than {largest:,} bytes")
    return content
