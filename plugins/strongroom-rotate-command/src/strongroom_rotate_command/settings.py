"""What a configuration may say under ``[rotation."..."]`` with ``rotator = "command"``."""

from __future__ import annotations

import math

from typing import Final

from strongroom.contracts import Record, Seconds

LEAST_BITS: Final = 64
MOST_CHARACTERS: Final = 4096
OURS: Final = "STRONGROOM_"
"""How the variables begin that this rotator, or strongroom itself, gives a meaning."""


class CommandSettings(Record):
    """Settings of the rotator ``command``."""

    command: tuple[str, ...]
    """The program and its arguments: an absolute path, or a name that is looked up in ``PATH``. The step follows."""
    timeout: Seconds = 30.0
    """How long one step may take; then the program and all it has started are ended."""
    environment: tuple[str, ...] = ()
    """Which variables of this process the program gets beside ``PATH``, ``HOME``, the locale and the like."""
    secrets: dict[str, str] = {}  # noqa: RUF012  # a Record's defaults are never changed
    """Other secrets that the program needs, such as an administrator's password: ``admin = "ops/admin"``."""
    generate: str = "command"
    """``command``: the program makes the new value in a step ``generate``. ``password``: it is a random password."""
    length: int = 32
    """How many characters that password has."""
    alphabet: str = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
    """The characters it is made of."""
    show_output: bool = False
    """Whether what the program prints comes out at this process's standard error; otherwise it is thrown away."""

    def problems(self) -> list[str]:
        """Return each broken rule as a sentence."""
        return self._about_command() + self._about_environment() + self._about_passwords()

    def _about_command(self) -> list[str]:
        found = []
        program = self.command[0] if self.command else ""
        if not program:
            found.append("command names no program")
        if "/" in program and not program.startswith("/"):
            found.append("command begins with a relative path: give an absolute one, or a name that is found in PATH")
        if any("\0" in word for word in self.command):
            found.append("command holds a zero byte")
        # A comparison that is false for NaN as well.
        if not self.timeout > 0:
            found.append("timeout is not above 0")
        return found

    def _about_environment(self) -> list[str]:
        found = []
        for name in self.environment:
            if not name or "=" in name or "\0" in name:
                found.append(f"environment holds {name!r}, which no variable can be called")
            elif name.startswith(OURS):
                found.append(f"environment holds {name}: variables of strongroom's own are not handed on")
        odd = [name for name in self.secrets if not (name.isascii() and name.isidentifier() and name == name.lower())]
        return found + [f"secrets holds {name!r}: use small letters, digits and underscores" for name in odd]

    def _about_passwords(self) -> list[str]:
        found = []
        if self.generate not in {"command", "password"}:
            found.append("generate is neither command nor password")
        if len(set(self.alphabet)) != len(self.alphabet) or not all("!" <= one <= "~" for one in self.alphabet):
            found.append("alphabet has something twice, or what is no visible character of ASCII")
        if not 1 <= self.length <= MOST_CHARACTERS:
            found.append(f"length is not one of 1 to {MOST_CHARACTERS}")
        elif self.length * math.log2(max(1, len(self.alphabet))) < LEAST_BITS:
            found.append(f"length and alphabet make passwords of less than {LEAST_BITS} bits")
        return found
