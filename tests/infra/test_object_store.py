"""The storage suite: what Calanque asks of an object store, on each of them."""

from __future__ import annotations

import io
import json
import uuid
from pathlib import Path

import pytest
from minio import Minio
from minio.commonconfig import ENABLED, GOVERNANCE
from minio.error import S3Error
from minio.objectlockconfig import DAYS

from infra import object_store
from infra.settings import Settings

pytestmark = pytest.mark.live

MEBIBYTE = 1024 * 1024


@pytest.fixture
def admin(store: Settings) -> Minio:
    return object_store.client(store, object_store.ADMIN)


@pytest.fixture
def prefix() -> str:
    return f"test/{uuid.uuid4().hex}/"


def test_every_bucket_exists(admin: Minio) -> None:
    assert {bucket.name for bucket in admin.list_buckets()} >= set(object_store.BUCKETS)


def test_bytes_come_back_as_they_went(admin: Minio, prefix: str) -> None:
    key = f"{prefix}blob avec espace é+%.bin"
    object_store.put_bytes(admin, "lake", key, bytes(range(256)), "application/x-test")
    assert object_store.get_bytes(admin, "lake", key) == bytes(range(256))
    assert admin.stat_object("lake", key).content_type == "application/x-test"


def test_empty_object(admin: Minio, prefix: str) -> None:
    object_store.put_bytes(admin, "lake", f"{prefix}empty", b"")
    assert object_store.get_bytes(admin, "lake", f"{prefix}empty") == b""


def test_equal_json_values_give_equal_bytes(admin: Minio, prefix: str) -> None:
    first = object_store.put_json(admin, "receipts", f"{prefix}a.json", {"b": 1, "a": "été"})
    second = object_store.put_json(admin, "receipts", f"{prefix}b.json", {"a": "été", "b": 1})
    assert first == second == object_store.get_bytes(admin, "receipts", f"{prefix}a.json")
    assert object_store.get_json(admin, "receipts", f"{prefix}a.json") == {"a": "été", "b": 1}
    assert json.loads(first) == {"a": "été", "b": 1}


def test_missing_object_is_a_key_error_that_names_it(admin: Minio, prefix: str, tmp_path: Path) -> None:
    with pytest.raises(KeyError, match=r"nowhere.*in bucket lake"):
        object_store.get_bytes(admin, "lake", f"{prefix}nowhere")
    with pytest.raises(KeyError, match=r"nowhere.*in bucket lake"):
        object_store.get_file(admin, "lake", f"{prefix}nowhere", tmp_path / "never")
    assert not (tmp_path / "never").exists()


def test_list_is_by_prefix_complete_and_in_order(admin: Minio, prefix: str) -> None:
    keys = [f"{prefix}{name}" for name in ("a", "a-b", "a.b", "b/c", "b/d/e", "z")]
    for key in keys:
        object_store.put_bytes(admin, "lake", key, b"x")
    object_store.put_bytes(admin, "lake", f"{prefix[:-1]}-beside", b"x")
    assert sorted(object_store.list_keys(admin, "lake", prefix)) == keys
    assert list(object_store.list_keys(admin, "lake", f"{prefix}b/")) == [f"{prefix}b/c", f"{prefix}b/d/e"]


@pytest.mark.slow
def test_list_goes_on_after_the_first_thousand(admin: Minio, prefix: str) -> None:
    for number in range(1005):
        object_store.put_bytes(admin, "lake", f"{prefix}{number:05}", b"")
    assert len(list(object_store.list_keys(admin, "lake", prefix))) == 1005


def test_exists_means_exactly_this_key(admin: Minio, prefix: str) -> None:
    object_store.put_bytes(admin, "lake", f"{prefix}receipt.json", b"x")
    object_store.put_bytes(admin, "lake", f"{prefix}folder/file", b"x")
    assert object_store.exists(admin, "lake", f"{prefix}receipt.json")
    assert not object_store.exists(admin, "lake", f"{prefix}receipt.jso")
    assert not object_store.exists(admin, "lake", f"{prefix}folder")
    assert not object_store.exists(admin, "lake", f"{prefix}receipt.json2")


def test_a_key_beside_longer_ones_exists(admin: Minio, prefix: str) -> None:
    for name in ("a", "a!", "a-b", "a.json"):
        object_store.put_bytes(admin, "lake", f"{prefix}{name}", b"x")
    assert object_store.exists(admin, "lake", f"{prefix}a")


