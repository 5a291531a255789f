"""`strongroom run --on-change`: programs follow their secrets, whatever keeps these and whoever changes them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from commandline import Cli, clean_environment
from openbao import ROOT_TOKEN, Server, development_server
from supervised import FAST, LIMIT, PROGRAM, Running, supervising
from tables import vault_table

STUBBORN: Final = PROGRAM.replace('say("term")', 'say("term"); signal.signal(signal.SIGTERM, again)').replace(
    "    sys.exit(3)\n", "def again(*_):\n    sys.exit(4)\n"
)
"""Ends only when it is asked a second time."""


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


def trail(store: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (store / "audit.jsonl").read_text().splitlines()]


def test_a_program_is_started_anew_when_another_process_sets_or_rotates_its_secret(
    cli: Cli, store: Path, running: Callable[..., Running]
) -> None:
    put(cli, "a", "one")
    one = running("--secret", "A=a")
    assert one.line() == "start one - -"
    put(cli, "a", "two")
    assert one.lines(2) == ["term", "start two - -"]
    assert cli("rotate", "a", "--encoding", "hex").status == 0
    assert one.line() == "term"
    assert one.line() == f"start {cli('get', 'a').stdout} - -"
    assert one.end() == (3, "term\n")
    assert one.told() == "strongroom: note: a has changed: the program is started anew\n" * 2
    # Each start is a process of its own, whose read is recorded before the program can use the value.
    reads = [event for event in trail(store) if event["event"] == "get" and event["result"] == "ok"]
    assert len({event["pid"] for event in reads}) == 4, "three starts, and the test's own"
    assert cli("audit", "verify").status == 0


def wait_until_looked(store: Path, count: int) -> None:
    """Wait until so many looks have read values, which is recorded."""
    end = time.monotonic() + LIMIT
    while [event["event"] for event in trail(store)].count("watch") < count:
        assert time.monotonic() < end
        time.sleep(0.1)


@pytest.mark.parametrize("version", [1, 2])
def test_it_works_with_openbao_whose_token_the_program_never_sees(
    cli: Cli, store: Path, bao: Server, running: Callable[..., Running], version: int
) -> None:
    table = vault_table(bao, version)
    (store / "strongroom.toml").write_text(
        f'[backends.bao]\ntype = "vault"\naddress = "{table["address"]}"\nmount = "{table["mount"]}"\n'
        f'kv_version = {version}\nauth = {{ method = "token", token = {{ env = "C" }} }}\n'
        '[[audit]]\ntype = "jsonl"\npath = "audit.jsonl"\n'
    )
    token = {"C": ROOT_TOKEN}
    put(cli, "a", "one", token)
    one = running("--secret", "A=a", env=token)
    assert one.line() == "start one - -"
    if version == 1:
        # There each process makes versions of its own, by reading: a look finds none that another one has named.
        wait_until_looked(store, 4)
        assert one.told() == ""
    put(cli, "a", "two", token)
    assert one.lines(2) == ["term", "start two - -"]
    assert cli("rotate", "a", "--encoding", "hex", env=token).status == 0
    assert one.lines(2) == ["term", f"start {cli('get', 'a', env=token).stdout} - -"]
    assert one.end() == (3, "term\n")


def test_a_program_can_be_signalled_instead(cli: Cli, running: Callable[..., Running]) -> None:
    put(cli, "a", "one")
    one = running("--on-change", "hup", "--secret", "A=a")
    assert one.line() == "start one - -"
    for value in ("two", "three"):
        put(cli, "a", value)
        assert one.line() == "hup"
    assert one.end() == (3, "term\n")
    assert one.told() == "strongroom: note: a has changed: the program is sent SIGHUP\n" * 2


WRITER: Final = """
import sys
import strongroom
with strongroom.open("strongroom.toml") as manager:
    for name in "abc":
        manager.set(name, sys.argv[1])
