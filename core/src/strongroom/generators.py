"""New values for secrets: random bytes, passwords by rules, UUIDs. All are random by the operating system."""

from __future__ import annotations

import math

from collections.abc import Callable
from typing import Final, Literal

from strongroom._record import Record
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


LOWER: Final = "abcdefghijklmnopqrstuvwxyz"
UPPER: Final = LOWER.upper()
DIGITS: Final = "0123456789"
SYMBOLS: Final = "!#$%&()*+,-./:;<=>?@[]^_{|}~"
"""Printable ASCII but blanks, quotes, the backslash and the backtick, which programs quote in different ways."""
LETTERS: Final = ("lower", "upper")
"""Which classes are letters."""
LEAST_ENTROPY: Final = 64.0
"""Bits: a password that can be guessed with fewer tries is refused."""
MOST_CHARACTERS: Final = 4096


class PasswordRules(Record):
    """What a password has to be like."""

    length: int = 32
    """How many characters."""
    alphabet: str = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
    """Which characters there may be."""
    forbidden: str = ""
    """Which of these there may not be."""
    lower: int = 0
    """How many lower-case letters of ASCII there have to be at least."""
    upper: int = 0
    """How many upper-case ones."""
    digits: int = 0
    """How many digits."""
    symbols: int = 0
    """How many characters that are neither letters nor digits of ASCII."""
    begins_with_letter: bool = False
    """Whether the first character has to be a letter of ASCII."""

    def characters(self) -> str:
        """Return each character that may be used, once."""
        return "".join(sorted(set(self.alphabet) - set(self.forbidden)))

    def classes(self) -> tuple[tuple[str, int, str], ...]:
        """Return each class with how many of it are needed, and its characters that may be used."""
        usable = self.characters()
        named = (("lower", self.lower, LOWER), ("upper", self.upper, UPPER), ("digits", self.digits, DIGITS))
        found = [(name, least, "".join(one for one in usable if one in known)) for name, least, known in named]
        others = "".join(one for one in usable if one not in LOWER + UPPER + DIGITS)
        return (*found, ("symbols", self.symbols, others))

    def problems(self) -> list[str]:
        """Return each broken rule as a sentence."""
        found = []
        if not 1 <= self.length <= MOST_CHARACTERS:
            found.append(f"length is not from 1 to {MOST_CHARACTERS}")
        if any(not one.isprintable() or one.isspace() for one in self.alphabet):
            found.append("alphabet holds a blank or a character that cannot be printed")
        for name, least, usable in self.classes():
            if least < 0:
                found.append(f"{name} is below 0")
            if least > 0 and not usable:
                found.append(f"{name} are needed, and the alphabet has none that is not forbidden")
        if sum(least for _, least, _ in self.classes()) > self.length:
            found.append("more characters are needed than length allows")
        if self.begins_with_letter and not set(self.characters()) & set(LOWER + UPPER):
            found.append("begins_with_letter, and the alphabet has no letter that is not forbidden")
        elif self.begins_with_letter and not found and not self.first_letters():
            found.append("begins_with_letter, and length leaves no room for a letter")
        if not found and (bits := self.entropy()) < LEAST_ENTROPY:
            found.append(
                f"passwords like this have {bits:.0f} bits of entropy at least, under {LEAST_ENTROPY:.0f}: "
                "make length or alphabet larger"
            )
        return found

    def entropy(self) -> float:
        """Return how many bits of entropy a password has at least."""
        usable = self.characters()
        needed = [(least, len(part)) for _, least, part in self.classes()]
        free = self.length - sum(least for least, _ in needed)
        bits = sum(least * math.log2(size) for least, size in needed if least)
        if self.begins_with_letter and free > 0 and (letters := self.first_letters()):
            # The first character is none of all: it is a letter.
            bits, free = bits + math.log2(len(letters)), free - 1
        return bits + free * math.log2(len(usable)) if usable else 0.0

    def first_letters(self) -> str:
        """Return the letters with which a password may begin, so that there is room for what else it needs."""
        is_full = sum(least for _, least, _ in self.classes()) >= self.length
        return "".join(part for name, least, part in self.classes() if name in LETTERS and (least or not is_full))


def random_password(rules: PasswordRules) -> str:
    """Return a password that meets the rules; all that do are equally likely, unless hardly any does.

    Args:
        rules: They can be met: ``problems`` has found nothing.
    """
    import secrets

    usable = rules.characters()
    for _ in range(_DRAWS):
        # Whoever puts the needed characters in by force makes some passwords likelier than others.
        drawn = "".join(secrets.choice(usable) for _ in range(rules.length))
        if _meets(drawn, rules):
            return drawn
    return _built(rules)


_DRAWS: Final = 1000


def _meets(password: str, rules: PasswordRules) -> bool:
    if rules.begins_with_letter and password[0] not in LOWER + UPPER:
        return False
    return all(sum(one in part for one in password) >= least for _, least, part in rules.classes() if least)


def _built(rules: PasswordRules) -> str:
    """Return a password of rules that hardly any drawn one meets: the needed characters and others, shuffled."""
    import secrets

    random = secrets.SystemRandom()
    first = secrets.choice(rules.first_letters()) if rules.begins_with_letter else ""
    # If the first letter is one that is needed, one fewer is.
    needed = [(least - (first != "" and first in part), part) for _, least, part in rules.classes()]
    made = [secrets.choice(part) for least, part in needed for _ in range(least)]
    made += [secrets.choice(rules.characters()) for _ in range(rules.length - len(first) - len(made))]
    random.shuffle(made)
    return first + "".join(made)


def random_uuid() -> str:
    """Return a random UUID (RFC 9562, version 4)."""
    import uuid

    return str(uuid.uuid4())
