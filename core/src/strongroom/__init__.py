"""One Python API for secrets, whatever keeps them.

``open`` gives a :class:`SecretManager`, ``open_async`` the same for asyncio;
everything else is reachable from them.
Names are imported on first use, so that a command pays for what it uses.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from strongroom._lazy import importer

if TYPE_CHECKING:
    from strongroom.acting import acting_as as acting_as
    from strongroom.aio import AsyncSecretManager as AsyncSecretManager
    from strongroom.aio import open_async as open_async
    from strongroom.errors import StrongroomError as StrongroomError
    from strongroom.manager import SecretManager as SecretManager
    from strongroom.manager import open as open
    from strongroom.model import ABSENT as ABSENT
    from strongroom.model import Freshness as Freshness
    from strongroom.model import Secret as Secret
    from strongroom.model import SecretName as SecretName
    from strongroom.model import SecretValue as SecretValue

__all__ = [
    "ABSENT",
    "AsyncSecretManager",
    "Freshness",
    "Secret",
    "SecretManager",
    "SecretName",
    "SecretValue",
    "StrongroomError",
    "acting_as",
    "open",
    "open_async",
]

__getattr__ = importer(
    __name__,
    {
        "acting": "acting_as",
        "aio": "AsyncSecretManager open_async",
        "errors": "StrongroomError",
        "manager": "SecretManager open",
        "model": "ABSENT Freshness Secret SecretName SecretValue",
    },
)
