"""The receiver of what servers tell of reads, and what they have to be told to do so."""

from __future__ import annotations

import json
import socket
import sys
from collections.abc import Mapping

from infra import secrets
from infra.machines.access_log.receiver import HOST, TOKEN, socket_path
from infra.machines.services.model import NotReady, Service
from infra.settings import Settings

NAME = "access-log"
PORTS = ("access-log",)
"""Of a lake whose store is MinIO: SeaweedFS tells by a socket."""


def service(settings: Settings, ports: Mapping[str, int]) -> Service:
    """The receiver of this lake."""
    port = ports.get(PORTS[0])
    path = socket_path(settings)
    return Service(
        name=NAME,
        command=(sys.executable, "-m", "infra.machines.access_log", *([] if port is None else [str(port)])),
        directory=settings.run_dir,
        ready=lambda: _answers(settings),
        leavings=(path,),
        remedy="see its log; nobody's reads are logged until it works",
        stop_seconds=5,
        ports=() if port is None else (port,),
    )


def generate_secrets(settings: Settings) -> None:
    """Create the token that MinIO shows, unless it is there."""
    secrets.read_or_generate(settings, TOKEN)


def seaweedfs_file(settings: Settings) -> str:
    """What SeaweedFS is told: to send each request, without making anybody wait for it."""
    return json.dumps(
        {
            "fluent_network": "unix",
            "fluent_socket_path": str(socket_path(settings)),
            "marshal_as_json": True,
            "async": True,
            "buffer_limit": 1 << 16,
        }
    )


def minio_environment(settings: Settings, ports: Mapping[str, int]) -> dict[str, str]:
    """What MinIO is told: to post each request, and to keep what could not be posted until it can."""
    return {
        "MINIO_AUDIT_WEBHOOK_ENABLE_READS": "on",
        "MINIO_AUDIT_WEBHOOK_ENDPOINT_READS": f"http://{HOST}:{ports[PORTS[0]]}/",
        "MINIO_AUDIT_WEBHOOK_AUTH_TOKEN_READS": f"Bearer {secrets.read(settings, TOKEN)}",
        "MINIO_AUDIT_WEBHOOK_QUEUE_DIR_READS": str(settings.data_dir / "minio-audit"),
    }


def _answers(settings: Settings) -> None:
    try:
        with socket.socket(socket.AF_UNIX) as asking:
            asking.settimeout(5)
            asking.connect(str(socket_path(settings)))
    except OSError as failure:
        raise NotReady(f"the receiver of the access log does not answer ({failure})") from None
