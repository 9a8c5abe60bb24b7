"""SeaweedFS, the embedded object store: master, volume server, filer, S3 gateway and maintenance in one process.

Only the S3 port speaks to clients, and only to signed requests. The other nine ports are for the parts of the store
among themselves: left as they come, anyone could read and write every bucket through them, so each demands a client
certificate of this lake (see docs/decisions).
"""

from __future__ import annotations

import json
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path

from infra import secrets
from infra.machines.services import access_log
from infra.machines.services.model import NotReady, Service
from infra.machines.services.places import socket_dir, write_private
from infra.machines.services.ports import LOOPBACK
from infra.machines.stores.certificates import certificate_bundle
from infra.settings import Settings

NAME = "seaweedfs"
PORTS = (
    "s3",
    "seaweedfs-s3-grpc",
    "seaweedfs-master",
    "seaweedfs-master-grpc",
    "seaweedfs-volume",
    "seaweedfs-volume-grpc",
    "seaweedfs-filer",
    "seaweedfs-filer-grpc",
    "seaweedfs-admin",
)
# The maintenance worker finds the gRPC port of the maintenance server at this distance from its HTTP port, always.
COMPANIONS = {"seaweedfs-admin": 10_000}

_VOLUME_MEGABYTES = 1024
_VOLUMES = 2000  # an upper bound: volumes grow as they fill, nothing is reserved for them


def service(settings: Settings, ports: Mapping[str, int]) -> Service:
    """The embedded object store of this lake."""
    config = settings.run_dir / NAME
    data = settings.data_dir / NAME
    sockets = socket_dir(settings)

    def configure() -> bool:
        from infra.machines.provisioning import seaweedfs_identities

        config.mkdir(parents=True, exist_ok=True)
        identities = json.dumps(seaweedfs_identities(settings), indent=2)
        files = {
            "security.toml": _security(settings),
            "identities.json": identities,
            "audit.json": access_log.seaweedfs_file(settings),
        }
        changed = [write_private(config / name, content) for name, content in files.items()]
        return any(changed)

    def prepare() -> None:
        data.mkdir(parents=True, exist_ok=True)
        (data / "mini.options").unlink(missing_ok=True)  # the options of last time, which must not outlive it

    options: dict[str, object] = {
        "dir": data,
        "ip": LOOPBACK,
        "ip.bind": LOOPBACK,
        "master.port": ports["seaweedfs-master"],
        "master.port.grpc": ports["seaweedfs-master-grpc"],
        "master.peers": "none",
        "master.telemetry": "false",
        "master.volumeSizeLimitMB": _VOLUME_MEGABYTES,
        "volume.port": ports["seaweedfs-volume"],
        "volume.port.grpc": ports["seaweedfs-volume-grpc"],
        "volume.max": _VOLUMES,
        "volume.preStopSeconds": 0,
        "filer.port": ports["seaweedfs-filer"],
        "filer.port.grpc": ports["seaweedfs-filer-grpc"],
        "filer.localSocket": sockets / "filer.sock",
        "filer.exposeDirectoryData": "false",
        "s3.port": ports["s3"],
        "s3.port.grpc": ports["seaweedfs-s3-grpc"],
        "s3.port.iceberg": 0,
        "s3.port.lance": 0,
        "s3.localSocket": sockets / "s3.sock",
        "s3.config": config / "identities.json",
        "s3.auditLogConfig": config / "audit.json",
        "webdav": "false",
        "admin.ui": "false",
        "admin.port": ports["seaweedfs-admin"],
        "s3.autoCreateBucket": "false",
        "s3.allowDeleteBucketNotEmpty": "false",
    }
    arguments = tuple(f"-{name}={value}" for name, value in options.items())
    return Service(
        name=NAME,
        command=(str(Path(sys.executable).parent / "weed"), "-logtostderr=true", "mini", *arguments),
        directory=config,  # where weed looks for security.toml
        configure=configure,
        prepare=prepare,
        ready=lambda: answers_s3(ports["s3"]),
        leavings=(sockets / "filer.sock", sockets / "s3.sock", *_grpc_sockets(ports)),
        # It stops within two seconds; or, about once in four (4.48), waits for connections between its own parts when
        # the rest of it is closed already.
        stop_seconds=5,
        remedy="see its log; its data are in home/data/seaweedfs",
        ports=(*(ports[name] for name in PORTS), *(ports[name] + step for name, step in COMPANIONS.items())),
    )


def _grpc_sockets(ports: Mapping[str, int]) -> tuple[Path, ...]:
    """The unix sockets that each gRPC server opens beside its port, at a place that cannot be configured."""
    numbers = {part: ports[f"{NAME}-{part}-grpc"] for part in ("master", "volume", "filer", "s3")}
    numbers["admin"] = ports["seaweedfs-admin"] + COMPANIONS["seaweedfs-admin"]
    return tuple(Path(f"/tmp/seaweedfs-{part}-grpc-{port}.sock") for part, port in numbers.items())  # noqa: S108


def answers_s3(port: int) -> None:
    """Check that an S3 gateway refuses an unsigned request on this port, which it does once it works.

    Raises:
        NotReady: nobody answers, or not as an S3 gateway does.
    """
    try:
        with urllib.request.urlopen(f"http://{LOOPBACK}:{port}/", timeout=15) as answer:
            raise NotReady(f"answered {answer.status} to an unsigned request, where 403 was expected")
    except urllib.error.HTTPError as refusal:
        if refusal.code != 403:
            raise NotReady(f"answered {refusal.code} to an unsigned request, where 403 was expected") from None
    except OSError as failure:
        raise NotReady(f"does not answer on port {port} ({failure})") from None


def _security(settings: Settings) -> str:
    """The file security.toml: certificates on every internal port, signed tokens on every internal request."""
    bundle = json.dumps(str(certificate_bundle(settings, NAME)))
    lines = ["[grpc]", f"ca = {bundle}"]
    for part in ("master", "volume", "filer", "s3", "admin", "worker", "client"):
        lines += [f"[grpc.{part}]", f"cert = {bundle}", f"key = {bundle}"]
    for part in ("master", "volume", "filer", "admin"):
        lines += [f"[https.{part}]", f"cert = {bundle}", f"key = {bundle}", f"ca = {bundle}"]
    lines += ["[https.client]", "enabled = true", f"cert = {bundle}", f"key = {bundle}", f"ca = {bundle}"]
    for section in ("jwt.signing", "jwt.signing.read", "jwt.filer_signing", "jwt.filer_signing.read"):
        key = secrets.read_or_generate(settings, f"{NAME}-{section.replace('.', '-')}", nbytes=32)
        lines += [f"[{section}]", f"key = {json.dumps(key)}"]
    lines += ["[access]", "ui = false", "[filer.expose_directory_metadata]", "enabled = false"]
    return "\n".join(lines) + "\n"
