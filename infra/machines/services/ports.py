"""Loopback ports of a lake: chosen once, kept in ``home/run/ports.json``, chosen again when somebody else took one."""

from __future__ import annotations

import json
import random
import socket
from collections.abc import Iterable, Mapping
from types import MappingProxyType

from infra.machines.services.places import write_private
from infra.settings import Settings

LOOPBACK = "127.0.0.1"

# Below the range from which Linux and macOS take the local port of outgoing connections, so that no client's
# connection ever sits on a port that a service expects to find free.
_CANDIDATES = range(20_000, 32_000)


def is_free(port: int) -> bool:
    """Whether a server could listen on this loopback port now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def load(settings: Settings) -> dict[str, int]:
    """The ports chosen so far, by name."""
    try:
        stored = json.loads((settings.run_dir / "ports.json").read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return {}
    return {str(name): int(port) for name, port in stored.items()}


def choose(settings: Settings, names: Iterable[str], companions: Mapping[str, int] = MappingProxyType({})) -> None:
    """Choose a free port for each name, the same as last time wherever that one is still free.

    ``companions`` names ports whose server also listens at a fixed distance above. Call this only while the services
    are stopped: a port in use counts as taken.
    """
    kept = load(settings)
    chosen: dict[str, int] = {}
    taken: set[int] = set()
    for name in names:
        distances = (0, companions[name]) if name in companions else (0,)
        candidates = range(_CANDIDATES.start, _CANDIDATES.stop - max(distances))
        port = kept.get(name)
        while port is None or any(port + step in taken or not is_free(port + step) for step in distances):
            port = random.SystemRandom().choice(candidates)
        chosen[name] = port
        taken.update(port + step for step in distances)
    settings.run_dir.mkdir(parents=True, exist_ok=True)
    write_private(settings.run_dir / "ports.json", json.dumps(chosen, indent=2))
