"""What an access says, in the form in which the detectors count and remember it."""

from __future__ import annotations

import hashlib

from typing import Final

from strongroom.contracts import Access, Decision, Record, Verdict

ALLOWED: Final = Verdict(decision=Decision.ALLOW)
HOUR: Final = 3600.0
DAY: Final = 86400.0

_ON_KEYS: Final = frozenset({"encrypt", "decrypt", "sign", "verify"})
"""The actions whose name is that of a key."""
_UNITS: Final = ((DAY, "d"), (HOUR, "h"), (60.0, "m"))


class Finding(Record):
    """Why an access is odd, before it is known what is done about it."""

    reason: str
    evidence: tuple[str, ...]
    subject: str

    def verdict(self, *, block: bool) -> Verdict:
        """Return the verdict: to stop the access, or only to report it."""
        return Verdict(
            decision=Decision.BLOCK if block else Decision.ALERT,
            reason=in_one_line(self.reason),
            evidence=tuple(map(in_one_line, self.evidence)),
            subject=self.subject,
        )


def whom(access: Access) -> str:
    """Return the name of whom an access is counted for.

    Names of principals that somebody takes on cost nothing, so it is whoever took them on.
    """
    return (access.base or access.principal).name


def seconds_of(access: Access) -> float:
    """Return when an access is, in seconds since 1970."""
    return access.time.timestamp()


def key_of(*parts: str) -> int:
    """Return the number by which texts are remembered.

    It has one size however long they are, and what is stored with it shows no name.
    """
    text = "\0".join(parts).encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(text, digest_size=8, usedforsecurity=False).digest(), "little")


def object_of(access: Access) -> int:
    """Return the number by which a secret is remembered, or a key: it may have the name of a secret."""
    return key_of(access.name, "key") if access.action in _ON_KEYS else key_of(access.name)


def in_one_line(text: str) -> str:
    """Return a text with an escape for each character that is not printable.

    Names of principals, machines and programs may hold anything, such as line
    breaks, and must not look like a line of their own.
    """
    if text.isprintable():
        return text
    return "".join([one if one.isprintable() else one.encode("unicode_escape").decode() for one in text])


def in_words(seconds: float) -> str:
    """Return a duration as the configuration has it, such as ``10m``."""
    for size, unit in _UNITS:
        if seconds >= size and seconds % size == 0:
            return f"{seconds / size:.0f}{unit}"
    return f"{seconds:g}s"


def number_in_words(value: float) -> str:
    """Return a number as people read it: whole if it is large, with one decimal place if not."""
    return f"{value:.0f}" if value >= 10 else f"{value:.1f}".removesuffix(".0")
