"""The manager for programs that run on asyncio, over the same stages."""

from __future__ import annotations

from typing import TYPE_CHECKING

from strongroom._lazy import importer

if TYPE_CHECKING:
    from strongroom.aio.manager import AsyncSecretManager as AsyncSecretManager
    from strongroom.aio.manager import open_async as open_async

__all__ = ["AsyncSecretManager", "open_async"]

__getattr__ = importer(__name__, {"manager": "AsyncSecretManager open_async"})