@pytest.mark.parametrize("size", [0, 1, 16 * MEBIBYTE, 40 * MEBIBYTE + 7])
def test_file_is_streamed_in_parts_and_hashed_on_the_way(
    store: Settings, admin: Minio, tmp_path: Path, size: int
) -> None:
    source = tmp_path / "source"
    block = uuid.uuid4().bytes * 65536
    with source.open("wb") as stream:
        written = 0
        while written < size:
            written += stream.write(block[: size - written])
    digest, length = object_store.digest_file(source)
    assert length == size
    key = f"test/dt=2026-01-01/{digest}-{uuid.uuid4().hex}.bin"
    # As the role that does it: rights to upload in parts included.
    landing = object_store.client(store, "landing")
    assert object_store.put_file(landing, "landing", key, source, sha256=digest) == digest
    back = tmp_path / "back"
    object_store.get_file(object_store.client(store, "pipeline"), "landing", key, back)
    assert object_store.digest_file(back) == (digest, size)
    in_parts = "-" in (admin.stat_object("landing", key).etag or "")
    assert in_parts == (size > object_store.PART_BYTES)


def test_a_file_that_changed_since_it_was_hashed_is_refused(store: Settings, tmp_path: Path, prefix: str) -> None:
    source = tmp_path / "growing.csv"
    source.write_bytes(b"a;b\n")
    digest, _ = object_store.digest_file(source)
    source.write_bytes(b"a;b\n1;2\n")
    with pytest.raises(object_store.ObjectChangedError, match=r"growing\.csv changed"):
        object_store.put_file(
            object_store.client(store, "landing"), "landing", f"{prefix}{digest}", source, sha256=digest
        )


@pytest.mark.parametrize("bucket", ["landing", "receipts", "docs"])
def test_versions_are_kept(admin: Minio, prefix: str, bucket: str) -> None:
    assert admin.get_bucket_versioning(bucket).status == ENABLED
    versions = [
        admin.put_object(bucket, f"{prefix}file", io.BytesIO(content), len(content)).version_id
        for content in (b"first", b"second")
    ]
    assert None not in versions
    assert len(set(versions)) == 2
    assert object_store.get_bytes(admin, bucket, f"{prefix}file") == b"second"
    response = admin.get_object(bucket, f"{prefix}file", version_id=versions[0])
    try:
        assert response.read() == b"first"
    finally:
        response.close()
        response.release_conn()


def test_landed_versions_cannot_be_deleted(admin: Minio, prefix: str) -> None:
    version = admin.put_object("landing", f"{prefix}evidence", io.BytesIO(b"x"), 1).version_id
    retention = admin.get_object_retention("landing", f"{prefix}evidence", version_id=version)
    assert retention is not None
    assert retention.mode == GOVERNANCE
    with pytest.raises(S3Error) as refusal:
        admin.remove_object("landing", f"{prefix}evidence", version_id=version)
    assert refusal.value.code in {"AccessDenied", "InvalidRequest"}  # MinIO: "Object is WORM protected"
    # Deleting without naming a version only hides it.
    admin.remove_object("landing", f"{prefix}evidence")
    assert admin.stat_object("landing", f"{prefix}evidence", version_id=version).size == 1


def test_the_lock_ends_within_a_day(admin: Minio) -> None:
    lock = admin.get_object_lock_config("landing")
    assert (lock.mode, lock.duration, lock.duration_unit) == (GOVERNANCE, 1, DAYS)


@pytest.mark.parametrize(("bucket", "days_allowed"), [("landing", 7), ("quarantine", 30)])
def test_raw_data_expires_in_time(admin: Minio, bucket: str, days_allowed: int) -> None:
    config = admin.get_bucket_lifecycle(bucket)
    assert config is not None
    rules = [rule for rule in config.rules if rule.expiration and rule.expiration.days]
    assert len(rules) == 1
    [rule] = rules
    assert rule.status == ENABLED
    assert rule.rule_filter is None or not rule.rule_filter.prefix  # every object of the bucket
    # A store counts days from the following midnight: each period may last a day longer than it says.
    longest = rule.expiration.days + 1
    if admin.get_bucket_versioning(bucket).status == ENABLED:
        assert rule.noncurrent_version_expiration is not None
        longest += rule.noncurrent_version_expiration.noncurrent_days + 1
    assert longest <= days_allowed


@pytest.mark.parametrize("bucket", ["lake", "receipts", "docs"])
def test_what_is_kept_never_expires(admin: Minio, bucket: str) -> None:
    config = admin.get_bucket_lifecycle(bucket)
    rules = config.rules if config else []
    assert not any(rule.expiration and rule.expiration.days for rule in rules)
    if bucket != "docs":  # old versions of the steward site's doors may go
        assert not any(rule.noncurrent_version_expiration for rule in rules)


@pytest.mark.parametrize("role", ["nobody", "root", ""])
def test_unknown_role_is_named_in_the_refusal(store: Settings, role: str) -> None:
    with pytest.raises(ValueError, match="no role"):
        object_store.client(store, role)