"""


def test_secrets_that_change_together_make_one_new_start(cli: Cli, running: Callable[..., Running]) -> None:
    for name in "abc":
        put(cli, name, "one")
    one = running("--secret", "A=a", "--secret", "B=b", "--secret", "C=c")
    assert one.line() == "start one one one"
    for value in ("two", "three"):
        subprocess.run([sys.executable, "-c", WRITER, value], cwd=cli.folder, check=True, timeout=LIMIT)
        assert one.lines(2) == ["term", f"start {value} {value} {value}"]
    assert one.end() == (3, "term\n")


def test_references_in_a_committed_file_are_followed_and_so_is_what_was_missing(
    cli: Cli, store: Path, running: Callable[..., Running]
) -> None:
    put(cli, "a", "one")
    (store / ".env").write_text("A=strongroom://a\nB='${strongroom://a}@host'\nC=strongroom://c\n")
    one = running("--env-file", ".env", "--if-missing", "ignore")
    assert one.line() == "start one one@host -"
    put(cli, "c", "here")
    assert one.lines(2) == ["term", "start one one@host here"]
    put(cli, "a", "two")
    assert one.lines(2) == ["term", "start two two@host here"]
    assert one.end() == (3, "term\n")


def break_key(cli: Cli, store: Path) -> Callable[[], None]:
    (store / "master.key").rename(store / "moved.key")

    def mend() -> None:
        (store / "moved.key").rename(store / "master.key")

    return mend


def break_configuration(cli: Cli, store: Path) -> Callable[[], None]:
    file = store / "strongroom.toml"
    before = file.read_text()
    file.write_text(
        before + '[[policies]]\nprincipal = "nobody"\neffect = "allow"\nactions = ["read"]\nnames = ["**"]\n'
    )

    def mend() -> None:
        file.write_text(before)

    return mend


def break_secret(cli: Cli, store: Path) -> Callable[[], None]:
    assert cli("delete", "b").status == 0
    return lambda: put(cli, "b", "back")


@pytest.mark.parametrize("broken", [break_key, break_configuration, break_secret])
def test_a_program_goes_on_while_new_values_cannot_be_read_and_gets_them_later(
    cli: Cli, store: Path, running: Callable[..., Running], broken: Callable[[Cli, Path], Callable[[], None]]
) -> None:
    put(cli, "a", "none")
    put(cli, "b", "one")
    one = running("--secret", "A=a", "--secret", "B=b")
    assert one.line() == "start none one -"
    # Once this has been noticed, the store is open: what is broken then concerns the new values only.
    put(cli, "a", "one")
    assert one.lines(2) == ["term", "start one one -"]
    put(cli, "a", "two")
    mend = broken(cli, store)
    one.wait_until_told("the program goes on with what it has")
    one.process.send_signal(signal.SIGHUP)
    assert one.line() == "hup", "the program is still there"
    mend()
    assert one.line() == "term"
    assert one.line() in {"start two one -", "start two back -"}
    assert one.end() == (3, "term\n")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits the length of one variable")
def test_a_program_goes_on_if_its_new_value_is_too_large_for_a_variable(
    cli: Cli, running: Callable[..., Running]
) -> None:
    put(cli, "a", "one")
    one = running("--secret", "A=a")
    assert one.line() == "start one - -"
    put(cli, "a", "x" * 32 * os.sysconf("SC_PAGE_SIZE"))
    one.wait_until_told("the program goes on with what it has")
    assert "a secret is too large for an environment variable" in one.told()
    put(cli, "a", "two")
    assert one.lines(2) == ["term", "start two - -"]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits all variables together like that")
def test_a_program_goes_on_if_its_new_value_makes_its_environment_too_large(
    cli: Cli, running: Callable[..., Running]
) -> None:
    put(cli, "a", "one")
    # All that Linux takes, but for 60 kB.
    whole, rest = divmod(min(os.sysconf("SC_ARG_MAX"), 6 * 2**20) - 60_000, 100_000)
    sizes = [*[100_000] * whole, max(rest, 100)]
    one = running("--secret", "A=a", env={f"FULL_{at}": "x" * (size - 20) for at, size in enumerate(sizes)})
    assert one.line() == "start one - -"
    put(cli, "a", "x" * 100_000)
    one.wait_until_told("the program goes on with what it has")
    assert "a secret is too large for an environment variable" in one.told()
    put(cli, "a", "two")
    assert one.lines(2) == ["term", "start two - -"]


def test_a_program_that_does_not_end_in_time_is_killed(cli: Cli, running: Callable[..., Running]) -> None:
    put(cli, "a", "one")
    one = running("--secret", "A=a", "--stop-timeout", "1s", program=STUBBORN)
    assert one.line() == "start one - -"
    put(cli, "a", "two")
    assert one.lines(2) == ["term", "start two - -"]
    assert "has not ended within 1 s: it is killed" in one.told()


def test_who_ends_the_command_during_a_new_start_gets_no_new_program(cli: Cli, running: Callable[..., Running]) -> None:
    put(cli, "a", "one")
    one = running("--secret", "A=a", "--stop-timeout", "1h", program=STUBBORN)
    assert one.line() == "start one - -"
    put(cli, "a", "two")
    assert one.line() == "term"
    assert one.end() == (4, ""), "it has got the second one, and nothing was started after it"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a process with its parent")
def test_neither_the_old_program_nor_the_next_one_outlives_a_command_that_is_killed(
    cli: Cli, running: Callable[..., Running]
) -> None:
    put(cli, "a", "one")
    one = running("--secret", "A=a", "--stop-timeout", "1h", program=STUBBORN)
    assert one.line() == "start one - -"
    put(cli, "a", "two")
    assert one.line() == "term", "the next one has read everything, and waits"
    one.process.kill()
    # Both have the pipe open, so this ends with them, and fails if that takes too long.
    assert one.process.communicate(timeout=LIMIT)[0] == b""


def test_a_program_that_cannot_be_started_again_ends_the_command(
    cli: Cli, store: Path, running: Callable[..., Running]
) -> None:
    put(cli, "a", "one")
    script = store / "program"
    script.write_text(f"#!{sys.executable}\n{PROGRAM}")
    script.chmod(0o700)
    command = [str(Path(sys.executable).with_name("strongroom")), "run", "--on-change", "restart", *FAST]
    with subprocess.Popen(
        [*command, "--secret", "A=a", "--", "./program"],
        cwd=store,
        env=clean_environment(cli.home),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"start one - -\n"
        script.rename(store / "moved")
        put(cli, "a", "two")
        output, errors = process.communicate(timeout=LIMIT)
    assert (output, process.returncode) == (b"term\n", 127)
    assert errors.count(b"./program was not found") == 1


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux shows the memory and the children of a process")
def test_the_command_never_has_a_value_and_leaves_no_zombie(cli: Cli, running: Callable[..., Running]) -> None:
    values = [f"marker-{os.urandom(12).hex()}" for _ in range(3)]
    put(cli, "a", values[0])
    one = running("--secret", "A=a")
    assert one.line() == f"start {values[0]} - -"
    for value in values[1:]:
        put(cli, "a", value)
        assert one.lines(2) == ["term", f"start {value} - -"]
    pid = one.process.pid
    assert len(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()) == 1
    if os.geteuid():
        with pytest.raises(PermissionError):
            readable_memory(pid)
        return
    memory = readable_memory(pid)
    assert b"strongroom" in memory
    assert [value for value in values if value.encode() in memory] == []


def readable_memory(pid: int) -> bytes:
    """Return all memory of a process that can be read and written."""
    found = []
    with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for line in maps:
            span, rights, *_ = line.split()
            start, end = (int(part, 16) for part in span.split("-"))
            if rights.startswith("rw"):
                memory.seek(start)
                found.append(memory.read(end - start))
    return b"".join(found)


def test_the_master_key_in_a_variable_opens_the_store_each_time_and_stays_outside(
    cli: Cli, store: Path, running: Callable[..., Running]
) -> None:
    put(cli, "a", "one")
    file = store / "strongroom.toml"
    file.write_text(file.read_text().replace('{ file = "master.key" }', '{ env = "STRONGROOM_MASTER_KEY" }'))
    key = {"STRONGROOM_MASTER_KEY": (store / "master.key").read_text()}
    (store / "master.key").unlink()
    program = PROGRAM.replace('"C")', '"STRONGROOM_MASTER_KEY")')
    one = running("--secret", "A=a", program=program, env=key)
    assert one.line() == "start one - -"
    put(cli, "a", "two", key)
    assert one.lines(2) == ["term", "start two - -"]
