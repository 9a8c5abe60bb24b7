"""The object store: its buckets, its roles, and the few plain S3 calls everything else is made of.

Nothing here is particular to one server: SeaweedFS, MinIO and any other S3 endpoint answer the same calls. Who may do
what is declared in :data:`GRANTS` and enforced by the store itself (see :mod:`infra.machines.provisioning`).
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, cast
from urllib.parse import urlsplit

import certifi
import urllib3
from minio import Minio
from minio.error import S3Error
from pyarrow import fs

from infra import endpoints, secrets
from infra.settings import Settings

BUCKETS = ("drop", "landing", "quarantine", "lake", "receipts", "docs")
ROLES = ("landing", "pipeline", "publisher", "retention", "steward", "analyst")
ADMIN = "admin"
DELIVERER = "deliver-"
"""Role ``deliver-<silo>`` is that of a partner who puts deliveries into bucket ``drop``; it is when it has a secret."""

CONNECT_SECONDS = 5
READ_SECONDS = 120
RETRIES = 5
# Bigger parts make fewer requests; three are in flight at once, so an upload holds about 48 MiB whatever the size.
PART_BYTES = 16 * 1024 * 1024
_CHUNK_BYTES = 1024 * 1024


@dataclass(frozen=True)
class Grant:
    """What a role may do with the keys of ``bucket`` that begin with ``prefix`` ("" for the whole bucket).

    ``read`` is get; ``put`` is create or overwrite; ``delete`` is delete. ``versions`` extends listing and deleting to
    old versions and delete markers, those under a governance lock included. Every grant but that of a deliverer allows
    listing its prefix. A prefix may have ``*`` in the place of a table's name.
    """

    bucket: str
    prefix: str = ""
    read: bool = False
    put: bool = False
    delete: bool = False
    versions: bool = False
    listing: bool = True


# Only what a role must do. Evidence (landing, quarantine) is deleted by one role only, whose work that is and which
# cannot read it; receipts by none.
GRANTS: dict[str, tuple[Grant, ...]] = {
    "landing": (Grant("landing", put=True), Grant("drop", read=True, delete=True, versions=True)),
    "pipeline": (
        Grant("landing", read=True),
        Grant("lake", "conformed/", read=True, put=True, delete=True),
        Grant("quarantine", read=True, put=True),
        Grant("receipts", "deliveries/", read=True, put=True),
    ),
    "publisher": (
        Grant("lake", "conformed/", read=True),
        Grant("lake", "candidates/", read=True, put=True, delete=True),
        Grant("lake", "marts/", read=True, put=True, delete=True),
        Grant("lake", "releases/", read=True, put=True, delete=True),
        Grant("receipts", "releases/", read=True, put=True),
        Grant("receipts", "ledger/", read=True, put=True),
        Grant("receipts", "approvals/", read=True, put=True),
        Grant("docs", read=True, put=True, delete=True),
    ),
    "retention": (
        Grant("landing", delete=True, versions=True),
        Grant("quarantine", delete=True, versions=True),
        Grant("lake", "conformed/", delete=True, versions=True),
        Grant("lake", "conformed/*/metadata/", read=True, put=True),  # which files hold which days, never the rows
        Grant("lake", "candidates/", delete=True, versions=True),
        Grant("receipts", "retention/", read=True, put=True),
        Grant("receipts", "keys/", put=True),
        Grant("receipts", "erasures/", put=True),
    ),
    "steward": (Grant("quarantine", read=True), Grant("receipts", read=True), Grant("docs", read=True)),
    "analyst": (
        Grant("lake", "marts/", read=True),
        Grant("lake", "releases/", read=True),
        Grant("docs", "site/", read=True),  # beside it, the stewards' has exact counts
    ),
}


def grants(role: str) -> tuple[Grant, ...]:
    """What a role may do: one of :data:`ROLES`, or a deliverer, who may put under the name of its silo and no more."""
    if role.startswith(DELIVERER):
        return (Grant("drop", f"{role.removeprefix(DELIVERER)}/", put=True, listing=False),)
    return GRANTS[role]


def deliverers(settings: Settings) -> list[str]:
    """The roles of partners that may deliver into the object store."""
    return sorted(path.name.removeprefix("s3-") for path in settings.secrets_dir.glob(f"s3-{DELIVERER}*"))


class ObjectChangedError(RuntimeError):
    """The bytes of a file changed while it was being read."""


@dataclass(frozen=True)
class Endpoint:
    """Where an S3 service listens, in the parts that clients ask for separately."""

    address: str  # host:port
    secure: bool
    region: str

    @property
    def url(self) -> str:
        return f"{'https' if self.secure else 'http'}://{self.address}"


def endpoint(settings: Settings) -> Endpoint:
    """The object store of this lake.

    Raises:
        infra.endpoints.NotRunning: the lake is not up.
    """
    parts = urlsplit(endpoints.load(settings).s3_url)
    return Endpoint(address=parts.netloc, secure=parts.scheme == "https", region=settings.s3_region)


def credentials(settings: Settings, role: str) -> tuple[str, str]:
    """Access key and secret key of ``role`` (one of :data:`ROLES`, a deliverer, or :data:`ADMIN`).

    Raises:
        infra.secrets.SecretMissing: never provisioned; the message says what to do.
        ValueError: no such role, or the secret is not ``ACCESS_KEY:SECRET_KEY``.
    """
    if role not in (*ROLES, ADMIN) and not role.startswith(DELIVERER):
        raise ValueError(f"the object store has no role {role!r}; it has: {', '.join((*ROLES, ADMIN))}")
    access_key, separator, secret_key = secrets.read(settings, f"s3-{role}").partition(":")
    if not (access_key and separator and secret_key):
        raise ValueError(f"secret 's3-{role}' must read ACCESS_KEY:SECRET_KEY")
    return access_key, secret_key


def http_client() -> urllib3.PoolManager:
    """An HTTP pool with bounded waits, that tries again what a busy or restarting server refused."""
    return urllib3.PoolManager(
        timeout=urllib3.Timeout(connect=CONNECT_SECONDS, read=READ_SECONDS),
        retries=urllib3.Retry(total=RETRIES, backoff_factor=0.2, status_forcelist=(500, 502, 503, 504)),
        maxsize=10,
        cert_reqs="CERT_REQUIRED",
        ca_certs=certifi.where(),
    )


def client(settings: Settings, role: str) -> Minio:
    """A client that acts as ``role``. Cheap to make, safe to share between threads, not between processes."""
    access_key, secret_key = credentials(settings, role)
    target = endpoint(settings)
    return Minio(
        target.address,
        access_key=access_key,
        secret_key=secret_key,
        secure=target.secure,
        region=target.region,  # named, so that no role needs the right to ask where a bucket is
        http_client=http_client(),
    )


# --- credentials in the forms other libraries ask for ---------------------------------------------------------------


def pyiceberg_properties(settings: Settings, role: str) -> dict[str, str]:
    """FileIO properties of a PyIceberg catalog that acts as ``role``."""
    access_key, secret_key = credentials(settings, role)
    target = endpoint(settings)
    return {
        "s3.endpoint": target.url,
        "s3.region": target.region,
        "s3.access-key-id": access_key,
        "s3.secret-access-key": secret_key,
        "s3.connect-timeout": str(CONNECT_SECONDS),
        "s3.request-timeout": str(READ_SECONDS),
    }


def polars_options(settings: Settings, role: str) -> dict[str, str]:
    """``storage_options`` of Polars readers and writers."""
    access_key, secret_key = credentials(settings, role)
    target = endpoint(settings)
    return {
        "aws_endpoint_url": target.url,
        "aws_region": target.region,
        "aws_access_key_id": access_key,
        "aws_secret_access_key": secret_key,
        "aws_virtual_hosted_style_request": "false",
        "aws_allow_http": str(not target.secure).lower(),
    }


def filesystem(settings: Settings, role: str) -> fs.S3FileSystem:
    """A pyarrow filesystem whose paths are ``bucket/key``."""
    access_key, secret_key = credentials(settings, role)
    target = endpoint(settings)
    return fs.S3FileSystem(
        access_key=access_key,
        secret_key=secret_key,
        endpoint_override=target.address,
        scheme="https" if target.secure else "http",
        region=target.region,
        connect_timeout=CONNECT_SECONDS,
        request_timeout=READ_SECONDS,
    )


# --- objects ---------------------------------------------------------------------------------------------------------


def put_bytes(store: Minio, bucket: str, key: str, data: bytes, content_type: str = "application/octet-stream") -> None:
    """Create or overwrite one object."""
    store.put_object(bucket, key, io.BytesIO(data), len(data), content_type=content_type)


def put_json(store: Minio, bucket: str, key: str, value: Any) -> bytes:
    """Write ``value`` as canonical JSON (sorted keys, UTF-8, final newline) and return the bytes written.

    Equal values give equal bytes, so that a repeated write changes nothing.
    """
    data = (json.dumps(value, sort_keys=True, ensure_ascii=False, indent=2) + "\n").encode()
    put_bytes(store, bucket, key, data, "application/json")
    return data


def get_bytes(store: Minio, bucket: str, key: str) -> bytes:
    """The whole object, in memory.

    Raises:
        KeyError: no such object.
    """
    try:
        response = store.get_object(bucket, key)
    except S3Error as error:
        if error.code == "NoSuchKey":
            raise KeyError(f"no object {key!r} in bucket {bucket}") from None
        raise
    try:
        return bytes(response.read())
    finally:
        response.close()
        response.release_conn()


def get_json(store: Minio, bucket: str, key: str) -> Any:
    """The parsed content of a JSON object.

    Raises:
        KeyError: no such object.
    """
    return json.loads(get_bytes(store, bucket, key))


def list_keys(store: Minio, bucket: str, prefix: str = "") -> Iterator[str]:
    """Keys that begin with ``prefix``, in order."""
    return (found.object_name for found in store.list_objects(bucket, prefix=prefix, recursive=True))


def exists(store: Minio, bucket: str, key: str) -> bool:
    """Whether an object has exactly this key. Needs the right to list only, not to read."""
    # Keys come in order, so a key that exists is the first of those it is a prefix of.
    return next(list_keys(store, bucket, key), None) == key


def digest_file(path: Path) -> tuple[str, int]:
    """SHA-256 in hexadecimal, and size in bytes, of a file read once in constant memory."""
    digest = hashlib.sha256()
    size = 0
    with path.open("rb") as stream:
        for chunk in iter(partial(stream.read, _CHUNK_BYTES), b""):
            digest.update(chunk)
            size += len(chunk)
    return digest.hexdigest(), size


class _DigestingReader:
    """A stream that remembers the digest of what was read from it."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self.digest = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        chunk = self._stream.read(size)
        self.digest.update(chunk)
        return chunk


