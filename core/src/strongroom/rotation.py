"""New values for secrets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Literal

from strongroom.errors import ConfigurationError
from strongroom.model import SecretValue

DEFAULT_BYTES: Final = 32
WAIT_SECONDS: Final = 300.0
"""For how long a rotation that a service makes is watched, at most."""
Encoding = Literal["raw", "hex", "base64url"]


def random_value(size: int = DEFAULT_BYTES, encoding: Encoding = "raw") -> SecretValue:
    """Return random bytes from the operating system's generator.

    Args:
        size: How many bytes; at least 16 (128 bits, NIST SP 800-131A).
        encoding: ``raw`` for the bytes themselves; ``hex``, or ``base64url``
            (RFC 4648, section 5, without padding), for text that stands for them.

    Raises:
        ConfigurationError: The size is under 16, or the encoding is another one.
    """
    if not isinstance(size, int) or size < 16:
        raise ConfigurationError(f"{size!r} random bytes are too few for a secret", hint="use at least 16")
    import secrets

    makers: dict[str, Callable[[int], str | bytes]] = {
        "raw": secrets.token_bytes,
        "hex": secrets.token_hex,
        "base64url": secrets.token_urlsafe,
    }
    if not isinstance(encoding, str) or encoding not in makers:
        raise ConfigurationError(f"{encoding!r} is not an encoding", hint=f"use one of {', '.join(makers)}")
    return SecretValue(makers[encoding](size))
