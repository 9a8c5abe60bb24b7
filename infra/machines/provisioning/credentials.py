"""One secret per role and store, generated on first use."""

from __future__ import annotations

import secrets as entropy

from infra import database, object_store, secrets
from infra.keys import signing_key
from infra.settings import Settings


def generate_credentials(settings: Settings) -> None:
    """Create the secrets that do not exist yet. Needs no service, and comes before starting any.

    The credentials of an external service's administrator cannot be invented: those must be put in the secrets folder
    (``s3-admin`` as ACCESS_KEY:SECRET_KEY, ``pg-admin`` as the password of ``calanque_admin``).

    Raises:
        infra.secrets.SecretMissing: an external service's administrator secret was not given.
    """
    for role in (object_store.ADMIN, *object_store.ROLES):
        if settings.store == "external":
            secrets.read(settings, f"s3-{role}")
        else:
            _write_s3(settings, role)
    if settings.postgres == "external":
        secrets.read(settings, "pg-admin")
    for role in (database.ADMIN, *database.ROLES):
        secrets.read_or_generate(settings, f"pg-{role}")
    signing_key.generate(settings)  # now, and not when it is needed: containers may read secrets, not make them


def admit_deliverer(settings: Settings, silo: str) -> str:
    """Create the secret of a partner who delivers for ``silo`` into bucket ``drop``; the name of its role.

    The store knows it from the next start of the lake on; without the secret, no more.
    """
    role = f"{object_store.DELIVERER}{silo}"
    _write_s3(settings, role)
    return role


def _write_s3(settings: Settings, role: str) -> None:
    secrets.write(settings, f"s3-{role}", f"calanque-{role}:{entropy.token_urlsafe(24)}")
