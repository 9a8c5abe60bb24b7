"""The key that signs the copies of the ledger: a secret of this lake, made once."""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from infra import secrets
from infra.settings import Settings

SECRET = "ledger-signing-key"  # noqa: S105 - its name


def generate(settings: Settings) -> None:
    """Make the secret with which lines are signed, unless it is there."""
    if not secrets.path(settings, SECRET).exists():
        pem = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        secrets.write(settings, SECRET, pem.decode())
