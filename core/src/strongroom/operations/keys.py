"""What a manager does with named keys that never leave their backend."""

from __future__ import annotations

from typing import TYPE_CHECKING, SupportsIndex

from strongroom.errors import InvalidValueError
from strongroom.model import SecretValue
from strongroom.operations.reading import Reader

if TYPE_CHECKING:
    from strongroom.operations.encryption import Cipher, DataKey, RotatedKey


class Unshown(str):
    """A ciphertext or a signature, or what is taken for one: text that no report shows by its ``repr``.

    Where some rows of a table are encrypted already and others not yet, it may be a plaintext.
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return "<text: hidden>"

    def __getitem__(self, index: SupportsIndex | slice) -> Unshown:
        return Unshown(super().__getitem__(index))

    @classmethod
    def wrap(cls, text: str) -> Unshown | InvalidValueError:
        """Return the text, or the error that says why it cannot be one; as :meth:`SecretValue.wrap`."""
        if isinstance(text, str):
            return cls(text)
        return InvalidValueError(
            f"a ciphertext or a signature is text, not {type(text).__name__}", hint="decode it as ASCII"
        )


class KeyUser(Reader):
    """Encrypts and signs as one principal. A key has a name as secrets have one, and is where that is routed to."""

    @property
    def _cipher(self) -> Cipher:
        # Imported here: most programs encrypt nothing.
        from strongroom.operations.encryption import Cipher

        # A key is no secret: what is cached of one by that name stays.
        return Cipher(self._parts, self._gate, lambda _: None)

    def encrypt(self, key: str, plaintext: str | bytes | SecretValue, *, associated_data: bytes = b"") -> str:
        """Encrypt a value under the newest version of a key.

        The event is recorded before the ciphertext is returned; neither holds anything of the value.

        Args:
            key: The key's name. Where the backend lets us, a key that is not there is made.
            plaintext: Exact text, which is encrypted in UTF-8, or exact bytes.
            associated_data: What has to be stated again to decrypt it, such as the place of the
                value in a database. It is not in the ciphertext.

        Returns:
            The ciphertext, in printable ASCII.

        Raises:
            InvalidNameError, InvalidValueError, ValueTooLargeError: It cannot be encrypted.
            UnsupportedOperationError: The backend has no named keys, or this key cannot encrypt.
            AccessDeniedError: This principal may not encrypt under it.
            SecretNotFoundError: There is no such key, and none was made.
            BackendUnavailableError: No answer. Nothing stands in for a key: there is no fallback.
            AuditError: It could not be recorded.
        """
        content = SecretValue.wrap(plaintext)
        # No local variable of ours holds the value from here on: a traceback may show them.
        del plaintext
        return self._cipher.encrypt(key, content, associated_data=associated_data)

    def decrypt(self, key: str, ciphertext: str, *, associated_data: bytes = b"") -> SecretValue:
        """Decrypt what ``encrypt`` or ``data_key`` gave. It is never cached.

        Args:
            key: The key's name.
            ciphertext: As it was returned.
            associated_data: What was stated when it was encrypted.

        Returns:
            The exact bytes; ``reveal_text()`` gives them as text.

        Raises:
            InvalidNameError, InvalidValueError: It is no ciphertext, or not of this backend.
            TamperedError: It was changed, or belongs to another key or to other associated data.
            UnsupportedOperationError: The backend has no named keys, or this key cannot decrypt.
            AccessDeniedError: This principal may not decrypt with it.
            SecretNotFoundError: There is no such key, or not that version of it (``version_not_found``).
            BackendUnavailableError: No answer.
            AuditError: It could not be recorded.
        """
        content = Unshown.wrap(ciphertext)
        # As above: somebody may pass on a plaintext.
        del ciphertext
        return self._cipher.decrypt(key, content, associated_data=associated_data)

    def rewrap(self, key: str, ciphertext: str, *, associated_data: bytes = b"") -> str:
        """Encrypt a ciphertext anew under the newest version of its key; nobody sees what is in it.

        It needs the right to encrypt, not the one to decrypt.

        Args:
            key: The key's name.
            ciphertext: As it was returned.
            associated_data: What was stated when it was encrypted. The new ciphertext needs it, too.

        Raises:
            UnsupportedOperationError: There is associated data, and the backend cannot do it with that.
            StrongroomError: As ``decrypt``.
        """
        content = Unshown.wrap(ciphertext)
        # As above.
        del ciphertext
        return self._cipher.rewrap(key, content, associated_data=associated_data)

    def sign(self, key: str, message: str | bytes | SecretValue) -> str:
        """Sign a message with the newest version of a key.

        Args:
            key: The key's name.
            message: Exact text, which is signed in UTF-8, or exact bytes.

        Returns:
            The signature, in printable ASCII.

        Raises:
            InvalidNameError, InvalidValueError, ValueTooLargeError: It cannot be signed.
            UnsupportedOperationError: The backend has no named keys, or this key cannot sign.
            AccessDeniedError: This principal may not sign with it.
            SecretNotFoundError: There is no such key, and none was made.
            BackendUnavailableError: No answer.
            AuditError: It could not be recorded.
        """
        content = SecretValue.wrap(message)
        # As above.
        del message
        return self._cipher.sign(key, content)

    def verify(self, key: str, message: str | bytes | SecretValue, signature: str) -> bool:
        """Tell whether a signature is the key's own, for this very message.

        Args:
            key: The key's name.
            message: Exact text, in UTF-8, or exact bytes.
            signature: As ``sign`` returned it. One of another form is not authentic, and no error.

        Raises:
            InvalidNameError, InvalidValueError: There is no message to check.
            UnsupportedOperationError: The backend has no named keys, or this key cannot verify.
            AccessDeniedError: This principal may not verify with it.
            SecretNotFoundError: There is no such key, or its version of the signature is not used any
                more (``version_not_found``).
            BackendUnavailableError: No answer.
            AuditError: It could not be recorded.
        """
        content, shown = SecretValue.wrap(message), Unshown.wrap(signature)
        # As above.
        del message, signature
        return self._cipher.verify(key, content, shown)

    def data_key(self, key: str, *, size: int = 32) -> DataKey:
        """Make a random key for encrypting something large oneself.

        Args:
            key: The name of the key that encrypts the new one.
            size: How many bytes: 16, 32 or 64.

        Raises:
            InvalidValueError: The size is another one.
            StrongroomError: As ``encrypt``.
        """
        return self._cipher.data_key(key, size=size)

    def rotate_key(self, key: str) -> RotatedKey:
        """Make a new version of a key; what older ones have encrypted and signed is still good.

        It is recorded as an attempt and its outcome, as a change of a secret is.

        Args:
            key: The key's name; it must exist.

        Raises:
            UnsupportedOperationError: The backend has no named keys, or cannot rotate this one.
            AccessDeniedError: This principal may not rotate it.
            SecretNotFoundError: There is no such key.
            BackendUnavailableError: No answer; there may be a new version all the same.
            AuditError: It could not be recorded; ``applied`` tells whether there is a new version.
        """
        return self._cipher.rotate_key(key)
