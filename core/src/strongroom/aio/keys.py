"""What a manager for asyncio does with named keys: each operation in one of its threads."""

from __future__ import annotations

import asyncio

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from strongroom.aio.threads import CHANGES, READS, Threads
from strongroom.manager import SecretManager
from strongroom.model import SecretValue
from strongroom.operations.keys import Unshown

if TYPE_CHECKING:
    from strongroom.operations.encryption import DataKey, RotatedKey

Result = TypeVar("Result")


class AsyncKeyUser:
    """Encrypts and signs as one principal, for asyncio; the base of :class:`AsyncSecretManager`."""

    _manager: SecretManager
    _threads: Threads

    async def encrypt(self, key: str, plaintext: str | bytes | SecretValue, *, associated_data: bytes = b"") -> str:
        """Encrypt a value; see :meth:`SecretManager.encrypt`."""
        content = SecretValue.wrap(plaintext)
        # No local variable of ours holds the value from here on: a traceback may show them.
        del plaintext
        return await self._in_a_thread(
            lambda: self._manager._cipher.encrypt(key, content, associated_data=associated_data)
        )

    async def decrypt(self, key: str, ciphertext: str, *, associated_data: bytes = b"") -> SecretValue:
        """Decrypt a ciphertext; see :meth:`SecretManager.decrypt`."""
        content = Unshown.wrap(ciphertext)
        # As above.
        del ciphertext
        return await self._in_a_thread(
            lambda: self._manager._cipher.decrypt(key, content, associated_data=associated_data)
        )

    async def rewrap(self, key: str, ciphertext: str, *, associated_data: bytes = b"") -> str:
        """Encrypt a ciphertext anew; see :meth:`SecretManager.rewrap`."""
        content = Unshown.wrap(ciphertext)
        # As above.
        del ciphertext
        return await self._in_a_thread(
            lambda: self._manager._cipher.rewrap(key, content, associated_data=associated_data)
        )

    async def sign(self, key: str, message: str | bytes | SecretValue) -> str:
        """Sign a message; see :meth:`SecretManager.sign`."""
        content = SecretValue.wrap(message)
        # As above.
        del message
        return await self._in_a_thread(lambda: self._manager._cipher.sign(key, content))

    async def verify(self, key: str, message: str | bytes | SecretValue, signature: str) -> bool:
        """Tell whether a signature is authentic; see :meth:`SecretManager.verify`."""
        content, shown = SecretValue.wrap(message), Unshown.wrap(signature)
        # As above.
        del message, signature
        return await self._in_a_thread(lambda: self._manager._cipher.verify(key, content, shown))

    async def data_key(self, key: str, *, size: int = 32) -> DataKey:
        """Make a random key; see :meth:`SecretManager.data_key`."""
        return await self._in_a_thread(partial(self._manager.data_key, key, size=size))

    async def rotate_key(self, key: str) -> RotatedKey:
        """Make a new version of a key; see :meth:`SecretManager.rotate_key`."""
        return await self._in_a_thread(partial(self._manager.rotate_key, key), lane=CHANGES)

    def _in_a_thread(self, call: Callable[[], Result], *, lane: str = READS) -> asyncio.Future[Result]:
        self._threads.ensure_open()
        return self._threads.start(call, lane=lane)
