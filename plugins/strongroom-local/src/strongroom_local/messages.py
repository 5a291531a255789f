"""What is made with a named key: ciphertexts and signatures, and how they are written.

Both are ``local:v<version>:<base64>``. Each ciphertext has a key of its own,
derived from the named key and 32 random bytes, so that nobody needs to count
how often a named key is used.
"""

from __future__ import annotations

import binascii

from typing import Final

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from strongroom.errors import InvalidValueError, SecretNotFoundError, TamperedError
from strongroom.model import SecretName, SecretValue
from strongroom_local.encoding import FORMAT_BYTES, NONCE_SIZE, SEAL_SIZE, listed, random_bytes, u32
from strongroom_local.keyrings import Keyring
from strongroom_local.keys import expand
from strongroom_local.sealing import seal

_PREFIX: Final = "local:v"
_SALT_SIZE: Final = 32
_SEALED_AT: Final = _SALT_SIZE + NONCE_SIZE
_LABEL: Final = b"message"
_MAX_VERSION_DIGITS: Final = 9
SIGNATURE_SIZE: Final = 64


class Marked:
    """A text taken apart: the version of the key, and the bytes.

    Args:
        version: A number from 1.
        content: What is written in base64.
    """

    __slots__ = ("content", "version")

    def __init__(self, version: int, content: bytes) -> None:
        self.version = version
        self.content = content

    @classmethod
    def parse(cls, text: object, most: int) -> Marked | None:
        """Take a text apart; there is one spelling for each content, and nothing for any other.

        Args:
            text: What may be one.
            most: How many bytes there may be at most.
        """
        # Its length first: nothing long is worked on that cannot be one.
        if not isinstance(text, str) or len(text) > len(_PREFIX) + _MAX_VERSION_DIGITS + 1 + (most + 2) // 3 * 4:
            return None
        version, colon, written = text.removeprefix(_PREFIX).partition(":")
        if not text.startswith(_PREFIX) or not colon or not _is_version(version) or not written.isascii():
            return None
        try:
            content = binascii.a2b_base64(written, strict_mode=True)
        except ValueError:
            return None
        # The last letter before the padding has bits that say nothing: they must be those that we write.
        return cls(int(version), content) if _base64(content) == written else None

    def __str__(self) -> str:
        """Return the text."""
        return f"{_PREFIX}{self.version}:{_base64(self.content)}"


def _is_version(digits: str) -> bool:
    return digits.isascii() and digits.isdigit() and len(digits) <= _MAX_VERSION_DIGITS and digits[0] != "0"


def _base64(content: bytes) -> str:
    return binascii.b2a_base64(content, newline=False).decode()


def parse_ciphertext(text: object, max_plaintext: int) -> Marked | None:
    """Return a ciphertext taken apart; nothing if it has not the form of one.

    Args:
        text: What may be one.
        max_plaintext: How many bytes may be in it.
    """
    found = Marked.parse(text, _SALT_SIZE + SEAL_SIZE + max_plaintext)
    return found if found is not None and len(found.content) >= _SALT_SIZE + SEAL_SIZE else None


def no_ciphertext(name: SecretName) -> InvalidValueError:
    """Return the error for a text that is none: raised away from it, as somebody may pass on a value by mistake."""
    return InvalidValueError(
        "what is to be decrypted is no ciphertext of the local store",
        name=name,
        hint="pass it on exactly as encrypt gave it: one of another backend is decrypted there",
    )


def encrypt(ring: Keyring, store_id: bytes, plaintext: SecretValue, associated_data: bytes) -> str:
    """Return a ciphertext under the newest version of a named key.

    Args:
        ring: The named key.
        store_id: The store's id, which is bound to it.
        plaintext: What to encrypt.
        associated_data: What else is bound to it, without being in it.
    """
    salt = random_bytes(_SALT_SIZE)
    cipher = AESGCM(expand(ring.encryption_key(ring.newest), salt, _LABEL))
    associated = _associated(ring, store_id, ring.newest, associated_data)
    return str(Marked(ring.newest, salt + seal(cipher, plaintext.reveal(), associated)))


def decrypt(ring: Keyring, store_id: bytes, ciphertext: Marked, associated_data: bytes) -> SecretValue:
    """Return what is in a ciphertext.

    Args:
        ring: The named key.
        store_id: The store's id.
        ciphertext: A ciphertext of a version that the key has.
        associated_data: What was bound to it.

    Raises:
        TamperedError: It is not authentic.
    """
    value = _opened(ring, store_id, ciphertext, associated_data)
    if value is None:
        raise TamperedError(
            f"the ciphertext is not authentic under the key {ring.name}",
            name=ring.name,
            hint="it was changed, or made with another key or with other associated data",
        )
    return value


def _opened(ring: Keyring, store_id: bytes, ciphertext: Marked, associated_data: bytes) -> SecretValue | None:
    """Open a ciphertext in a frame of its own, which no traceback shows."""
    content = ciphertext.content
    cipher = AESGCM(expand(ring.encryption_key(ciphertext.version), content[:_SALT_SIZE], _LABEL))
    associated = _associated(ring, store_id, ciphertext.version, associated_data)
    try:
        return SecretValue(cipher.decrypt(content[_SALT_SIZE:_SEALED_AT], content[_SEALED_AT:], associated))
    except InvalidTag:
        return None


def _associated(ring: Keyring, store_id: bytes, version: int, associated_data: bytes) -> bytes:
    """Return the associated data: five items that say their length, and the caller's own to the end."""
    return listed(FORMAT_BYTES, _LABEL, store_id, ring.name.encode(), u32(version)) + associated_data


def missing_version(name: SecretName, version: int, newest: int) -> SecretNotFoundError:
    """Return the error for a version that a named key does not have."""
    return SecretNotFoundError(
        f"the key {name} has no version {version}",
        code="version_not_found",
        name=name,
        hint=f"it has versions 1 to {newest}; a backup of the store from before brings none that was made later",
    )


def sign(ring: Keyring, message: SecretValue) -> str:
    """Return a signature with the newest version of a named key: Ed25519 over the message's bytes as they are."""
    return str(Marked(ring.newest, ring.signer(ring.newest).sign(message.reveal())))


def parse_signature(text: object) -> Marked | None:
    """Return a signature taken apart; nothing if it has not the form of one."""
    found = Marked.parse(text, SIGNATURE_SIZE)
    return found if found is not None and len(found.content) == SIGNATURE_SIZE else None


def is_signature(ring: Keyring, message: SecretValue, signature: Marked) -> bool:
    """Tell whether a signature is that of a message.

    Args:
        ring: The named key.
        message: What is said to be signed.
        signature: A signature of a version that the key has.
    """
    try:
        ring.signer(signature.version).public_key().verify(signature.content, message.reveal())
    except InvalidSignature:
        return False
    return True
