"""What a configuration may say under ``[backends.*]`` with ``type = "env"``."""

from __future__ import annotations

import re

import attrs

from strongroom.contracts import FilePath


@attrs.frozen(kw_only=True)
class EnvSettings:
    """Settings of the backend ``env``."""

    files: tuple[FilePath, ...] = ()
    """The .env files to read, which must exist; a later one overrides an earlier one."""
    optional_files: tuple[FilePath, ...] = ()
    """Further .env files, which may be missing; they override those in ``files``."""
    environment: bool = True
    """Whether to read the variables of the process; they override every file."""
    prefix: str = ""
    """What the variables of this backend start with, such as ``APP_``; others are not seen."""
    interpolate: bool = False
    """Whether ``${NAME}`` in a file stands for another variable; otherwise a dollar is a dollar."""

    def problems(self) -> list[str]:
        """Return each broken rule as a sentence."""
        found = []
        if not (self.environment or self.files or self.optional_files):
            found.append("there is nothing to read: name files, or leave environment = true")
        if not re.fullmatch(r"([A-Za-z_][A-Za-z0-9_]*)?", self.prefix):
            found.append("prefix is not the beginning of a variable's name")
        return found