def put_file(
    store: Minio,
    bucket: str,
    key: str,
    path: Path,
    content_type: str = "application/octet-stream",
    *,
    sha256: str | None = None,
) -> str:
    """Stream a file to an object, in parts when it is big, and return the SHA-256 of the bytes sent.

    Raises:
        ObjectChangedError: ``sha256`` was given and the bytes sent do not have it.
    """
    with path.open("rb") as stream:
        return put_stream(store, bucket, key, stream, content_type, name=path.name, sha256=sha256)


def put_stream(
    store: Minio,
    bucket: str,
    key: str,
    stream: BinaryIO,
    content_type: str = "application/octet-stream",
    *,
    name: str,
    sha256: str | None = None,
) -> str:
    """Stream what is left of an open file, called ``name`` in errors, to an object; otherwise as :func:`put_file`."""
    reader = _DigestingReader(stream)
    # The size is left unknown (-1): a file that grows or shrinks meanwhile is seen by its digest, not by a hang.
    store.put_object(bucket, key, cast("BinaryIO", reader), -1, content_type=content_type, part_size=PART_BYTES)
    sent = reader.digest.hexdigest()
    if sha256 is not None and sent != sha256:
        raise ObjectChangedError(
            f"{name} changed while it was being uploaded to {bucket}: deliver it again once complete"
        )
    return sent


def get_file(store: Minio, bucket: str, key: str, path: Path) -> None:
    """Download an object to ``path``, which appears only once complete.

    Raises:
        KeyError: no such object.
    """
    try:
        store.fget_object(bucket, key, str(path))
    except S3Error as error:
        if error.code == "NoSuchKey":
            raise KeyError(f"no object {key!r} in bucket {bucket}") from None
        raise
