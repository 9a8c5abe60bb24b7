"""SeaweedFS, the embedded object store: master, volume server, filer and S3 gateway in one process.

Only the S3 port speaks to clients, and only to signed requests. The other seven ports are for the parts of the store
among themselves: left as they come, anyone could read and write every bucket through them, so each demands a client
certificate of this lake (see docs/decisions/0007-closing-seaweedfs.md).
"""

from __future__ import annotations

import json
import os
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path

from infra import secrets
from infra.services.certificates import certificate_bundle
from infra.services.model import NotReady, Service
from infra.services.places import socket_dir
from infra.services.ports import LOOPBACK
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
)

_VOLUME_MEGABYTES = 1024
_VOLUMES = 2000  # an upper bound: volumes grow as they fill, nothing is reserved for them
_LEAST_FREE_SPACE = "1GiB"


def service(settings: Settings, ports: Mapping[str, int]) -> Service:
    """The embedded object store of this lake."""
    config = settings.run_dir / NAME
    data = settings.data_dir / NAME
    sockets = socket_dir(settings)

    def configure() -> None:
        from infra.provisioning import seaweedfs_identities

        config.mkdir(parents=True, exist_ok=True)
        _write_private(config / "security.toml", _security(settings))
        _write_private(config / "identities.json", json.dumps(seaweedfs_identities(settings), indent=2))

    def prepare() -> None:
        data.mkdir(parents=True, exist_ok=True)
        # Sockets of a store that was killed would keep the new one from binding its own.
        for name in ("filer.sock", "s3.sock"):
            (sockets / name).unlink(missing_ok=True)

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
        "volume.minFreeSpace": _LEAST_FREE_SPACE,
        "volume.preStopSeconds": 0,
        "filer": "true",
        "filer.port": ports["seaweedfs-filer"],
        "filer.port.grpc": ports["seaweedfs-filer-grpc"],
        "filer.localSocket": sockets / "filer.sock",
        "filer.exposeDirectoryData": "false",
        "s3": "true",
        "s3.port": ports["s3"],
        "s3.port.grpc": ports["seaweedfs-s3-grpc"],
        "s3.port.iceberg": 0,
        "s3.port.lance": 0,
        "s3.localSocket": sockets / "s3.sock",
        "s3.config": config / "identities.json",
        "s3.autoCreateBucket": "false",
        "s3.allowDeleteBucketNotEmpty": "false",
    }
    arguments = tuple(f"-{name}={value}" for name, value in options.items())
    return Service(
        name=NAME,
        command=(str(Path(sys.executable).parent / "weed"), "-logtostderr=true", "server", *arguments),
        directory=config,  # where weed looks for security.toml
        configure=configure,
        prepare=prepare,
        ready=lambda: answers_s3(ports["s3"]),
        remedy="free some disk space if it says so; a damaged store is in home/data/seaweedfs",
        ports=tuple(ports[name] for name in PORTS),
    )


def answers_s3(port: int) -> None:
    """Check that an S3 gateway refuses an unsigned request on this port, which it does once it works.

    Raises:
        NotReady: nobody answers, or not as an S3 gateway does.
    """
    try:
        with urllib.request.urlopen(f"http://{LOOPBACK}:{port}/", timeout=5) as answer:
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
    for part in ("master", "volume", "filer", "s3", "client"):
        lines += [f"[grpc.{part}]", f"cert = {bundle}", f"key = {bundle}"]
    for part in ("master", "volume", "filer"):
        lines += [f"[https.{part}]", f"cert = {bundle}", f"key = {bundle}", f"ca = {bundle}"]
    lines += ["[https.client]", "enabled = true", f"cert = {bundle}", f"key = {bundle}", f"ca = {bundle}"]
    for section in ("jwt.signing", "jwt.signing.read", "jwt.filer_signing", "jwt.filer_signing.read"):
        key = secrets.read_or_generate(settings, f"{NAME}-{section.replace('.', '-')}", nbytes=32)
        lines += [f"[{section}]", f"key = {json.dumps(key)}"]
    lines += ["[access]", "ui = false", "[filer.expose_directory_metadata]", "enabled = false"]
    return "\n".join(lines) + "\n"


def _write_private(target: Path, content: str) -> None:
    """Replace a file that only its owner may read, in one step."""
    draft = target.with_name(f".{target.name}.{os.getpid()}")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as stream:
        stream.write(content)
    draft.replace(target)
