"""Object-store identities, from the one table of grants in :mod:`infra.object_store`."""

from __future__ import annotations

import json
from typing import Any

from minio import MinioAdmin
from minio.credentials.providers import StaticProvider

from infra import object_store
from infra.object_store import Grant
from infra.settings import Settings

# MinIO checks the right to delete many objects on the key as written, and then follows its "..": a right on ``marts/``
# would reach ``conformed/`` (seen; a test holds it). No key of ours ever has that in it.
_NO_WAY_UP = {"Effect": "Deny", "Action": ["s3:*"], "Resource": ["arn:aws:s3:::*/*../*", "arn:aws:s3:::*/*/.."]}


def iam_policy(role: str) -> dict[str, Any]:
    """The grants of ``role`` as an IAM policy document, which SeaweedFS, MinIO and AWS all understand."""
    allowed = [statement for grant in object_store.grants(role) for statement in _statements(grant)]
    return {"Version": "2012-10-17", "Statement": [*allowed, _NO_WAY_UP]}


def _statements(grant: Grant) -> list[dict[str, Any]]:
    bucket = f"arn:aws:s3:::{grant.bucket}"
    listing: dict[str, Any] = {
        "Effect": "Allow",
        "Action": ["s3:ListBucket", *(["s3:ListBucketVersions"] if grant.versions else [])],
        "Resource": [bucket],
    }
    if grant.prefix:
        listing["Condition"] = {"StringLike": {"s3:prefix": [f"{grant.prefix}*"]}}
    actions = [
        *(["s3:GetObject", "s3:GetObjectVersion"] if grant.read else []),
        *(["s3:PutObject", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts"] if grant.put else []),
        *(["s3:DeleteObject"] if grant.delete else []),
        *(["s3:DeleteObjectVersion", "s3:BypassGovernanceRetention"] if grant.delete and grant.versions else []),
    ]
    rights = {"Effect": "Allow", "Action": actions, "Resource": [f"{bucket}/{grant.prefix}*"]}
    return [listing, rights] if grant.listing else [rights]


def seaweedfs_identities(settings: Settings) -> dict[str, Any]:
    """The content of SeaweedFS's S3 configuration file (``-s3.config``). It holds secrets: write it with mode 0600."""

    def identity(role: str, **rights: list[str]) -> dict[str, Any]:
        access_key, secret_key = object_store.credentials(settings, role)
        return {"name": role, "credentials": [{"accessKey": access_key, "secretKey": secret_key}], **rights}

    roles = _roles(settings)
    return {
        "identities": [
            identity(object_store.ADMIN, actions=["Admin"]),
            *(identity(role, policyNames=[_policy_name(role)]) for role in roles),
        ],
        "policies": [{"name": _policy_name(role), "content": json.dumps(iam_policy(role))} for role in roles],
    }


def provision_minio_users(settings: Settings) -> None:
    """Create or update the users and policies of a MinIO server through its admin API; remove deliverers of before."""
    access_key, secret_key = object_store.credentials(settings, object_store.ADMIN)
    target = object_store.endpoint(settings)
    admin = MinioAdmin(
        endpoint=target.address,
        credentials=StaticProvider(access_key, secret_key),
        region=target.region,
        secure=target.secure,
        http_client=object_store.http_client(),
    )
    wanted = {object_store.credentials(settings, role)[0] for role in _roles(settings)}
    for user in json.loads(admin.user_list()):
        if user.startswith(_policy_name(object_store.DELIVERER)) and user not in wanted:
            admin.user_remove(user)
    for role in _roles(settings):
        user, password = object_store.credentials(settings, role)
        admin.policy_add(_policy_name(role), policy=iam_policy(role))
        admin.user_add(user, password)
        admin.policy_set(_policy_name(role), user=user)  # replaces whatever was attached


def _roles(settings: Settings) -> list[str]:
    return [*object_store.ROLES, *object_store.deliverers(settings)]


def _policy_name(role: str) -> str:
    return f"calanque-{role}"
