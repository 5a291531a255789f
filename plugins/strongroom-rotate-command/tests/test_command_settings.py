"""What a configuration may say, and what it may not."""

from __future__ import annotations

from typing import Any

import pytest

import strongroom

from strongroom_rotate_command.settings import CommandSettings

GOOD = ("/usr/local/bin/rotate",)


@pytest.mark.parametrize("command", [GOOD, ("rotate", "--host", "a/b")])
def test_a_path_or_a_name_is_fine(command: tuple[str, ...]) -> None:
    assert CommandSettings(command=command, secrets={"admin_1": "ops/admin"}).problems() == []


@pytest.mark.parametrize(
    ("settings", "what"),
    [
        ({"command": ()}, "names no program"),
        ({"command": ("bin/rotate",)}, "relative path"),
        ({"command": ("/bin/rotate", "a\0b")}, "zero byte"),
        ({"timeout": 0.0}, "timeout is not above 0"),
        ({"timeout": float("nan")}, "timeout is not above 0"),
        ({"environment": ("A=B",)}, "no variable can be called"),
        ({"environment": ("STRONGROOM_MASTER_KEY",)}, "are not handed on"),
        ({"secrets": {"Admin": "ops/admin"}}, "small letters"),
        ({"generate": "uuid"}, "neither command nor password"),
        ({"length": 10}, "less than 64 bits"),
        ({"alphabet": "a" * 40}, "something twice"),
        ({"alphabet": ""}, "less than 64 bits"),
        ({"length": 0}, "length is not one of"),
    ],
)
def test_what_cannot_be_is_refused(settings: dict[str, Any], what: str) -> None:
    (problem,) = CommandSettings(**{"command": GOOD} | settings).problems()
    assert what in problem


def test_a_configuration_can_say_all_of_it() -> None:
    """Each setting is of a kind that a file can hold."""
    rule = {
        "rotator": "command",
        "command": ["/bin/sh", "-c", "exit 0"],
        "timeout": "20s",
        "environment": ["APP_HOME"],
        "secrets": {"admin": "ops/admin"},
        "generate": "password",
        "length": 24,
        "alphabet": "abcdefgh",
        "show_output": False,
    }
    settings = {"audit": "none", "backends": {"m": {"type": "memory"}}, "rotation": {"db/*": rule}}
    with strongroom.open(settings) as manager:
        manager.set("ops/admin", "the administrator's")
        manager.set("db/password", "the first one")
        manager.rotate("db/password")
        assert len(manager.get("db/password").reveal_text()) == 24
