"""Who may do what in the object store: every role, on every zone, every action, on the live store."""

from __future__ import annotations

import datetime as dt
import hashlib
import http.client
import io
import uuid
from collections.abc import Callable
from contextlib import suppress
from urllib.parse import urlsplit

import pytest
import urllib3
from minio import Minio
from minio.commonconfig import CopySource
from minio.credentials.credentials import Credentials
from minio.deleteobjects import DeleteObject
from minio.error import S3Error
from minio.signer import sign_v4_s3
from minio.versioningconfig import SUSPENDED, VersioningConfig

from infra import object_store
from infra.settings import Settings

pytestmark = pytest.mark.live

ROLES = (*object_store.ROLES, "deliver-tows")
ZONES = (
    "drop/tows/",
    "drop/tows-of-another/",
    "landing/",
    "quarantine/",
    "lake/conformed/",
    "lake/conformed/table/metadata/",
    "lake/candidates/",
    "lake/marts/",
    "lake/releases/",
    "lake/elsewhere/",
    "receipts/deliveries/",
    "receipts/releases/",
    "receipts/retention/",
    "receipts/keys/",
    "receipts/erasures/",
    "docs/site/",
    "docs/stewards/",
)
ACTIONS = ("list", "get", "put", "delete")

# As docs/reference.md declares it. Whatever is not written here must be refused.
ALLOWED: dict[str, dict[str, str]] = {
    "deliver-tows": {"drop/tows/": "put"},
    "landing": {
        "landing/": "list put",
        "drop/tows/": "list get delete",
        "drop/tows-of-another/": "list get delete",
    },
    "pipeline": {
        "landing/": "list get",
        "lake/conformed/": "list get put delete",
        "lake/conformed/table/metadata/": "list get put delete",
        "quarantine/": "list get put",
        "receipts/deliveries/": "list get put",
    },
    "publisher": {
        "lake/conformed/": "list get",
        "lake/conformed/table/metadata/": "list get",
        "lake/candidates/": "list get put delete",
        "lake/marts/": "list get put delete",
        "lake/releases/": "list get put delete",
        "receipts/releases/": "list get put",
        "docs/site/": "list get put delete",
        "docs/stewards/": "list get put delete",
    },
    "retention": {
        "landing/": "list delete",
        "quarantine/": "list delete",
        "lake/conformed/": "list delete",
        "lake/conformed/table/metadata/": "list get put delete",
        "lake/candidates/": "list delete",
        "receipts/retention/": "list get put",
        "receipts/keys/": "list put",
        "receipts/erasures/": "list put",
    },
    "steward": {
        "quarantine/": "list get",
        "receipts/deliveries/": "list get",
        "receipts/releases/": "list get",
        "receipts/retention/": "list get",
        "receipts/keys/": "list get",
        "receipts/erasures/": "list get",
        "docs/site/": "list get",
        "docs/stewards/": "list get",
    },
    "analyst": {"lake/marts/": "list get", "lake/releases/": "list get", "docs/site/": "list get"},
}


def _allowed(attempt: Callable[[], object]) -> bool:
    try:
        attempt()
    except S3Error as error:
        if error.code != "AccessDenied" and "WORM" not in (error.message or ""):  # MinIO's word for a lock
            raise
        return False
    return True


def _attempts(client: Minio, bucket: str, prefix: str, seeded: str) -> dict[str, Callable[[], object]]:
    new = f"{prefix}{uuid.uuid4().hex}"
    return {
        "list": lambda: list(client.list_objects(bucket, prefix=prefix, recursive=True)),
        "get": lambda: object_store.get_bytes(client, bucket, seeded),
        "put": lambda: object_store.put_bytes(client, bucket, new, b"x"),
        "delete": lambda: client.remove_object(bucket, seeded),
    }


@pytest.fixture
def admin(store: Settings) -> Minio:
    return object_store.client(store, object_store.ADMIN)


