"""Commands that other distributions add."""

from __future__ import annotations

import textwrap

from pathlib import Path
from typing import Any

import pytest

PLUGIN = """
import sys

from strongroom.contracts import CommandSpec, Record
from strongroom.errors import SecretNotFoundError
from strongroom.hookspecs import hookimpl


class Settings(Record):
    greeting: str = "hello"
    times: int = 1


def configure(parser):
    parser.add_argument("whom")


def run(call):
    settings = call.settings()
    if call.options.whom == "nobody":
        raise SecretNotFoundError("nobody is there", hint="look again")
    print(f"{settings.greeting} {call.options.whom} as {call.principal} from {call.config}" * settings.times)
    return 7


def greet(call):
    print("settings:", call.settings())
    print("leads to:", getattr(call.settings, "args", ()), getattr(call.settings, "__self__", None))
    return 0


@hookimpl
def strongroom_commands():
    yield CommandSpec(
        name="agent", summary="Say hello.", configure=configure, run=run, settings=Settings,
        examples="strongroom agent world",
    )
    yield CommandSpec(name="greet", summary="Say it otherwise.", configure=lambda parser: None, run=greet)
    yield CommandSpec(
        name="wrong", summary="Has no table.", configure=lambda parser: None, run=greet, settings=Settings
    )
"""


@pytest.fixture
def desk(desk: Any, tmp_path: Path) -> Any:
    """A folder with a distribution that adds three commands."""
    site = tmp_path / "site"
    (site / "greeting.py").write_text(textwrap.dedent(PLUGIN))
    # The first on the path of this name: the real one, where it is installed, does not count.
    info = site / "strongroom_agent-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: strongroom-agent\nVersion: 1.0\n")
    names = "".join(f"{name} = greeting\n" for name in ("agent", "greet", "wrong"))
    (info / "entry_points.txt").write_text(f"[strongroom.commands]\n{names}")
    desk.configure('audit = "none"\n[backends.main]\ntype = "moody"\n[agent]\ngreeting = "good day"\n')
    return desk


def test_it_gets_its_arguments_its_table_and_the_global_options(desk: Any) -> None:
    done = desk("--as", "alice", "agent", "world")
    assert (done.status, done.stdout) == (7, "good day world as alice from None\n")


def test_its_errors_are_shown_as_any_commands_are(desk: Any) -> None:
    done = desk("agent", "nobody")
    assert (done.status, done.stderr) == (3, "strongroom: nobody is there: look again\n")


def test_its_help_shows_its_examples(desk: Any) -> None:
    done = desk("agent", "--help")
    assert done.status == 0
    assert "Say hello." in done.stdout
    assert "strongroom agent world" in done.stdout


def test_one_without_settings_gets_none(desk: Any) -> None:
    assert desk("greet").stdout.startswith("settings: Record()\n")


def test_what_it_reads_its_settings_with_leads_to_nothing_of_others(desk: Any) -> None:
    """Such as to the telemetry exporter that was opened for the command."""
    assert "leads to: () None\n" in desk("greet").stdout


def test_a_command_that_nobody_has_foreseen_has_no_table(desk: Any) -> None:
    done = desk("wrong")
    assert done.status == 2
    assert "there is no table for them" in done.stderr


def test_what_is_wrong_in_the_table_is_an_error_of_the_configuration(desk: Any) -> None:
    desk.configure('audit = "none"\n[backends.main]\ntype = "moody"\n[agent]\ntimes = "often"\n')
    done = desk("agent", "world")
    assert done.status == 2
    assert "agent.times" in done.stderr


def test_plugins_lists_them(desk: Any) -> None:
    assert "Say it otherwise." in desk("plugins").stdout


def test_without_one_the_error_says_where_the_agent_comes_from(desk: Any) -> None:
    done = desk("agent", STRONGROOM_NO_PLUGINS="1")
    assert done.status == 2
    assert "pip install strongroom-agent" in done.stderr
