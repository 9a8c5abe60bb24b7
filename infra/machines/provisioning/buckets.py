"""Buckets: versioning, object lock, and how long each keeps what it holds."""

from __future__ import annotations

from minio import Minio
from minio.commonconfig import ENABLED, GOVERNANCE, Filter
from minio.error import S3Error
from minio.lifecycleconfig import (
    AbortIncompleteMultipartUpload,
    Expiration,
    LifecycleConfig,
    NoncurrentVersionExpiration,
    Rule,
)
from minio.objectlockconfig import DAYS, ObjectLockConfig
from minio.versioningconfig import VersioningConfig

from infra import object_store
from infra.settings import Settings

LOCKED = ("landing",)
VERSIONED = ("drop", "landing", "receipts", "docs")

# Stores count from the midnight after: an object that "expires after n days" may live n + 1, and the version it then
# leaves behind its own n + 1. So 4 + 1 and 1 + 1 keep landing within the 7 days allowed, and 29 + 1 quarantine in 30.
LANDING_DAYS = 4
LANDING_NONCURRENT_DAYS = 1
LANDING_LOCK_DAYS = 1
QUARANTINE_DAYS = 29
DOCS_NONCURRENT_DAYS = 30
ABANDONED_UPLOAD_DAYS = 1


def provision_buckets(settings: Settings) -> None:
    """Create the buckets and set what each promises. An existing bucket keeps its objects."""
    store = object_store.client(settings, object_store.ADMIN)
    for bucket in object_store.BUCKETS:
        _ensure_bucket(store, bucket)
        if bucket in VERSIONED:
            store.set_bucket_versioning(bucket, VersioningConfig(ENABLED))
        if bucket in LOCKED:
            store.set_object_lock_config(bucket, ObjectLockConfig(GOVERNANCE, LANDING_LOCK_DAYS, DAYS))
        store.set_bucket_lifecycle(bucket, LifecycleConfig(_lifecycle(bucket)))


def _ensure_bucket(store: Minio, bucket: str) -> None:
    if store.bucket_exists(bucket):
        return
    try:
        store.make_bucket(bucket, object_lock=bucket in LOCKED)  # a bucket can be given its lock only now
    except S3Error as error:
        if error.code not in {"BucketAlreadyOwnedByYou", "BucketAlreadyExists"}:
            raise


def _lifecycle(bucket: str) -> list[Rule]:
    everything = Filter(prefix="")
    rules = [
        Rule(
            ENABLED,
            rule_filter=everything,
            rule_id="leftovers",
            # MinIO clears abandoned uploads by itself and ignores that part; alone it would refuse the rule.
            abort_incomplete_multipart_upload=AbortIncompleteMultipartUpload(ABANDONED_UPLOAD_DAYS),
            expiration=Expiration(expired_object_delete_marker=True),
        )
    ]
    if bucket == "landing":
        rules.append(
            Rule(
                ENABLED,
                rule_filter=everything,
                rule_id="landing-retention",
                expiration=Expiration(days=LANDING_DAYS),
                noncurrent_version_expiration=NoncurrentVersionExpiration(LANDING_NONCURRENT_DAYS),
            )
        )
    if bucket == "docs":
        rules.append(
            Rule(
                ENABLED,
                rule_filter=everything,
                rule_id="docs-history",
                noncurrent_version_expiration=NoncurrentVersionExpiration(DOCS_NONCURRENT_DAYS),
            )
        )
    if bucket == "quarantine":
        rules.append(
            Rule(
                ENABLED,
                rule_filter=everything,
                rule_id="quarantine-retention",
                expiration=Expiration(days=QUARANTINE_DAYS),
            )
        )
    return rules