def _seed(admin: Minio, bucket: str, prefix: str) -> str:
    key = f"{prefix}{uuid.uuid4().hex}"
    object_store.put_bytes(admin, bucket, key, b"seeded")
    return key


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("zone", ZONES)
def test_matrix(store: Settings, admin: Minio, role: str, zone: str) -> None:
    bucket, _, prefix = zone.partition("/")
    prefix += f"test-{uuid.uuid4().hex}/"
    seeded = _seed(admin, bucket, prefix)
    client = object_store.client(store, role)
    expected = ALLOWED[role].get(zone, "").split()
    found = [action for action, attempt in _attempts(client, bucket, prefix, seeded).items() if _allowed(attempt)]
    assert found == expected
    # What was refused has had no effect either.
    assert object_store.exists(admin, bucket, seeded) == ("delete" not in expected)
    assert len(list(object_store.list_keys(admin, bucket, prefix))) == 1 + ("put" in expected) - ("delete" in expected)


@pytest.mark.parametrize("zone", ZONES)
def test_nobody_in_particular_may_do_nothing(store: Settings, admin: Minio, zone: str) -> None:
    bucket, _, prefix = zone.partition("/")
    prefix += f"test-{uuid.uuid4().hex}/"
    seeded = _seed(admin, bucket, prefix)
    target = object_store.endpoint(store)
    clients = [
        Minio(target.address, secure=target.secure, region=target.region),
        Minio(target.address, "calanque-pipeline", "wrong-secret", secure=target.secure, region=target.region),
    ]
    for client in clients:
        for action, attempt in _attempts(client, bucket, prefix, seeded).items():
            with pytest.raises(S3Error) as refusal:
                attempt()
            assert refusal.value.code in {"AccessDenied", "SignatureDoesNotMatch"}, action
    plain = urllib3.PoolManager().request("GET", f"{target.url}/{bucket}/{seeded}")
    assert plain.status == 403
    assert b"seeded" not in plain.data


@pytest.mark.parametrize("role", ROLES)
def test_a_zone_is_not_listed_from_its_parent(store: Settings, admin: Minio, role: str) -> None:
    _seed(admin, "lake", "conformed/test/")
    client = object_store.client(store, role)
    for prefix in ("", "con", "/"):
        assert not _allowed(lambda prefix=prefix: list(client.list_objects("lake", prefix=prefix))), prefix
        assert not _allowed(
            lambda prefix=prefix: list(client.list_objects("lake", prefix=prefix, include_version=True))
        ), prefix


def _remove_many(client: Minio, bucket: str, key: str) -> None:
    for error in client.remove_objects(bucket, [DeleteObject(key)]):
        raise S3Error(None, error.code, error.message, key, None, None, bucket, key)


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("zone", ZONES)
def test_deleting_many_at_once_is_no_way_round(store: Settings, admin: Minio, role: str, zone: str) -> None:
    bucket, _, prefix = zone.partition("/")
    seeded = _seed(admin, bucket, f"{prefix}test-{uuid.uuid4().hex}/")
    client = object_store.client(store, role)
    may = "delete" in ALLOWED[role].get(zone, "")
    assert _allowed(lambda: _remove_many(client, bucket, seeded)) == may
    assert object_store.exists(admin, bucket, seeded) != may


@pytest.mark.parametrize(
    "climbing",
    ["marts/../conformed/{}", "marts/x/../../conformed/{}", "marts//../conformed/{}", "releases/../conformed/{}"],
)
def test_no_key_climbs_out_of_its_zone(store: Settings, admin: Minio, climbing: str) -> None:
    name = f"test-{uuid.uuid4().hex}"
    object_store.put_bytes(admin, "lake", f"conformed/{name}", b"seeded")
    publisher = object_store.client(store, "publisher")
    with suppress(S3Error):
        list(publisher.remove_objects("lake", [DeleteObject(climbing.format(name))]))
    assert object_store.get_bytes(admin, "lake", f"conformed/{name}") == b"seeded"
    # The SDK refuses to write such keys, so these requests are signed by hand.
    for method, body in (("GET", b""), ("PUT", b"planted"), ("DELETE", b"")):
        for path in (climbing.format(name), climbing.format(name).replace("..", "%2E%2E")):
            status, answer = _signed_request(store, "analyst" if method == "GET" else "publisher", method, path, body)
            assert status in {400, 403, 404}, (method, path)
            assert b"seeded" not in answer
    assert object_store.get_bytes(admin, "lake", f"conformed/{name}") == b"seeded"
    analyst = object_store.client(store, "analyst")
    prefix = climbing.format("")
    with suppress(S3Error):
        assert list(analyst.list_objects("lake", prefix=prefix, recursive=True)) == []


