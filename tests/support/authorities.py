"""Authorities of a test's own that are texts in PEM, good ones and such as may not sign."""

from __future__ import annotations

import datetime

from typing import Any, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import NameOID

DAY = datetime.timedelta(days=1)


class Made(NamedTuple):
    """An authority."""

    key: Any
    certificate: x509.Certificate
    above: tuple[x509.Certificate, ...] = ()
    """The certificates above it."""

    @property
    def pem(self) -> str:
        """Its certificate."""
        return pem_of(self.certificate)

    @property
    def chain(self) -> str:
        """Its certificate and those above it."""
        return self.pem + "".join(map(pem_of, self.above))

    @property
    def key_pem(self) -> str:
        """Its private key."""
        return str(self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode())

    @property
    def encrypted_key_pem(self) -> str:
        """Its private key under a passphrase."""
        hidden = BestAvailableEncryption(b"passphrase")
        return str(self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, hidden).decode())

    @property
    def text(self) -> str:
        """Certificates and key in one text."""
        return self.chain + self.key_pem


def authority(
    subject: str = "test authority",
    *,
    key: Any = None,
    issuer: Made | None = None,
    ca: bool | None = True,
    path_length: int | None = None,
    signs: bool | None = True,
    begins: datetime.timedelta = -DAY,
    ends: datetime.timedelta = 400 * DAY,
    extensions: tuple[tuple[x509.ExtensionType, bool], ...] = (),
    identified: bool = True,
) -> Made:
    """Make one.

    Args:
        subject: Its name.
        key: Its private key; a new one on P-256 unless given.
        issuer: Who has signed it; itself unless given.
        ca: What it says of being an authority; ``None`` for nothing.
        path_length: How many authorities it lets stand below it.
        signs: Whether its key may sign certificates; ``None`` for nothing said.
        begins: When it begins, from now.
        ends: When it ends, from now.
        extensions: Further ones, and whether each is critical.
        identified: Whether it has an identifier of its key.
    """
    key = key or ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)])
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name if issuer is None else issuer.certificate.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + begins)
        .not_valid_after(now + ends)
    )
    if identified:
        own = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
        builder = builder.add_extension(own, critical=False)
    if ca is not None:
        builder = builder.add_extension(x509.BasicConstraints(ca=ca, path_length=path_length), critical=True)
    if signs is not None:
        builder = builder.add_extension(_usage(signs), critical=True)
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical=critical)
    signer = key if issuer is None else issuer.key
    decides = isinstance(signer, ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey)
    made = builder.sign(signer, None if decides else hashes.SHA256())
    return Made(key, made, () if issuer is None else (issuer.certificate, *issuer.above))


def pem_of(certificate: x509.Certificate) -> str:
    """Return a certificate in PEM."""
    return certificate.public_bytes(Encoding.PEM).decode()


def _usage(signs: bool) -> x509.KeyUsage:
    others = ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement")
    no = dict.fromkeys((*others, "encipher_only", "decipher_only"), False)
    return x509.KeyUsage(digital_signature=True, key_cert_sign=signs, crl_sign=signs, **no)
