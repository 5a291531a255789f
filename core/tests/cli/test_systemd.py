"""``strongroom systemd``, at the other end of a socket that asks as systemd does."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading

from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.skipif(not hasattr(socket, "SO_PEERCRED"), reason="needs Linux, as systemd does")

MIB = 1024 * 1024

CONFIGURATION = f"""
[backends.main]
type = "memory"

[backends.main.seed]
"db/password" = "s3cret\\nof two lines\\n"
"db/config" = '{{"user": "shop", "password": "of-shop"}}'
"db/empty" = ""
"big/fits" = "{"x" * (MIB - 2)}"
"big/too-big" = "{"x" * (MIB - 1)}"

[[audit]]
type = "notebook"
path = "trail.txt"
"""

GIFTS = ["--give", "shop.service:pw=db/password", "--give", "shop.service:user=db/config#user"]
ASKS = "\0d3cb7a0c504298ef/unit/shop.service/pw"


class Socket:
    """A socket whose connections are each answered by the command, as by a socket unit with Accept=yes."""

    def __init__(self, desk: Any) -> None:
        self.desk = desk
        # Abstract, so that another user reaches it wherever the folder is.
        self.path = f"\0strongroom-{os.urandom(8).hex()}"
        self._server = socket.socket(socket.AF_UNIX)
        self._server.bind(self.path)
        self._server.listen()
        self._server.settimeout(30)
        desk.configure(CONFIGURATION)

    def close(self) -> None:
        self._server.close()

    def accept(self) -> socket.socket:
        connection, _ = self._server.accept()
        connection.settimeout(None)
        return connection

    def __call__(self, *arguments: str, asks: str = ASKS, before: tuple[str, ...] = ()) -> tuple[int, bytes, str]:
        """Ask as systemd does; return the command's status, the whole answer, and what was said on standard error."""
        with socket.socket(socket.AF_UNIX) as client:
            if asks:
                # An address in the abstract name space, unique by the number of this process.
                client.bind(asks.replace("\0", f"\0{os.getpid():x}", 1))
            client.connect(self.path)
            return self.answered(client, *arguments, before=before)

    def answered(self, client: socket.socket, *arguments: str, before: tuple[str, ...] = ()) -> tuple[int, bytes, str]:
        """Have the command answer a connection that waits; return as above."""
        answer = bytearray()
        reader = threading.Thread(target=lambda: answer.extend(b"".join(iter(lambda: client.recv(MIB), b""))))
        reader.start()
        connection = self.accept()
        with connection:
            done = subprocess.run(
                self.desk.command(*before, "systemd", "credential", *arguments),
                cwd=self.desk.folder,
                env=self.desk.environment(),
                stdin=connection.fileno(),
                capture_output=True,
                timeout=60,
                check=False,
            )
        reader.join(60)
        assert done.stdout == b""
        return done.returncode, bytes(answer), done.stderr.decode()

    def principals(self) -> set[str]:
        """Return who has read, by the trail."""
        import json

        events = [json.loads(line) for line in self.desk.trail.read_text().splitlines()]
        return {event["principal"] for event in events if event["event"] == "get"}


@pytest.fixture
def ask(desk: Any) -> Any:
    made = Socket(desk)
    yield made
    made.close()


def test_a_unit_is_given_the_exact_bytes_of_the_secret_that_is_for_it(ask: Socket) -> None:
    assert ask(*GIFTS) == (0, b"s3cret\nof two lines\n", "")


def test_a_unit_may_be_given_one_member_of_a_secret(ask: Socket) -> None:
    assert ask(*GIFTS, asks="\0aa/unit/shop.service/user") == (0, b"shop", "")


def test_an_empty_secret_is_an_empty_credential(ask: Socket) -> None:
    assert ask("--give", "shop.service:pw=db/empty") == (0, b"", "")


@pytest.mark.parametrize(
    ("asks", "said"),
    [
        ("\0aa/unit/other.service/pw", "other.service is given no credential pw"),
        ("\0aa/unit/shop.service/other", "shop.service is given no credential other"),
        ("\0aa/unit/shop.service/pw/more", "does not say so as systemd does"),
        ("\0aa/name/shop.service/pw", "does not say so as systemd does"),
        ("", "does not say so as systemd does"),
    ],
    ids=["another unit", "another credential", "longer", "no unit", "no address"],
)
def test_whatever_is_not_given_is_refused_and_nothing_is_read(ask: Socket, asks: str, said: str) -> None:
    status, answer, complaint = ask(*GIFTS, asks=asks)
    assert status == 4
    assert answer == bytes(MIB + 1)
    assert said in complaint
    assert not ask.desk.trail.exists()


def test_an_address_in_the_file_system_is_none_of_systemds(ask: Socket, monkeypatch: pytest.MonkeyPatch) -> None:
    # An address holds 108 bytes, which the folder alone may have.
    monkeypatch.chdir(ask.desk.folder)
    address = Path("unit/shop.service/pw")
    address.parent.mkdir(parents=True)
    with socket.socket(socket.AF_UNIX) as client:
        client.bind(str(address))
        client.connect(ask.path)
        assert ask.answered(client, *GIFTS)[:2] == (4, bytes(MIB + 1))


def test_a_failure_is_answered_with_more_than_systemd_takes(ask: Socket) -> None:
    status, answer, complaint = ask("--give", "shop.service:pw=db/nothing")
    assert (status, answer) == (3, bytes(MIB + 1))
    assert "db/nothing" in complaint
    status, answer, _ = ask(*GIFTS, before=("--config", "nothing.toml"))
    assert (status, answer) == (2, bytes(MIB + 1))


