"""Certificates with their keys, as secrets hold them. Only functions of this module load cryptography, an extra.

What may be a key is never in a local variable of a function that raises.
"""

from __future__ import annotations

import json

from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from strongroom.errors import InvalidValueError
from strongroom.model import SecretValue

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

CERTIFICATE: Final = "CERTIFICATE"
_BEGIN: Final = "-----BEGIN "
_DASHES: Final = "-----"


class Block(NamedTuple):
    """One block of a PEM text."""

    label: str
    content: SecretValue
    """All of it, its first and last line included."""


class Bundle(NamedTuple):
    """A certificate, the certificates above it, its key, and the texts of all three."""

    certificate: x509.Certificate
    chain: tuple[x509.Certificate, ...]
    key: PrivateKeyTypes
    texts: tuple[SecretValue, SecretValue, SecretValue]
    """Certificate, chain and key, each in PEM."""

    @property
    def serial(self) -> str:
        """The certificate's serial number as the server spells it."""
        return serial_text(self.certificate)


def bundle_of(value: SecretValue, what: str) -> Bundle:
    """Return what a secret holds, in either format.

    Args:
        value: The value.
        what: What it is, for the error.

    Raises:
        InvalidValueError: It is no certificate with a key.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    found = _blocks_of(value)
    certificate, *chain = _certificates(found, what)
    keys = [block for block in found if block.label.endswith("PRIVATE KEY")]
    if len(keys) != 1:
        raise InvalidValueError(f"{what} holds {len(keys) or 'no'} private key{'s' if keys else ''}, not one")
    try:
        key = load_pem_private_key(keys[0].content.reveal(), None)
    except (TypeError, ValueError, UnsupportedAlgorithm) as error:
        raise InvalidValueError(f"the private key in {what} cannot be read") from error
    first, *others = [block for block in found if block.label == CERTIFICATE]
    return Bundle(certificate, tuple(chain), key, (first.content, _joined(others), keys[0].content))


def certificate_of(value: SecretValue, what: str) -> x509.Certificate:
    """Return the certificate that a secret holds.

    Args:
        value: The value.
        what: What it is, for the error.

    Raises:
        InvalidValueError: It holds none.
    """
    return _certificates(_blocks_of(value), what)[0]


def to_value(bundle: Bundle, format: str) -> SecretValue:
    """Return the value of a secret.

    Args:
        bundle: What it is to hold.
        format: ``json`` or ``pem``.
    """
    certificate, chain, key = (text.reveal_text() for text in bundle.texts)
    if format == "pem":
        return SecretValue(key + certificate + chain)
    members = {
        "certificate": certificate,
        "private_key": key,
        "chain": chain,
        "not_before": bundle.certificate.not_valid_before_utc.isoformat(),
        "not_after": bundle.certificate.not_valid_after_utc.isoformat(),
        "serial": bundle.serial,
    }
    return SecretValue(json.dumps(members))


def issued(data: dict[str, Any]) -> SecretValue:
    """Return what a PKI engine's answer holds as one PEM text. It raises nothing.

    Args:
        data: The answer's ``data``.
    """
    chain = data.get("ca_chain") or [data.get("issuing_ca")]
    texts = [data.get("private_key"), data.get("certificate"), *(chain if isinstance(chain, list) else [])]
    return SecretValue("\n".join(text for text in texts if isinstance(text, str)))


def problem_of(bundle: Bundle, now: datetime) -> str:
    """Return why a certificate is not to be used; empty if it is.

    Args:
        bundle: The certificate.
        now: When.
    """
    from cryptography.exceptions import InvalidSignature

    certificate = bundle.certificate
    if certificate.public_key() != bundle.key.public_key():
        return "does not belong to its private key"
    if not bundle.chain:
        return "comes without its issuer's"
    below = certificate
    for issuer in bundle.chain:
        try:
            below.verify_directly_issued_by(issuer)
        except (ValueError, TypeError, InvalidSignature):
            return "is not signed by the issuers that came with it"
        below = issuer
    for one in (certificate, *bundle.chain):
        if not one.not_valid_before_utc <= now < one.not_valid_after_utc:
            return "is not valid now" if one is certificate else "has an issuer that is not valid now"
    return ""


def serial_text(certificate: x509.Certificate) -> str:
    """Return a certificate's serial number in hexadecimal digits, two and two with colons between them."""
    number = certificate.serial_number
    return number.to_bytes(max(1, (number.bit_length() + 7) // 8)).hex(":")


def _certificates(found: list[Block], what: str) -> list[x509.Certificate]:
    from cryptography import x509

    texts = [block.content for block in found if block.label == CERTIFICATE]
    if not texts:
        raise InvalidValueError(f"{what} holds no certificate")
    try:
        return [x509.load_pem_x509_certificate(text.reveal()) for text in texts]
    # The second is no ValueError: a version of X.509 that there is not.
    except (ValueError, x509.InvalidVersion) as error:
        raise InvalidValueError(f"a certificate in {what} cannot be read") from error


def _joined(found: Iterable[Block]) -> SecretValue:
    return SecretValue("".join(block.content.reveal_text() for block in found))


def _blocks_of(value: SecretValue) -> list[Block]:
    """Return the PEM blocks of a value, the certificate's before those of its chain. It raises nothing."""
    try:
        members = json.loads(value.reveal())
    # No JSON, or deeper than Python goes; the error's text would hold it all.
    except (ValueError, RecursionError):
        return _blocks(value.reveal())
    if not isinstance(members, dict):
        return []
    texts = [members.get(name) for name in ("certificate", "private_key", "chain")]
    return [block for text in texts if isinstance(text, str) for block in _blocks(text.encode(errors="replace"))]


def _blocks(content: bytes) -> list[Block]:
    found: list[Block] = []
    label, lines = "", list[str]()
    for line in content.decode(errors="replace").splitlines():
        text = line.strip()
        if text.startswith(_BEGIN) and text.endswith(_DASHES):
            label, lines = text[len(_BEGIN) : -len(_DASHES)], []
        if label:
            lines.append(text)
        if label and text == f"-----END {label}-----":
            found.append(Block(label, SecretValue("\n".join(lines) + "\n")))
            label = ""
    return found
