"""`strongroom run --on-change --prefix`: programs follow which secrets there are below a folder."""

from __future__ import annotations

import json
import time

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from commandline import Cli
from openbao import ROOT_TOKEN, Server, development_server
from supervised import LIMIT, Running, supervising
from tables import vault_table

FOLDER = ("--prefix", "app/", "--strip-prefix")


@pytest.fixture
def running(cli: Cli) -> Iterator[Callable[..., Running]]:
    """Starts a program that is started anew on a change, unless the options say otherwise."""
    with supervising(cli) as start:
        yield start


@pytest.fixture(scope="module")
def bao(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with development_server(tmp_path_factory.mktemp("bao")) as started:
        yield started


def put(cli: Cli, name: str, value: str, env: dict[str, str] | None = None) -> None:
    done = cli("set", name, stdin=value, env=env)
    assert done.status == 0, done.stderr


def remove(cli: Cli, name: str, env: dict[str, str] | None = None) -> None:
    done = cli("delete", name, env=env)
    assert done.status == 0, done.stderr


def test_a_name_that_comes_or_goes_below_the_folder_makes_a_new_start(
    cli: Cli, store: Path, running: Callable[..., Running]
) -> None:
    put(cli, "app/a", "one")
    one = running(*FOLDER)
    assert one.line() == "start one - -"
    put(cli, "app/b", "new")
    assert one.lines(2) == ["term", "start one new -"]
    put(cli, "app/b", "newer")
    assert one.lines(2) == ["term", "start one newer -"]
    remove(cli, "app/a")
    assert one.lines(2) == ["term", "start - newer -"]
    put(cli, "other/c", "elsewhere")
    put(cli, "app/a", "back")
    assert one.lines(2) == ["term", "start back newer -"]
    assert one.end() == (3, "term\n")
    assert one.told().splitlines() == [
        f"strongroom: note: app/{name} has changed: the program is started anew" for name in "bbaa"
    ]
    events = [json.loads(line) for line in (store / "audit.jsonl").read_text().splitlines()]
    lists = [event for event in events if event["event"] == "list"]
    assert {event["key"] for event in lists} == {"app/"}
    assert {event["result"] for event in lists} == {"ok"}


def test_a_program_that_is_signalled_hears_of_each_such_change_once(
    cli: Cli, store: Path, running: Callable[..., Running]
) -> None:
    put(cli, "app/a", "one")
    put(cli, "app/b", "two")
    one = running("--on-change", "hup", *FOLDER)
    assert one.line() == "start one two -"
    put(cli, "app/c", "new")
    assert one.line() == "hup"
    put(cli, "app/c", "newer")
    assert one.line() == "hup"
    remove(cli, "app/b")
    assert one.line() == "hup"
    wait_for_lists(store, 4)
    assert one.end() == (3, "term\n"), "what notices a change by the list and by the version has told it once"


def wait_for_lists(store: Path, more: int) -> None:
    """Wait until the folder has been listed some more times."""

    def count() -> int:
        return (store / "audit.jsonl").read_text().count('"list"')

    until, end = count() + more, time.monotonic() + LIMIT
    while count() < until:
        assert time.monotonic() < end
        time.sleep(0.1)


def test_the_last_name_below_the_folder_may_go_and_the_program_goes_on(
    cli: Cli, running: Callable[..., Running]
) -> None:
    put(cli, "app/a", "one")
    one = running(*FOLDER)
    assert one.line() == "start one - -"
    remove(cli, "app/a")
    one.wait_until_told("the program goes on with what it has")
    put(cli, "app/b", "two")
    assert one.lines(2) == ["term", "start - two -"]


@pytest.mark.parametrize("version", [1, 2])
def test_it_works_with_openbao(
    cli: Cli, store: Path, bao: Server, running: Callable[..., Running], version: int
) -> None:
    table = vault_table(bao, version)
    (store / "strongroom.toml").write_text(
        f'audit = "none"\n[backends.bao]\ntype = "vault"\naddress = "{table["address"]}"\nmount = "{table["mount"]}"\n'
        f'kv_version = {version}\nauth = {{ method = "token", token = {{ env = "C" }} }}\n'
    )
    token = {"C": ROOT_TOKEN}
    put(cli, "app/a", "one", token)
    one = running(*FOLDER, env=token)
    assert one.line() == "start one - -"
    put(cli, "app/b", "new", token)
    assert one.lines(2) == ["term", "start one new -"]
    remove(cli, "app/a", token)
    assert one.lines(2) == ["term", "start - new -"]
    assert one.end() == (3, "term\n")
