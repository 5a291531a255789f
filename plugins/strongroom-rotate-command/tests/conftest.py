"""Makes programs for the rotator to run, and leads it."""

from __future__ import annotations

import sys
import textwrap

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from strongroom.model import SecretValue
from strongroom.testing.rotation import Steps, read_nothing
from strongroom_rotate_command.rotator import CommandRotator
from strongroom_rotate_command.settings import CommandSettings

Program = Callable[..., str]
CURRENT = SecretValue("the current one")


@pytest.fixture
def program(tmp_path: Path) -> Program:
    """Return what writes an executable file and returns its path: of sh, or of Python."""

    def write(text: str, *, python: bool = False, name: str = "rotate") -> str:
        path = tmp_path / name
        first = f"#!{sys.executable} -IS\nimport os, sys, time\n" if python else "#!/bin/sh\n"
        path.write_text(first + textwrap.dedent(text))
        path.chmod(0o700)
        return str(path)

    return write


@pytest.fixture
def steps() -> Callable[..., Steps]:
    """Return what makes the steps of a rotator with a program."""

    def make(path: str, *, current: SecretValue = CURRENT, read: Any = read_nothing, **settings: Any) -> Steps:
        rotator = CommandRotator(CommandSettings(command=(path,), **settings))
        return Steps(rotator, current, read)

    return make
