"""``completion``: the script that a shell reads."""

from __future__ import annotations

import pytest

from strongroom.cli.main import COMMANDS, main


@pytest.mark.parametrize(("shell", "beginning"), [("bash", "#"), ("zsh", "#compdef strongroom"), ("fish", "#")])
def test_a_script_with_every_command_is_printed(shell: str, beginning: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", shell]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith(beginning)
    assert [name for name in COMMANDS if name not in printed] == []


@pytest.mark.parametrize("arguments", [[], ["tcsh"], ["../bash"]])
def test_a_shell_that_there_is_no_script_for_is_refused(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["completion", *arguments]) == 2
    assert "strongroom completion --help" in capsys.readouterr().err
