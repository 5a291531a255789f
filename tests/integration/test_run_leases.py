"""`strongroom run --on-change` with leased credentials: a program always has one that a real database takes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from commandline import Cli
from openbao import ROOT_TOKEN, Server, development_server
from postgres import Database, database, made_users, offer_credentials
from supervised import Running, supervising

CLIENT = """
import os, signal, sys, threading
import psycopg
end = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: end.set())
address = "postgresql://{U}:{P}@127.0.0.1:{PORT}/postgres".format(**os.environ)
def say(*words):
    os.write(1, (" ".join(words) + "\\n").encode())
say("start", os.environ["U"], os.environ.get("B", "-"))
while not end.is_set():
    try:
        psycopg.connect(address).close()
    except psycopg.Error as error:
        say("refused", type(error).__name__)
        end.wait()
    end.wait(0.2)
say("term")
"""
TOKEN = {"TOKEN": ROOT_TOKEN}


@pytest.fixture
def postgres() -> Iterator[Database]:
    with database() as started:
        yield started


@pytest.fixture
def bao(tmp_path: Path) -> Iterator[Server]:
    with development_server(tmp_path) as started:
        yield started


@pytest.fixture
def running(cli: Cli, store: Path, bao: Server, postgres: Database) -> Iterator[Callable[..., Running]]:
    """Starts a client of the database, with a credential that the server makes for it."""
    (store / "strongroom.toml").write_text(
        f'audit = "none"\n[backends.bao]\ntype = "vault"\naddress = "{bao.address}"\n'
        'dynamic = ["database/creds/*"]\nauth = { method = "token", token = { env = "TOKEN" } }\n'
    )
    with supervising(cli) as start:

        def client(path: str, *options: str) -> Running:
            parts = ("--secret", f"U={path}#username", "--secret", f"P={path}#password")
            return start(*parts, *options, program=CLIENT, env=TOKEN | {"PORT": str(postgres.port)})

        yield client


def test_a_leased_credential_is_replaced_by_a_new_start_before_it_ends(
    bao: Server, postgres: Database, running: Callable[..., Running]
) -> None:
    # A third of it is left to a busy machine, to read another one and to start the program.
    path = offer_credentials(bao, postgres, "app", ttl="45s", max_ttl="45s")
    one = running(path)
    first = one.line().split()[1]
    assert one.line() == "term", "the database took the credential up to then"
    second = one.line().split()[1]
    assert second != first
    assert one.end() == (0, "term\n")
    assert one.told() == f"strongroom: note: {path} is to end: the program is started anew\n"
    assert second in made_users(postgres), "nobody takes back what the program may still use"


def test_a_program_that_is_only_signalled_gets_no_credential_that_ends(
    bao: Server, postgres: Database, running: Callable[..., Running]
) -> None:
    path = offer_credentials(bao, postgres, "app")
    one = running(path, "--on-change", "hup")
    assert one.process.wait(60) == 125
    assert f"{path} is a leased credential" in one.told()
    assert made_users(postgres) == []


def test_a_change_of_another_secret_brings_another_credential_too(
    cli: Cli, bao: Server, postgres: Database, running: Callable[..., Running]
) -> None:
    path = offer_credentials(bao, postgres, "app")
    assert cli("set", "b", stdin="one", env=TOKEN).status == 0
    one = running(path, "--secret", "B=b")
    _, first, value = one.line().split()
    assert value == "one"
    assert cli("set", "b", stdin="two", env=TOKEN).status == 0
    assert one.line() == "term"
    _, second, value = one.line().split()
    assert (value, second != first) == ("two", True)
    assert one.told() == "strongroom: note: b has changed: the program is started anew\n"