def _signed_request(settings: Settings, role: str, method: str, path: str, body: bytes) -> tuple[int, bytes]:
    """One S3 request on bucket lake whose path is sent as it is, without any library tidying it first."""
    target = object_store.endpoint(settings)
    digest = hashlib.sha256(body).hexdigest()
    now = dt.datetime.now(dt.UTC)
    headers = sign_v4_s3(
        method=method,
        url=urlsplit(f"{target.url}/lake/{path}"),
        region=target.region,
        headers={"Host": target.address, "x-amz-content-sha256": digest, "x-amz-date": now.strftime("%Y%m%dT%H%M%SZ")},
        credentials=Credentials(*object_store.credentials(settings, role)),
        content_sha256=digest,
        date=now,
    )
    connection = http.client.HTTPConnection(target.address, timeout=30)
    try:
        connection.putrequest(method, f"/lake/{path}", skip_host=True)
        for name, value in headers.items():
            connection.putheader(name, str(value))
        connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


@pytest.mark.parametrize(
    ("role", "source", "target"),
    [
        ("publisher", "quarantine/", "docs/"),
        ("publisher", "landing/", "lake/releases/"),
        ("publisher", "receipts/deliveries/", "docs/"),
        ("pipeline", "lake/marts/", "lake/conformed/"),
        ("landing", "landing/", "landing/"),
        ("landing", "lake/conformed/", "landing/"),
    ],
)
def test_copying_on_the_server_needs_the_right_to_read(
    store: Settings, admin: Minio, role: str, source: str, target: str
) -> None:
    from_bucket, _, from_prefix = source.partition("/")
    to_bucket, _, to_prefix = target.partition("/")
    seeded = _seed(admin, from_bucket, f"{from_prefix}test/")
    stolen = f"{to_prefix}test-{uuid.uuid4().hex}"
    client = object_store.client(store, role)
    assert not _allowed(lambda: client.copy_object(to_bucket, stolen, CopySource(from_bucket, seeded)))
    assert not object_store.exists(admin, to_bucket, stolen)


@pytest.mark.parametrize("role", ROLES)
def test_a_locked_version_goes_by_the_hand_of_retention_only(store: Settings, admin: Minio, role: str) -> None:
    locked = admin.put_object("landing", f"test/{uuid.uuid4().hex}", io.BytesIO(b"x"), 1)
    client = object_store.client(store, role)
    version = DeleteObject(str(locked.object_name), locked.version_id)
    refused = list(client.remove_objects("landing", [version], bypass_governance_mode=True))
    left = list(admin.list_objects("landing", prefix=str(locked.object_name), include_version=True))
    assert (refused == [], left == []) == ((True, True) if role == "retention" else (False, False))


@pytest.mark.parametrize("role", ROLES)
def test_no_role_administers_anything(store: Settings, admin: Minio, role: str) -> None:
    client = object_store.client(store, role)
    locked = admin.put_object("landing", f"test/{uuid.uuid4().hex}", io.BytesIO(b"x"), 1)
    policy = '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"s3:*","Resource":"*"}]}'
    attempts: dict[str, Callable[[], object]] = {
        "make a bucket": lambda: client.make_bucket(f"test-{uuid.uuid4().hex}"),
        "open a bucket": lambda: client.set_bucket_policy("lake", policy),
        "suspend versions": lambda: client.set_bucket_versioning("receipts", VersioningConfig(SUSPENDED)),
        "drop the lifecycle": lambda: client.delete_bucket_lifecycle("landing"),
        "drop the lock": lambda: client.delete_object_lock_config("landing"),
        "delete a landed version": lambda: client.remove_object(
            "landing", locked.object_name, version_id=locked.version_id
        ),
        "remove a bucket": lambda: client.remove_bucket("docs"),
    }
    assert [name for name, attempt in attempts.items() if _allowed(attempt)] == []
    assert {bucket.name for bucket in admin.list_buckets()} == set(object_store.BUCKETS)