def test_nothing_is_given_that_could_not_be_recorded(ask: Socket) -> None:
    ask.desk.configure(CONFIGURATION.replace('type = "notebook"', 'type = "shut"'))
    status, answer, _ = ask(*GIFTS)
    assert status != 0
    assert answer == bytes(MIB + 1)


def test_a_secret_that_is_too_large_for_a_credential_is_told_to_be(ask: Socket) -> None:
    assert ask("--give", "shop.service:pw=big/fits")[:2] == (0, b"x" * (MIB - 2))
    status, answer, complaint = ask("--give", "shop.service:pw=big/too-big")
    assert (status, answer) == (2, bytes(MIB + 1))
    assert "big/too-big is too large for a credential" in complaint


def test_an_address_like_systemds_that_somebody_else_has_taken_is_refused(ask: Socket) -> None:
    if os.geteuid() != 0:
        # Only root can make a connection as another user.
        pytest.skip("needs to be run as root, to ask as somebody else")
    source = (
        "import os, socket, sys; client = socket.socket(socket.AF_UNIX); os.setuid(65534);"
        " client.bind(chr(0) + sys.argv[2]); client.connect(chr(0) + sys.argv[1]);"
        " print(len(client.recv(9)), flush=True)"
    )
    ask_as_nobody = [sys.executable, "-c", source, ask.path[1:], "aa/unit/shop.service/pw"]
    with subprocess.Popen(ask_as_nobody, stdout=subprocess.PIPE) as client:
        connection = ask.accept()
        with connection:
            done = subprocess.run(
                ask.desk.command("systemd", "credential", *GIFTS),
                cwd=ask.desk.folder,
                env=ask.desk.environment(),
                stdin=connection.fileno(),
                capture_output=True,
                text=True,
                check=False,
            )
        assert client.stdout is not None
        client.stdout.read()
    assert done.returncode == 4
    assert "the user 65534 is not systemd" in done.stderr
    assert not ask.desk.trail.exists()


def test_each_unit_can_be_a_principal_of_its_own(ask: Socket) -> None:
    rule = """
[[policies]]
principal = "*"
effect = "allow"
actions = ["read"]
names = ["db/password"]

[[policies]]
principal = "systemd:other.service"
effect = "deny"
actions = ["read"]
names = ["**"]
"""
    ask.desk.configure(CONFIGURATION + rule)
    gifts = [*GIFTS, "--give", "other.service:pw=db/password", "--as-unit"]
    assert ask(*gifts)[0] == 0
    assert ask(*gifts, asks="\0aa/unit/other.service/pw")[:2] == (4, bytes(MIB + 1))
    assert ask.principals() == {"systemd:shop.service", "systemd:other.service"}


def test_without_a_connection_it_says_where_one_comes_from(desk: Any) -> None:
    done = desk("systemd", "credential", *GIFTS)
    assert done.status == 2
    assert done.stderr == "strongroom: standard input is no connection of systemd's: see `strongroom systemd units`\n"


@pytest.mark.parametrize(
    "gift", ["shop.service", "shop.service=db/x", "shop:pw=db/x", "a/b.service:pw=db/x", "shop.service:..=db/x"]
)
def test_a_gift_that_says_not_what_to_whom_is_refused(desk: Any, gift: str) -> None:
    done = desk("systemd", "units", "--give", gift)
    assert done.status == 2
    assert "write it like shop.service:db-password=db/password" in done.stderr


def test_one_credential_is_not_given_twice(desk: Any) -> None:
    done = desk("systemd", "units", *GIFTS, "--give", "shop.service:pw=db/other")
    assert done.status == 2
    assert "shop.service:pw is given twice" in done.stderr


def test_the_units_are_written_with_a_drop_in_for_each_that_is_given_something(desk: Any) -> None:
    gifts = [*GIFTS, "--give", "mail@eu.service:key=tls/key 100%", "--as-unit"]
    done = desk("--as", "host", "systemd", "units", *gifts, "units")
    assert done.status == 0
    assert "systemctl enable --now strongroom-credentials.socket" in done.stderr
    folder = desk.folder / "units"
    assert sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()) == [
        "mail@eu.service.d/strongroom-credentials.conf",
        "shop.service.d/strongroom-credentials.conf",
        "strongroom-credentials.socket",
        "strongroom-credentials@.service",
    ]
    service = (folder / "strongroom-credentials@.service").read_text()
    start = service.partition("ExecStart=")[2].partition("\n#")[0].replace(" \\\n    ", " ")
    assert start.partition(" systemd ")[0].endswith(f"--config {desk.folder}/strongroom.toml --as host")
    assert start.endswith('--give shop.service:user=db/config#user --give "mail@eu.service:key=tls/key 100%%"')
    drop_in = (folder / "shop.service.d/strongroom-credentials.conf").read_text()
    assert drop_in.count("LoadCredential=") == 2
    assert "LoadCredential=user:%t/strongroom-credentials.sock" in drop_in
    again = desk("systemd", "units", *gifts, "units")
    assert (again.status, "there is already something at" in again.stderr) == (2, True)


def test_units_are_all_written_or_none(desk: Any) -> None:
    drop_in = desk.folder / "units/shop.service.d/strongroom-credentials.conf"
    drop_in.parent.mkdir(parents=True)
    drop_in.touch()
    done = desk("systemd", "units", *GIFTS, "units")
    assert done.status == 2
    assert f"there is already something at {drop_in}" in done.stderr
    assert os.listdir(desk.folder / "units") == ["shop.service.d"]
