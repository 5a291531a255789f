"""PEM texts. What may be a key is never in a local variable of a function that raises."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from strongroom.errors import InvalidValueError
from strongroom.model import SecretValue

CERTIFICATE: Final = "CERTIFICATE"
_BEGIN: Final = "-----BEGIN "
_DASHES: Final = "-----"


class Block(NamedTuple):
    """One block of a PEM text."""

    label: str
    content: SecretValue
    """All of it, its first and last line included."""

    @property
    def is_key(self) -> bool:
        """Whether it is a private key."""
        return self.label.endswith("PRIVATE KEY")


def blocks(value: SecretValue) -> list[Block]:
    """Return the blocks of a text in their order; what is between them counts for nothing. It raises nothing."""
    found: list[Block] = []
    label, lines = "", list[str]()
    for line in value.reveal().decode(errors="replace").splitlines():
        text = line.strip()
        if text.startswith(_BEGIN) and text.endswith(_DASHES):
            label, lines = text[len(_BEGIN) : -len(_DASHES)], []
        if label:
            lines.append(text)
        if label and text == f"-----END {label}-----":
            found.append(Block(label, SecretValue("\n".join(lines) + "\n")))
            label = ""
    return found


def certificates(found: Iterable[Block], what: str) -> list[x509.Certificate]:
    """Return the certificates among blocks, in their order.

    Args:
        found: The blocks.
        what: What they are of, for the error.

    Raises:
        InvalidValueError: One is none that can be read.
    """
    loaded = []
    for block in found:
        if block.label != CERTIFICATE:
            continue
        try:
            loaded.append(x509.load_pem_x509_certificate(block.content.reveal()))
        # The second is no ValueError: a version of X.509 that there is not.
        except (ValueError, x509.InvalidVersion) as error:
            raise InvalidValueError(f"a certificate in {what} cannot be read", hint="see that it is whole") from error
    return loaded


def private_key(found: Iterable[Block], what: str) -> PrivateKeyTypes:
    """Return the private key among blocks.

    Args:
        found: The blocks.
        what: What they are of, for the error.

    Raises:
        InvalidValueError: There is none, more than one, or none that can be read.
    """
    keys = [block for block in found if block.is_key]
    if len(keys) != 1:
        raise InvalidValueError(f"{what} holds {len(keys) or 'no'} private key{'s' if keys else ''}, not one")
    try:
        return load_pem_private_key(keys[0].content.reveal(), None)
    except TypeError as error:
        raise InvalidValueError(
            f"the private key in {what} is encrypted", hint="store it without a passphrase: strongroom encrypts it"
        ) from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise InvalidValueError(f"the private key in {what} cannot be read", hint="see that it is whole") from error


def certificate_text(certificate: x509.Certificate) -> str:
    """Return a certificate in PEM."""
    return certificate.public_bytes(Encoding.PEM).decode()


def key_text(key: PrivateKeyTypes) -> str:
    """Return a private key in PEM, as PKCS 8, not encrypted."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
