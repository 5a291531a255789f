"""What a secret holds: a certificate, its key, and the certificates above it."""

from __future__ import annotations

import json

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

from strongroom.contracts import Life, Record
from strongroom.errors import InvalidValueError
from strongroom.model import SecretValue
from strongroom_rotate_tls.pem import Block, blocks, certificate_text, certificates, key_text, private_key


class Bundle(Record):
    """A certificate with its key and its chain."""

    certificate: x509.Certificate
    key: PrivateKeyTypes
    chain: tuple[x509.Certificate, ...]
    """The certificates of its authority, the issuer's first."""


def to_value(bundle: Bundle, format: str) -> SecretValue:
    """Return the value of a secret.

    Args:
        bundle: What it is to hold.
        format: ``json`` or ``pem``.
    """
    certificate = bundle.certificate
    chain = "".join(map(certificate_text, bundle.chain))
    if format == "pem":
        return SecretValue(key_text(bundle.key) + certificate_text(certificate) + chain)
    members = {
        "certificate": certificate_text(certificate),
        "private_key": key_text(bundle.key),
        "chain": chain,
        "not_before": certificate.not_valid_before_utc.isoformat(),
        "not_after": certificate.not_valid_after_utc.isoformat(),
        "serial": serial_text(certificate),
    }
    return SecretValue(json.dumps(members))


def from_value(value: SecretValue, what: str) -> Bundle:
    """Return what a secret holds, in either format.

    Args:
        value: The value.
        what: What it is, for the error.

    Raises:
        InvalidValueError: It is no certificate with a key.
    """
    found = blocks_of(value)
    certificate, *chain = _certificates(found, what)
    return Bundle(certificate=certificate, key=private_key(found, what), chain=tuple(chain))


def life_of(value: SecretValue) -> Life:
    """Return the times of the certificate that a secret holds.

    Args:
        value: The value.

    Raises:
        InvalidValueError: It holds none.
    """
    certificate = _certificates(blocks_of(value), "the value")[0]
    return Life(begins=certificate.not_valid_before_utc, ends=certificate.not_valid_after_utc)


def blocks_of(value: SecretValue) -> list[Block]:
    """Return the PEM blocks of a value, the certificate's before those of its chain. It raises nothing."""
    try:
        members = json.loads(value.reveal())
    # No JSON, or deeper than Python goes; the error's text would hold it all.
    except (ValueError, RecursionError):
        return blocks(value)
    if not isinstance(members, dict):
        return []
    texts = [members.get(name) for name in ("certificate", "private_key", "chain")]
    return [block for text in texts if isinstance(text, str) for block in blocks(SecretValue(text))]


def serial_text(certificate: x509.Certificate) -> str:
    """Return a certificate's serial number in hexadecimal digits, two and two with colons between them."""
    number = certificate.serial_number
    return number.to_bytes(max(1, (number.bit_length() + 7) // 8)).hex(":")


def _certificates(found: list[Block], what: str) -> list[x509.Certificate]:
    loaded = certificates(found, what)
    if not loaded:
        raise InvalidValueError(
            f"{what} holds no certificate",
            hint="it is PEM, or JSON with certificate and private_key",
        )
    return loaded
