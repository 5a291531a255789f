"""New values for secrets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Literal

from strongroom.errors import ConfigurationError
from strongroom.model import SecretValue

DEFAULT_BYTES: Final = 32
LEAST_BYTES: Final = 16
Encoding = Literal["raw", "hex", "base64url"]
ENCODINGS: Final = ("raw", "hex", "base64url")


def check_random(size: object, encoding: object) -> list[str]:
    """Return what is wrong with a choice of random bytes, each as a sentence.

    Args:
        size: How many bytes.
        encoding: How they are written down.
    """
    found = []
    if not isinstance(size, int) or size < LEAST_BYTES:
        found.append(f"{size!r} random bytes are too few for a secret: use at least {LEAST_BYTES}")
    if not isinstance(encoding, str) or encoding not in ENCODINGS:
        found.append(f"{encoding!r} is not an encoding: use one of {', '.join(ENCODINGS)}")
    return found


def random_value(size: int = DEFAULT_BYTES, encoding: Encoding = "raw") -> SecretValue:
    """Return random bytes from the operating system's generator.

    Args:
        size: How many bytes; at least 16 (128 bits, NIST SP 800-131A).
        encoding: ``raw`` for the bytes themselves; ``hex``, or ``base64url``
            (RFC 4648, section 5, without padding), for text that stands for them.

    Raises:
        ConfigurationError: The size is under 16, or the encoding is another one.
    """
    problems = check_random(size, encoding)
    if problems:
        what, _, hint = problems[0].partition(": ")
        raise ConfigurationError(what, hint=hint)
    import secrets

    makers: dict[str, Callable[[int], str | bytes]] = {
        "raw": secrets.token_bytes,
        "hex": secrets.token_hex,
        "base64url": secrets.token_urlsafe,
    }
    return SecretValue(makers[encoding](size))
