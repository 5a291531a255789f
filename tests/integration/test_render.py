"""Templates become files that programs read back exactly, and that follow real stores."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
import tomllib

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import dotenv
import pytest
import yaml

import strongroom

from commandline import Cli, clean_environment
from faultproxy import FaultProxy
from openbao import Server, development_server
from tables import local_table, vault_table

PATIENCE: Final = 60.0
HARD: Final = {
    "EMPTY": "",
    "QUOTES": '()";@ \\ $HOME `id` %s %(x)s *',
    "DASH": "-n -e",
    "TEMPLATE": "{{ 7 * 7 }}{% if %}{# x #}",
    "TWO_LINES": "two\nlines\n",
    "UNICODE": "\u00e9 \u2028 \U0001f511 {",
}


@pytest.fixture(scope="session")
def bao(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with development_server(tmp_path_factory.mktemp("bao")) as started:
        yield started


@pytest.fixture(params=["local", "vault"])
def table(request: pytest.FixtureRequest, store: Path) -> dict[str, Any]:
    """The table of a backend, which the configuration of the store's folder names, too."""
    found = local_table(store) if request.param == "local" else vault_table(request.getfixturevalue("bao"), 2)
    configure(store, found)
    return found


def configure(store: Path, table: dict[str, Any]) -> None:
    """Write a configuration with one backend."""
    lines = []
    for key, value in table.items():
        inner = [f"{name} = {json.dumps(text)}" for name, text in value.items()] if isinstance(value, dict) else []
        lines.append(f"{key} = {{ {', '.join(inner)} }}" if inner else f"{key} = {json.dumps(value)}")
    (store / "strongroom.toml").write_text("\n".join(['audit = "none"', "[backends.main]", *lines, ""]))


@contextmanager
def opened(table: dict[str, Any]) -> Iterator[strongroom.SecretManager]:
    with strongroom.open({"audit": "none", "backends": {"main": table}}) as manager:
        yield manager


def wait_until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < end, "it has not come about"
        time.sleep(0.02)


def holds(path: Path, text: str) -> Callable[[], bool]:
    return lambda: path.exists() and path.read_text() == text


class Watching:
    """The command that watches, and each line that it has said."""

    def __init__(self, folder: Path, home: Path, *arguments: str) -> None:
        command = [str(Path(sys.executable).with_name("strongroom")), "render", "--watch", "--every", "1s", *arguments]
        self.log = folder / "watching.log"
        with self.log.open("w") as log:
            self.process = subprocess.Popen(command, cwd=folder, env=clean_environment(home), stdout=log, stderr=log)

    def said(self, text: str) -> Callable[[], bool]:
        return lambda: text in self.log.read_text()

    def __enter__(self) -> Watching:
        return self

    def __exit__(self, *exception: object) -> None:
        self.process.kill()
        self.process.wait(PATIENCE)


def test_programs_read_back_what_was_stored(cli: Cli, store: Path) -> None:
    for name, text in HARD.items():
        assert cli("set", name, stdin=text).status == 0
    template = "{%% for one in names() %%}\n%s\n{%% endfor %%}\n"
    lines = {
        "a.yaml": "{{ one }}: {{ secret(one) | yaml }}",
        "a.toml": "{{ one }} = {{ secret(one) | toml }}",
        "a.sh": "{{ one }}={{ secret(one) | shell }}; export {{ one }}",
        "a.env": "{{ one }}={{ secret(one) | dotenv }}",
    }
    pairs = []
    for output, line in lines.items():
        (store / f"{output}.j2").write_text(template % line)
        pairs += [f"{output}.j2", output]
    (store / "a.json.j2").write_text('{"UNICODE": {{ secret("UNICODE") | json }}, "all": {{ names() | json }}}')
    done = cli("render", *pairs, "a.json.j2", "a.json")
    assert done.status == 0, done.stderr
    assert yaml.safe_load((store / "a.yaml").read_text()) == HARD
    assert tomllib.loads((store / "a.toml").read_text()) == HARD
    assert json.loads((store / "a.json").read_text()) == {"UNICODE": HARD["UNICODE"], "all": sorted(HARD)}
    assert dotenv.dotenv_values(store / "a.env") == HARD
    script = f". ./a.sh && exec {sys.executable} -c 'import json, os; print(json.dumps(dict(os.environ)))'"
    for shell in ("sh", "bash"):
        found = json.loads(subprocess.check_output([shell, "-c", script], cwd=store, stderr=subprocess.STDOUT))
        assert {name: found[name] for name in HARD} == HARD


def test_the_file_follows_the_store(table: dict[str, Any], store: Path, home: Path) -> None:
    (store / "page.j2").write_text("{{ secret('db/password') }}:{{ secret('db/user') }}")
    page = store / "page"
    with opened(table) as manager:
        manager.set("db/password", "first")
        manager.set("db/user", "app")
        with Watching(store, home, "--on-change", "cat page", "page.j2", "page") as watching:
            wait_until(holds(page, "first:app"))
            manager.rotate("db/password", encoding="hex")
            wait_until(holds(page, f"{manager.refresh('db/password').reveal_text()}:app"))
            manager.delete("db/user")
            wait_until(watching.said("db/user"))
            kept = page.read_text()
            manager.set("db/user", "other")
            wait_until(holds(page, kept.replace(":app", ":other")))
            wait_until(watching.said(page.read_text()))
            watching.process.send_signal(signal.SIGTERM)
            assert watching.process.wait(PATIENCE) == 0
        assert page.stat().st_mode & 0o777 == 0o600


def test_an_outage_is_waited_out_and_leaves_the_file(bao: Server, store: Path, home: Path) -> None:
    table = vault_table(bao, 2)
    (store / "page.j2").write_text("{{ secret('a') }}")
    with opened(table) as manager, FaultProxy(int(bao.address.rpartition(":")[2])) as proxy:
        manager.set("a", "first")
        configure(store, table | {"address": f"http://127.0.0.1:{proxy.port}"})
        proxy.refuse()
        with Watching(store, home, "page.j2", "page") as watching:
            wait_until(watching.said("tried again"))
            assert not (store / "page").exists()
            proxy.listen()
            wait_until(holds(store / "page", "first"))
            proxy.refuse()
            (store / "page.j2").write_text("{{ secret('a') }}{{ secret('b') }}")
            wait_until(lambda: watching.log.read_text().count("tried again") > 1)
            manager.set("b", "second")
            assert (store / "page").read_text() == "first"
            proxy.listen()
            wait_until(holds(store / "page", "firstsecond"))
