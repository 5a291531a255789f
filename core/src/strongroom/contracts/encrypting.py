"""An optional interface of backends that encrypt and sign with keys which never leave them."""

from __future__ import annotations

from abc import ABC, abstractmethod

from strongroom._record import Record
from strongroom.model import SecretName, SecretValue


class EncryptRequest(Record):
    """Encrypt a value under a named key."""

    key: SecretName
    plaintext: SecretValue
    associated_data: bytes = b""
    """What decryption has to state again, and what is not part of the ciphertext."""


class EncryptResult(Record):
    """A ciphertext, which says itself by which version of the key it was made."""

    ciphertext: str
    """Printable ASCII; only the backend knows its form."""
    key_version: str | None = None
    request_id: str | None = None


class DecryptRequest(Record):
    """Decrypt what was encrypted under a named key."""

    key: SecretName
    ciphertext: str
    associated_data: bytes = b""


class DecryptResult(Record):
    """What was encrypted: the exact bytes, whether they were text or not."""

    plaintext: SecretValue
    key_version: str | None = None
    request_id: str | None = None


class RewrapRequest(Record):
    """Encrypt a ciphertext anew under the newest version of its key, without anybody seeing what is in it."""

    key: SecretName
    ciphertext: str
    associated_data: bytes = b""


class SignRequest(Record):
    """Sign a message with a named key."""

    key: SecretName
    message: SecretValue
    """Its exact bytes count, text in UTF-8; it may be as private as what is encrypted."""


class SignResult(Record):
    """A signature."""

    signature: str
    """Printable ASCII; only the backend knows its form."""
    key_version: str | None = None
    request_id: str | None = None


class VerifySignatureRequest(Record):
    """Check a signature."""

    key: SecretName
    message: SecretValue
    signature: str


class VerifySignatureResult(Record):
    """Whether a signature is the named key's own, for this very message."""

    valid: bool
    key_version: str | None = None
    request_id: str | None = None


class DataKeyRequest(Record):
    """Make a random key for encrypting something large oneself."""

    key: SecretName
    size: int = 32
    """How many bytes: 16, 32 or 64."""


class DataKeyResult(Record):
    """A new data key, and the same encrypted under the named key, to be kept beside the data."""

    plaintext: SecretValue
    ciphertext: str
    key_version: str | None = None
    request_id: str | None = None


class RotateKeyRequest(Record):
    """Make a new version of a named key, by which everything is encrypted and signed from then on."""

    key: SecretName


class RotateKeyResult(Record):
    """What a change of key did; older versions still decrypt and verify."""

    key_version: str | None = None
    request_id: str | None = None


class Encrypting(ABC):
    """Encrypts and signs with named keys that never leave it; a :class:`Backend` may implement it, too.

    Names of keys are names as secrets have them, and no secret is named by them.
    Any of the methods raises ``AccessDeniedError``, ``AuthenticationError`` and
    ``BackendUnavailableError`` as :meth:`Backend.read` does, ``InvalidNameError``
    for a name that its keys cannot have, and ``UnsupportedOperationError`` for
    what a key of its kind cannot do.
    """

    @abstractmethod
    def encrypt(self, request: EncryptRequest) -> EncryptResult:
        """Encrypt a value under the newest version of a key, which is made if there is none and this may make it.

        Raises:
            SecretNotFoundError: There is no such key, and none is made.
            ValueTooLargeError: The value is over the backend's limit.
        """

    @abstractmethod
    def decrypt(self, request: DecryptRequest) -> DecryptResult:
        """Decrypt what :meth:`encrypt` or :meth:`data_key` gave.

        Raises:
            SecretNotFoundError: There is no such key, or not that version of it (code ``version_not_found``).
            InvalidValueError: It is no ciphertext of this backend's.
            TamperedError: It is not authentic: changed, of another key, or of other associated data.
        """

    @abstractmethod
    def rewrap(self, request: RewrapRequest) -> EncryptResult:
        """Encrypt a ciphertext anew under the newest version of its key, with the same associated data.

        Raises:
            UnsupportedOperationError: There is associated data, and the backend cannot re-wrap with it.
            StrongroomError: As :meth:`decrypt`.
        """

    @abstractmethod
    def sign(self, request: SignRequest) -> SignResult:
        """Sign a message with the newest version of a key.

        Raises:
            SecretNotFoundError: There is no such key, and none is made.
        """

    @abstractmethod
    def verify_signature(self, request: VerifySignatureRequest) -> VerifySignatureResult:
        """Tell whether a signature is authentic; one of another form is not, and no error.

        Raises:
            SecretNotFoundError: There is no such key, or its version of the signature is not used any more
                (code ``version_not_found``).
        """

    @abstractmethod
    def data_key(self, request: DataKeyRequest) -> DataKeyResult:
        """Make a random key, and return it both plain and encrypted under a named key.

        Raises:
            SecretNotFoundError: There is no such named key, and none is made.
            InvalidValueError: The size is none that it can make.
        """

    @abstractmethod
    def rotate_key(self, request: RotateKeyRequest) -> RotateKeyResult:
        """Make a new version of a key.

        Raises:
            SecretNotFoundError: There is no such key.
        """
