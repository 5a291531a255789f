"""The rotator keeps the contract with a real program, in sh and in Python."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import pytest

from strongroom.model import SecretValue
from strongroom.testing import PluginContract, RotatorContract
from strongroom_rotate_command.rotator import CommandRotator
from strongroom_rotate_command.settings import CommandSettings

# The dependent is a folder, with a file for each value that it accepts, called after the value's digest.
IN_SH = """\
set -eu
cd "$ACCEPTED"
known() { sha256sum "/dev/fd/$1" | cut -d' ' -f1; }
case $1 in
    generate) head -c 24 /dev/urandom | base64 | tr -d '\\n' > "/dev/fd/$STRONGROOM_OUTPUT_FD" ;;
    apply) test ! -e refusing || exit 10; touch "$(known "$STRONGROOM_CANDIDATE_FD")" ;;
    verify) test -e "$(known "$STRONGROOM_CANDIDATE_FD")" || exit 10 ;;
    finish) rm -f "$(known "$STRONGROOM_FORMER_FD")"; touch "$(known "$STRONGROOM_CURRENT_FD")" ;;
    undo) rm -f "$(known "$STRONGROOM_CANDIDATE_FD")"; touch "$(known "$STRONGROOM_CURRENT_FD")" ;;
esac
"""
IN_PYTHON = """\
import hashlib, pathlib, secrets

def known(name):
    with os.fdopen(int(os.environ[f"STRONGROOM_{name}_FD"]), "rb") as value:
        return pathlib.Path(os.environ["ACCEPTED"], hashlib.sha256(value.read()).hexdigest())

step = sys.argv[1]
if step == "generate":
    with os.fdopen(int(os.environ["STRONGROOM_OUTPUT_FD"]), "w") as output:
        output.write(secrets.token_urlsafe())
elif step == "apply":
    if pathlib.Path(os.environ["ACCEPTED"], "refusing").exists():
        sys.exit(10)
    known("CANDIDATE").touch()
elif step == "verify":
    sys.exit(0 if known("CANDIDATE").exists() else 10)
else:
    known("FORMER" if step == "finish" else "CANDIDATE").unlink(missing_ok=True)
    known("CURRENT").touch()
"""


class TestPlugin(PluginContract):
    module = "strongroom_rotate_command.plugin"
    heavy = ("subprocess", "strongroom_rotate_command.rotator")


class CommandContract(RotatorContract):
    text: ClassVar[str]
    python: ClassVar[bool] = False

    @pytest.fixture
    def accepted(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        folder = tmp_path / "accepted"
        folder.mkdir()
        monkeypatch.setenv("ACCEPTED", str(folder))
        return folder

    @pytest.fixture
    def current(self, accepted: Path) -> SecretValue:
        value = SecretValue("the current one")
        (accepted / _digest(value)).touch()
        return value

    @pytest.fixture
    def settings(self, program: Callable[..., str]) -> CommandSettings:
        return CommandSettings(command=(program(self.text, python=self.python),), environment=("ACCEPTED",))

    @pytest.fixture
    def rotator(self, settings: CommandSettings) -> CommandRotator:
        return CommandRotator(settings)

    @pytest.fixture
    def accepts(self, accepted: Path) -> Callable[[SecretValue], bool]:
        return lambda value: (accepted / _digest(value)).exists()

    @pytest.fixture
    def refuse(self, accepted: Path) -> Callable[[], object]:
        return (accepted / "refusing").touch

    @pytest.fixture
    def unreachable(self, program: Callable[..., str]) -> CommandRotator:
        path = program("exit 75", name="unreachable")
        return CommandRotator(CommandSettings(command=(path,), generate="password"))


class TestInSh(CommandContract):
    text = IN_SH


class TestInPython(CommandContract):
    text = IN_PYTHON
    python = True


class TestWithPasswords(CommandContract):
    text = IN_SH

    @pytest.fixture
    def rotator(self, settings: CommandSettings) -> CommandRotator:
        return CommandRotator(settings.replace(generate="password"))


def _digest(value: SecretValue) -> str:
    import hashlib

    return hashlib.sha256(value.reveal()).hexdigest()
