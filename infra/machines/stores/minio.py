"""MinIO, the object store to use in production: one server on one folder, its console off.

The binary comes from ``make minio`` (beside this Python), from PATH, or from CALANQUE_MINIO.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from infra import object_store
from infra.kept_store import minio_program
from infra.machines.services import access_log
from infra.machines.services.model import Service, ServiceError
from infra.machines.services.ports import LOOPBACK
from infra.machines.stores.seaweedfs import answers_s3
from infra.settings import Settings

NAME = "minio"
PORTS = ("s3",)


def binary() -> Path:
    """The MinIO server program.

    Raises:
        ServiceError: there is none; the message says how to get one.
    """
    found = minio_program()
    if not found:
        raise ServiceError(
            "CALANQUE_OBJECT_STORE is minio, but there is no MinIO program: build it with `make minio` (it needs the "
            "Go toolchain), put it on PATH, or name it in CALANQUE_MINIO"
        )
    return found


def environment(settings: Settings) -> dict[str, str]:
    """How the server is configured, its administrator's secret included."""
    user, password = object_store.credentials(settings, object_store.ADMIN)
    return {
        "MINIO_ROOT_USER": user,
        "MINIO_ROOT_PASSWORD": password,
        "MINIO_REGION": settings.s3_region,
        "MINIO_BROWSER": "off",
        "MINIO_UPDATE": "off",
        "MINIO_CALLHOME_ENABLE": "off",
        "MINIO_API_DELETE_CLEANUP_INTERVAL": "10s",  # a deleted file leaves its trash then, not after five minutes
    }


def service(settings: Settings, ports: Mapping[str, int]) -> Service:
    """The MinIO server of this lake."""
    data = settings.data_dir / NAME
    return Service(
        name=NAME,
        command=(str(binary()), "server", "--quiet", "--address", f"{LOOPBACK}:{ports['s3']}", str(data)),
        directory=settings.run_dir,
        environment=lambda: {**environment(settings), **access_log.minio_environment(settings, ports)},
        prepare=lambda: data.mkdir(parents=True, exist_ok=True),
        ready=lambda: answers_s3(ports["s3"]),
        remedy="see its log; its data are in home/data/minio",
        ports=(ports["s3"],),
    )
