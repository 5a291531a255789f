"""The prompt of ``strongroom set``, at a terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from terminals import Terminal

CONFIGURATION = """
audit = "none"

[backends.main]
type = "memory"
"""


@pytest.fixture
def prompted(desk: Any) -> Iterator[Callable[[str], Terminal]]:
    """The command that asks for the value of a name, at a terminal."""
    desk.configure(CONFIGURATION)
    made: list[Terminal] = []

    def start(name: str) -> Terminal:
        made.append(Terminal(desk.command("set", name), cwd=desk.folder, env=desk.environment()))
        made[-1].wait_for(b"(not shown): ")
        return made[-1]

    yield start
    for terminal in made:
        terminal.close()


def test_what_is_typed_is_stored_and_not_shown(prompted: Callable[[str], Terminal]) -> None:
    terminal = prompted("db/password")
    terminal.type("päss\n".encode())
    assert terminal.wait_for_end() == 0
    assert terminal.seen == b"Value of db/password (not shown): \r\nstored db/password version 1\r\n"


@pytest.mark.parametrize(
    ("keys", "told"), [(b"\x04", b"nothing was typed"), (b"p\xffss\n", b"what was typed is not UTF-8 text")]
)
def test_what_is_no_value_is_refused_in_words(prompted: Callable[[str], Terminal], keys: bytes, told: bytes) -> None:
    terminal = prompted("db/password")
    terminal.type(keys)
    assert terminal.wait_for_end() == 2
    assert b"strongroom: " + told in terminal.seen
    assert b"ss" not in terminal.seen.partition(b"shown): ")[2]


def test_a_name_cannot_move_the_cursor(prompted: Callable[[str], Terminal]) -> None:
    terminal = prompted("db/\x1b[2J")
    terminal.type(b"x\n")
    assert terminal.wait_for_end() == 2
    assert b"\x1b" not in terminal.seen
