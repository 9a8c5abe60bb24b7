"""The certificates of a store's parts: accepted by each other under the strictest checks, and by nobody else."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from infra.machines.stores.certificates import certificate_bundle
from infra.settings import Settings


def context(bundle: Path, purpose: ssl.Purpose) -> ssl.SSLContext:
    made = ssl.create_default_context(purpose, cafile=str(bundle))
    made.load_cert_chain(bundle)
    made.verify_mode = ssl.CERT_REQUIRED
    made.verify_flags |= ssl.VERIFY_X509_STRICT  # what Python does by itself from 3.13 on
    return made


def shake_hands(server: Path, client: Path) -> None:
    """A TLS handshake in memory, in which each side asks for the certificate of the other."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    sides = [
        context(client, ssl.Purpose.SERVER_AUTH).wrap_bio(to_client, to_server, server_hostname="127.0.0.1"),
        context(server, ssl.Purpose.CLIENT_AUTH).wrap_bio(to_server, to_client, server_side=True),
    ]
    for _ in range(4):
        for side in list(sides):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
            sides.remove(side)
    assert not sides


def test_parts_of_one_store_know_each_other(tmp_path: Path) -> None:
    bundle = certificate_bundle(Settings(home=tmp_path), "seaweedfs")
    shake_hands(bundle, bundle)


def test_parts_of_another_store_are_strangers(tmp_path: Path) -> None:
    bundles = [certificate_bundle(Settings(home=tmp_path / name), "seaweedfs") for name in ("one", "other")]
    for server, client in (bundles, bundles[::-1]):
        with pytest.raises(ssl.SSLCertVerificationError):
            shake_hands(server, client)
