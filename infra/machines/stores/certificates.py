"""A private certificate authority for the parts of one store that talk to each other.

Parts of the same store prove to each other that they belong together: each connection presents a certificate signed by
an authority that exists only in this lake's secrets. Whoever has no such certificate is not answered at all.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
from pathlib import Path

from infra import secrets
from infra.settings import Settings

_LIFETIME = dt.timedelta(days=3650)
_OTHER_USES = (
    *("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement"),
    *("crl_sign", "encipher_only", "decipher_only"),
)


def certificate_bundle(settings: Settings, name: str) -> Path:
    """One PEM file for the parts of the service ``name``: private key, certificate and authority, in that order.

    Generated on first use, valid for ten years. The authority's own key is never written anywhere: it signs one
    certificate and is forgotten, so nobody can ever make a second one.
    """
    secret = f"{name}-tls.pem"
    if not secrets.path(settings, secret).exists():
        secrets.write(settings, secret, _generate(name))
    return secrets.path(settings, secret)


def _generate(name: str) -> str:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    authority_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"Calanque {name} authority")])
    authority_key = ec.generate_private_key(ec.SECP256R1())
    key = ec.generate_private_key(ec.SECP256R1())
    now = dt.datetime.now(dt.UTC)

    def certificate(subject: x509.Name, public_key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        # Both identifiers are what RFC 5280 asks for, and Python from 3.13 on.
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key())
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(authority_name)
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(days=1))
            .not_valid_after(now + _LIFETIME)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
            .add_extension(issuer, critical=False)
        )

    authority = (
        certificate(authority_name, authority_key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(
            x509.KeyUsage(key_cert_sign=True, **dict.fromkeys(_OTHER_USES, False)),
            critical=True,
        )
        .sign(authority_key, hashes.SHA256())
    )
    leaf = (
        certificate(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]), key.public_key())
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1")), x509.DNSName("localhost")]),
            critical=False,
        )
        .add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False
        )
        .sign(authority_key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return (private + leaf.public_bytes(pem) + authority.public_bytes(pem)).decode()
