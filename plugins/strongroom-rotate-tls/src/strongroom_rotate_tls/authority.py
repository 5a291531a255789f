"""The authority that signs: its key, its certificate and those above it, and whether it may sign."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

from strongroom.contracts import Record
from strongroom.errors import ConfigurationError, InvalidValueError
from strongroom.model import SecretValue
from strongroom_rotate_tls.bundle import blocks_of
from strongroom_rotate_tls.pem import Block, certificates, private_key
from strongroom_rotate_tls.settings import TlsSettings

SigningKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey
SIGNING: Final = (ec.EllipticCurvePrivateKey, rsa.RSAPrivateKey, ed25519.Ed25519PrivateKey, ed448.Ed448PrivateKey)
LEAST_RSA_BITS: Final = 2048
LARGE_CURVE_BITS: Final = 256


class Authority(Record):
    """An authority that may sign now."""

    key: SigningKey
    chain: tuple[x509.Certificate, ...]
    """Its own certificate, then each one's issuer, up to the root or as far as they are known."""

    @property
    def certificate(self) -> x509.Certificate:
        """Its own certificate."""
        return self.chain[0]

    @property
    def begins(self) -> datetime:
        """The first moment at which all of its certificates are valid."""
        return max(one.not_valid_before_utc for one in self.chain)

    @property
    def ends(self) -> datetime:
        """The last moment at which all of them are."""
        return min(one.not_valid_after_utc for one in self.chain)

    @property
    def hash(self) -> hashes.SHA256 | hashes.SHA384 | None:
        """What a signature of its key is made over; ``None`` if the kind of key decides that."""
        if isinstance(self.key, ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey):
            return None
        large = isinstance(self.key, ec.EllipticCurvePrivateKey) and self.key.key_size > LARGE_CURVE_BITS
        return hashes.SHA384() if large else hashes.SHA256()


def authority_of(settings: TlsSettings, read_secret: Callable[[str], SecretValue], now: datetime) -> Authority:
    """Return the authority of the settings, read anew.

    Args:
        settings: Where it is.
        read_secret: Reads a secret.
        now: The time at which it is to sign.

    Raises:
        InvalidValueError: What is there is no certificate with its key.
        ConfigurationError: It may not sign, or not now.
        StrongroomError: It cannot be read.
    """
    if settings.ca is not None:
        what = f"the authority {settings.ca}"
        found = blocks_of(read_secret(settings.ca))
    else:
        assert settings.ca_certificate is not None, "the settings were checked"
        assert settings.ca_key is not None, "the settings were checked"
        what = f"the authority of {settings.ca_certificate.describe()} and {settings.ca_key.describe()}"
        found = [block for block in blocks_of(settings.ca_certificate.read()) if not block.is_key]
        found += [block for block in blocks_of(settings.ca_key.read()) if block.is_key]
    try:
        return _checked(found, what, now)
    except (InvalidValueError, ConfigurationError) as error:
        error.name = settings.ca
        raise


def _checked(found: list[Block], what: str, now: datetime) -> Authority:
    known = certificates(found, what)
    if not known:
        raise InvalidValueError(f"{what} holds no certificate", hint="it is PEM, with its private key")
    key = _signing_key(private_key(found, what), what)
    own = next((one for one in known if one.public_key() == key.public_key()), None)
    if own is None:
        raise InvalidValueError(f"certificate and private key of {what} do not belong together")
    authority = Authority(key=key, chain=tuple(_chain(own, known)))
    for below, certificate in enumerate(authority.chain):
        problem = _problem(certificate, below, now)
        if problem:
            subject = certificate.subject.rfc4514_string()
            raise ConfigurationError(f"{what} cannot sign: its certificate {subject!r} {problem}")
    return authority


def _signing_key(key: PrivateKeyTypes, what: str) -> SigningKey:
    if not isinstance(key, SIGNING):
        raise InvalidValueError(f"the private key of {what} is of a kind that signs no certificates for TLS")
    if isinstance(key, rsa.RSAPrivateKey) and key.key_size < LEAST_RSA_BITS:
        raise InvalidValueError(f"the private key of {what} has less than {LEAST_RSA_BITS} bits")
    return key


def _chain(own: x509.Certificate, known: list[x509.Certificate]) -> list[x509.Certificate]:
    """Return a certificate, its issuer, the issuer of that, and so on, as far as they are known."""
    chain = [own]
    while chain[-1].subject != chain[-1].issuer:
        issuer = next((one for one in known if one not in chain and is_issued_by(chain[-1], one)), None)
        if issuer is None:
            break
        chain.append(issuer)
    return chain


def is_issued_by(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    """Tell whether a certificate has been signed with the key of another one, and names it."""
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _problem(certificate: x509.Certificate, below: int, now: datetime) -> str:
    """Return why a certificate cannot be that of an authority; empty if it can.

    Args:
        certificate: The certificate.
        below: How many authorities stand between it and what is to be signed.
        now: When.
    """
    extensions = certificate.extensions
    try:
        basic = extensions.get_extension_for_class(x509.BasicConstraints).value
    except x509.ExtensionNotFound:
        return "is not that of an authority"
    if not basic.ca:
        return "is not that of an authority"
    if basic.path_length is not None and basic.path_length < below:
        return f"allows {basic.path_length or 'no'} authorities below it, and there are {below}"
    usage = next((one.value for one in extensions if isinstance(one.value, x509.KeyUsage)), None)
    if usage is not None and not usage.key_cert_sign:
        return "is not for signing certificates"
    if certificate.not_valid_after_utc <= now:
        return f"has ended at {certificate.not_valid_after_utc.isoformat()}"
    if certificate.not_valid_before_utc > now:
        return f"begins at {certificate.not_valid_before_utc.isoformat()}"
    return ""
