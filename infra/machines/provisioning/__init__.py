"""Give every role its credentials and its rights, by each store's own means. Everything here may be run again."""

from __future__ import annotations

from infra.calendar import clock
from infra.machines.provisioning.buckets import provision_buckets
from infra.machines.provisioning.credentials import admit_deliverer, generate_credentials
from infra.machines.provisioning.identities import iam_policy, provision_minio_users, seaweedfs_identities
from infra.machines.provisioning.postgres import provision_postgres
from infra.settings import Settings

__all__ = ["admit_deliverer", "generate_credentials", "iam_policy", "provision", "seaweedfs_identities"]


def provision(settings: Settings) -> None:
    """Make the running services into a lake: roles, buckets, databases, catalog. Idempotent.

    Needs the secrets ``s3-admin`` and ``pg-admin``, which exist for embedded services and are given for external ones.
    The identities of SeaweedFS are read when it starts, from :func:`seaweedfs_identities`; those of another S3
    service are its administrator's to make, from :func:`iam_policy`.
    """
    generate_credentials(settings)
    if settings.store == "minio":
        provision_minio_users(settings)
    provision_buckets(settings)
    provision_postgres(settings)
    clock.now(settings)  # refused at once when it may not be this lake's
