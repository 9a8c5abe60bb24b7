"""A signed copy of every ledger line in the object store, so that a database cannot be rewound without being noticed.

Bucket ``receipts``, ``ledger/<seq, 12 digits>.json``: the line and its Ed25519 signature. The public key is stored
once, beside them, and the private key is a secret of this lake. A copy is written once and never again.
"""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)
from minio import Minio

from infra import object_store, secrets
from infra.keys import signing_key
from infra.settings import Settings
from privacy.ledger import LedgerBrokenError, Line, canonical

BUCKET = "receipts"
PREFIX = "ledger/"
PUBLIC_KEY = f"{PREFIX}public-key.pem"


def key(seq: int) -> str:
    return f"{PREFIX}{seq:012d}.json"


class Copies:
    """The signed copies of one lake, as the role that owns ``store``."""

    def __init__(self, settings: Settings, store: Minio) -> None:
        self._settings = settings
        self._store = store

    def check_head(self, chain: Sequence[Line]) -> None:
        """Whether the ledger still ends where its copies say, or later.

        Raises:
            LedgerBrokenError: the copies know lines that the ledger does not have, or has otherwise.
        """
        newest = max(self.stored(), default=0)
        if newest > len(chain):
            raise LedgerBrokenError(_behind(len(chain), newest))
        if newest and (wrong := self._wrong(chain[newest - 1])):
            raise LedgerBrokenError(f"nothing is released while the ledger is broken: {wrong}; see `calanque ledger`")

    def catch_up(self, chain: Sequence[Line]) -> None:
        """Write the copies of the lines that are newer than any copy.

        Raises:
            LedgerBrokenError: as :meth:`check_head`.
        """
        self.check_head(chain)
        newest = max(self.stored(), default=0)
        waiting = [line for line in chain if line.seq > newest]
        if not waiting:
            return
        private_key = self._private_key()
        for line in waiting:
            signature = b64encode(private_key.sign(canonical(line.document))).decode()
            object_store.put_json(self._store, BUCKET, key(line.seq), {"line": line.document, "signature": signature})

    def stored(self) -> set[int]:
        """The numbers of the lines that have a copy."""
        return {
            int(name.removeprefix(PREFIX).removesuffix(".json"))
            for name in object_store.list_keys(self._store, BUCKET, PREFIX)
            if name != PUBLIC_KEY
        }

    def breaks(self, chain: Sequence[Line]) -> Iterator[str]:
        """What the copies say is wrong, or what is wrong with them: a sentence each."""
        stored = self.stored()
        if max(stored, default=0) > max((line.seq for line in chain), default=0):
            yield _behind(chain[-1].seq if chain else 0, max(stored))
        for line in chain:
            if line.seq not in stored:
                yield (
                    f"line {line.seq} of the ledger has no signed copy ({key(line.seq)}): it was deleted, or a release "
                    "was interrupted; `calanque run` finishes an interrupted one"
                )
            elif wrong := self._wrong(line):
                yield wrong

    def _wrong(self, line: Line) -> str | None:
        """What is wrong with the copy of a line, or with the line."""
        try:
            copy: dict[str, Any] = object_store.get_json(self._store, BUCKET, key(line.seq))
            signature = b64decode(copy["signature"], validate=True)
            self._public_key.verify(signature, canonical(copy["line"]))
        except (KeyError, TypeError, ValueError, InvalidSignature, json.JSONDecodeError):
            return f"the signed copy of line {line.seq} ({key(line.seq)}) was changed: its signature is not valid"
        if copy["line"] != line.document:
            return f"line {line.seq} of the ledger is not what its signed copy says: the line was changed"
        return None

    @cached_property
    def _public_key(self) -> Ed25519PublicKey:
        try:
            found = load_pem_public_key(object_store.get_bytes(self._store, BUCKET, PUBLIC_KEY))
        except (KeyError, ValueError):
            raise LedgerBrokenError(
                f"the public key of the ledger's signed copies ({BUCKET}/{PUBLIC_KEY}) is missing or unreadable: "
                "restore it from a backup"
            ) from None
        if not isinstance(found, Ed25519PublicKey):
            raise LedgerBrokenError(f"{BUCKET}/{PUBLIC_KEY} is not an Ed25519 key: restore it from a backup")
        return found

    def _private_key(self) -> Ed25519PrivateKey:
        """The key that signs, with its public half in the store."""
        signing_key.generate(self._settings)
        loaded = load_pem_private_key(secrets.read(self._settings, signing_key.SECRET).encode(), password=None)
        if not isinstance(loaded, Ed25519PrivateKey):
            raise LedgerBrokenError(f"the secret {signing_key.SECRET} is not an Ed25519 key: restore it from a backup")
        public = loaded.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        if not object_store.exists(self._store, BUCKET, PUBLIC_KEY):
            object_store.put_bytes(self._store, BUCKET, PUBLIC_KEY, public, "application/x-pem-file")
        elif object_store.get_bytes(self._store, BUCKET, PUBLIC_KEY) != public:
            raise LedgerBrokenError(
                f"the secret {signing_key.SECRET} is not the key that signed the ledger so far: "
                "restore it from a backup"
            )
        return loaded


def _behind(ledger: int, copies: int) -> str:
    return (
        f"the ledger ends at line {ledger} and its signed copies at line {copies}: the database was restored or "
        "truncated; restore a newer backup before anything else is released"
    )
