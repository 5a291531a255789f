"""The way of encrypting and signing: gate → backend → record → return; a rotation is a change like any other."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final, TypeVar

from strongroom._record import Record
from strongroom.audit.stage import recorded_at_once
from strongroom.contracts.encrypting import (
    DataKeyRequest,
    DataKeyResult,
    DecryptRequest,
    DecryptResult,
    EncryptRequest,
    EncryptResult,
    RewrapRequest,
    RotateKeyRequest,
    RotateKeyResult,
    SignRequest,
    SignResult,
    VerifySignatureRequest,
    VerifySignatureResult,
)
from strongroom.errors import InvalidValueError, StrongroomError
from strongroom.model import SecretName, SecretValue
from strongroom.policy import Action
from strongroom.resilience.guarded import GuardedBackend
from strongroom.stages.changing import Changer
from strongroom.stages.gate import Gate

Value = TypeVar("Value")

DATA_KEY_SIZES: Final = (16, 32, 64)
"""How many bytes a data key may have."""
NOT_AUTHENTIC: Final = "the signature is not authentic"
"""What the event of a signature's check says, as a detail, if it is not; that is an answer, and no failure."""


class DataKey(Record):
    """A random key for encrypting something large oneself, and the same encrypted."""

    plaintext: SecretValue
    """The key itself; use it and forget it."""
    ciphertext: str
    """The key as it is to be kept, beside what was encrypted with it; ``decrypt`` gives the key again."""
    key_version: str | None = None
    """By which version of the named key it was encrypted, if the backend says so."""


class RotatedKey(Record):
    """What a rotation of a named key did."""

    name: SecretName
    version: str | None = None
    """The version by which everything is encrypted and signed from now on, if the backend says so."""


class Using(Record):
    """One use of a key that the policy and the detectors have let through."""

    name: SecretName
    backend: GuardedBackend
    facts: dict[str, Any]
    """What is known for the event."""

    def crypt(self, operation: str, request: Any, *, gives: type[Any]) -> Any:
        """Have the backend do it, and note for the event what it says about it."""
        result = self.backend.crypt(operation, request, gives=gives)
        self.facts.update(version=result.key_version, request_id=result.request_id)
        return result


class Cipher(Changer):
    """Uses named keys as one principal.

    Values and texts come wrapped, or as the error that says why there is none: refusing it is
    recorded. What the backend has made is returned from within the recording, so that no local
    variable holds it if that fails.
    """

    @recorded_at_once
    def encrypt(self, key: str, plaintext: SecretValue | InvalidValueError, *, associated_data: bytes) -> str:
        """Encrypt a value; see :meth:`SecretManager.encrypt`."""
        with self._using("encrypt", Action.ENCRYPT, key) as use:
            request = EncryptRequest(
                key=use.name, plaintext=_usable(plaintext), associated_data=_bytes(associated_data)
            )
            return _ciphertext(use.crypt("encrypt", request, gives=EncryptResult))

    @recorded_at_once
    def decrypt(self, key: str, ciphertext: str | InvalidValueError, *, associated_data: bytes) -> SecretValue:
        """Decrypt a ciphertext; see :meth:`SecretManager.decrypt`."""
        with self._using("decrypt", Action.DECRYPT, key) as use:
            request = DecryptRequest(
                key=use.name, ciphertext=_usable(ciphertext), associated_data=_bytes(associated_data)
            )
            found: DecryptResult = use.crypt("decrypt", request, gives=DecryptResult)
        return found.plaintext

    @recorded_at_once
    def rewrap(self, key: str, ciphertext: str | InvalidValueError, *, associated_data: bytes) -> str:
        """Encrypt a ciphertext anew; see :meth:`SecretManager.rewrap`."""
        with self._using("rewrap", Action.ENCRYPT, key) as use:
            request = RewrapRequest(
                key=use.name, ciphertext=_usable(ciphertext), associated_data=_bytes(associated_data)
            )
            return _ciphertext(use.crypt("rewrap", request, gives=EncryptResult))

    @recorded_at_once
    def sign(self, key: str, message: SecretValue | InvalidValueError) -> str:
        """Sign a message; see :meth:`SecretManager.sign`."""
        with self._using("sign", Action.SIGN, key) as use:
            request = SignRequest(key=use.name, message=_usable(message))
            return _signature(use.crypt("sign", request, gives=SignResult))

    @recorded_at_once
    def verify(self, key: str, message: SecretValue | InvalidValueError, signature: str | InvalidValueError) -> bool:
        """Check a signature; see :meth:`SecretManager.verify`."""
        with self._using("verify_signature", Action.VERIFY, key) as use:
            request = VerifySignatureRequest(key=use.name, message=_usable(message), signature=_usable(signature))
            found: VerifySignatureResult = use.crypt("verify_signature", request, gives=VerifySignatureResult)
            if not found.valid:
                use.facts["detail"] = NOT_AUTHENTIC
        return found.valid

    @recorded_at_once
    def data_key(self, key: str, *, size: int) -> DataKey:
        """Make a data key; see :meth:`SecretManager.data_key`."""
        with self._using("data_key", Action.ENCRYPT, key) as use:
            if type(size) is not int or size not in DATA_KEY_SIZES:
                sizes = ", ".join(map(str, DATA_KEY_SIZES))
                raise InvalidValueError(f"a data key has {sizes} bytes, not {size!r}", hint="use 32")
            return _data_key(use.crypt("data_key", DataKeyRequest(key=use.name, size=size), gives=DataKeyResult))

    @recorded_at_once
    def rotate_key(self, key: str) -> RotatedKey:
        """Make a new version of a key; see :meth:`SecretManager.rotate_key`."""
        gate = self._gate.recording_as("rotate_key")
        name = self._admitted(gate, Action.ROTATE, key)
        with gate.recording_refusal(Action.ROTATE, name):
            backend = self._parts.backend(self._parts.routing.of(name))
            backend.check_crypt()
        with self._change("rotate_key", name, backend.name) as outcome:
            made: RotateKeyResult = backend.crypt("rotate_key", RotateKeyRequest(key=name), gives=RotateKeyResult)
            outcome.update(version=made.key_version, request_id=made.request_id)
        return RotatedKey(name=name, version=made.key_version)

    @contextmanager
    def _using(self, event: str, action: Action, key: str) -> Iterator[Using]:
        """Let policy and detectors decide, open the key's backend, and record how the ``with`` block ends.

        What the block has got is lost if that cannot be recorded: nothing is returned then.
        """
        gate = self._gate.recording_as(event)
        name = self._admitted(gate, action, key)
        with gate.recording_look(event, name) as facts:
            try:
                facts["backend"] = self._parts.routing.of(name)
                yield Using(name=name, backend=self._parts.backend(facts["backend"]), facts=facts)
            except StrongroomError as error:
                error.name = error.name or name
                raise

    def _admitted(self, gate: Gate, action: Action, key: str) -> SecretName:
        name = gate.check(action, key)
        gate.judge(action, name)
        return name


def _usable(value: Value | InvalidValueError) -> Value:
    if isinstance(value, InvalidValueError):
        raise value
    return value


def _ciphertext(made: EncryptResult) -> str:
    return made.ciphertext


def _signature(made: SignResult) -> str:
    return made.signature


def _data_key(made: DataKeyResult) -> DataKey:
    return DataKey(plaintext=made.plaintext, ciphertext=made.ciphertext, key_version=made.key_version)


def _bytes(data: bytes) -> bytes:
    if not isinstance(data, bytes):
        raise InvalidValueError(
            f"associated data is bytes, not {type(data).__name__}", hint="encode it yourself, in UTF-8 say"
        )
    return data
