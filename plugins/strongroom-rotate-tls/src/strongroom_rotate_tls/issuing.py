"""Making a key and a certificate for it."""

from __future__ import annotations

import datetime

from ipaddress import ip_address
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from strongroom_rotate_tls.authority import Authority, SigningKey
from strongroom_rotate_tls.bundle import Bundle
from strongroom_rotate_tls.settings import LONGEST_COMMON_NAME, TlsSettings

BACKDATED: Final = datetime.timedelta(minutes=5)
"""By how much a certificate begins before it is made: clocks differ."""
BACKDATED_PART: Final = 10
"""That is at most such a part of its life, so that a short one is not due as soon as it is made."""
PURPOSES: Final = {
    "server": [ExtendedKeyUsageOID.SERVER_AUTH],
    "client": [ExtendedKeyUsageOID.CLIENT_AUTH],
    "both": [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH],
}


def new_key(kind: str) -> SigningKey:
    """Return a new private key of one of the kinds that the settings know."""
    if kind == "ed25519":
        return ed25519.Ed25519PrivateKey.generate()
    if kind == "rsa-3072":
        return rsa.generate_private_key(public_exponent=65537, key_size=3072)
    return ec.generate_private_key(ec.SECP384R1() if kind == "ec-p384" else ec.SECP256R1())


def issue(authority: Authority, settings: TlsSettings, now: datetime.datetime) -> Bundle:
    """Return a new certificate with a new key.

    Args:
        authority: Who signs it.
        settings: What it is for.
        now: When it is made.
    """
    key = new_key(settings.key)
    begins, ends = _times(authority, settings.life, now)
    subject = _subject(settings)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(authority.certificate.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begins)
        .not_valid_after(ends)
        # Without a subject the names are all there is, so they must not be passed over.
        .add_extension(x509.SubjectAlternativeName(_names(settings)), critical=not list(subject))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(key), critical=True)
        .add_extension(x509.ExtendedKeyUsage(PURPOSES[settings.usage]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(_authority_identifier(authority.certificate), critical=False)
    )
    certificate = builder.sign(authority.key, authority.hash)
    return Bundle(certificate=certificate, key=key, chain=authority.chain)


def _times(authority: Authority, life: float, now: datetime.datetime) -> tuple[datetime.datetime, datetime.datetime]:
    """Return begin and end in whole seconds, as certificates have them, within those of the authority."""
    now = now.replace(microsecond=0)
    lives = datetime.timedelta(seconds=int(life))
    return max(now - min(BACKDATED, lives / BACKDATED_PART), authority.begins), min(now + lives, authority.ends)


def _subject(settings: TlsSettings) -> x509.Name:
    common_name = settings.common_name
    if common_name is None:
        common_name = next((name for name in settings.dns_names if len(name) <= LONGEST_COMMON_NAME), None)
    parts = ((NameOID.ORGANIZATION_NAME, settings.organization), (NameOID.COMMON_NAME, common_name))
    return x509.Name([x509.NameAttribute(kind, text) for kind, text in parts if text is not None])


def _names(settings: TlsSettings) -> list[x509.GeneralName]:
    addresses = dict.fromkeys(map(ip_address, settings.addresses))
    return [*map(x509.DNSName, settings.dns_names), *map(x509.IPAddress, addresses)]


def _key_usage(key: SigningKey) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        # TLS 1.2 may have an RSA key decrypt.
        key_encipherment=isinstance(key, rsa.RSAPrivateKey),
        content_commitment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )


def _authority_identifier(issuer: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    try:
        own = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    except x509.ExtensionNotFound:
        public = issuer.public_key()
        assert isinstance(
            public,
            ec.EllipticCurvePublicKey | rsa.RSAPublicKey | ed25519.Ed25519PublicKey | ed448.Ed448PublicKey,
        ), "it signs"
        return x509.AuthorityKeyIdentifier.from_issuer_public_key(public)
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(own)
