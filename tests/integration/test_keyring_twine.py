"""The programs that use keyring find their passwords in strongroom: keyring's own command, twine and uv."""

from __future__ import annotations

import base64
import json
import subprocess
import zipfile

from collections.abc import Iterator
from pathlib import Path

import pytest

from commandline import Cli, Finished, clean_environment
from fakeloopback import Incoming, Loopback, Reply
from strongroom_keyring.names import Entry, name_of

CHOSEN = {"PYTHON_KEYRING_BACKEND": "strongroom_keyring.StrongroomKeyring"}
PASSWORD = 'pypi-p@ss w0rd: %s $HOME "x"'


class Index(Loopback):
    """A package index that takes uploads, and says what it has, to one user only."""

    def __init__(self) -> None:
        super().__init__()
        self.logins: list[str] = []
        """Who came with which password."""
        self.uploads: list[bytes] = []

    @property
    def upload_url(self) -> str:
        return f"{self.url}/legacy/"

    def respond(self, incoming: Incoming) -> Reply:
        kind, _, login = incoming.headers.get("Authorization", "").partition(" ")
        self.logins.append(base64.b64decode(login).decode() if kind == "Basic" else "")
        if not self.logins[-1].endswith(f":{PASSWORD}"):
            return Reply(401, headers={"WWW-Authenticate": 'Basic realm="index"'})
        if incoming.method == "POST":
            self.uploads.append(incoming.body)
        return Reply(200, b"<!DOCTYPE html><html><body></body></html>", {"Content-Type": "text/html"})


class Programs:
    """Other programs, started in the folder of a store as a user would, with its keyring chosen."""

    def __init__(self, folder: Path, home: Path) -> None:
        self.folder = folder
        self.home = home

    def __call__(self, *command: str, stdin: str = "", **variables: str) -> Finished:
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=clean_environment(self.home, **CHOSEN, **variables),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return Finished(done.returncode, done.stdout, done.stderr)


@pytest.fixture
def programs(store: Path, home: Path) -> Programs:
    return Programs(store, home)


@pytest.fixture
def index() -> Iterator[Index]:
    with Index() as started:
        yield started


@pytest.fixture
def wheel(store: Path) -> str:
    """A wheel that says no more than it must."""
    path = store / "parcel-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("parcel.py", "")
        info = "parcel-1.0.dist-info"
        file.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: parcel\nVersion: 1.0\nSummary: A parcel.\n")
        file.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: hand\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        file.writestr(f"{info}/RECORD", "parcel.py,,\n")
    return str(path)


def put(cli: Cli, service: str, username: str) -> None:
    """Store the password as `strongroom` does."""
    name = name_of("keyring/", Entry(service=service, username=username))
    assert cli("set", name, stdin=PASSWORD).status == 0


def test_the_command_keyring_stores_reads_and_deletes(programs: Programs, cli: Cli, store: Path) -> None:
    assert programs("keyring", "set", "https://a.example/", "me", stdin=PASSWORD).status == 0
    assert cli("list").stdout == "keyring/https:%2F%2Fa.example%2F/me\n"
    assert programs("keyring", "get", "https://a.example/", "me").stdout == f"{PASSWORD}\n"
    both = programs("keyring", "--mode", "creds", "--output", "json", "get", "https://a.example/")
    assert json.loads(both.stdout) == {"username": "me", "password": PASSWORD}
    assert programs("keyring", "del", "https://a.example/", "me").status == 0
    assert programs("keyring", "get", "https://a.example/", "me") == Finished(1, "", "")
    assert programs("keyring", "del", "https://a.example/", "me").status == 1


def test_each_use_is_in_the_trail_which_is_closed_at_the_end(programs: Programs, cli: Cli, store: Path) -> None:
    put(cli, "service", "me")
    assert programs("keyring", "get", "service", "me").status == 0
    text = (store / "audit.jsonl").read_text()
    events = [json.loads(line) for line in text.splitlines()]
    assert [event["event"] for event in events][-3:] == ["opened", "get", "closed"]
    assert events[-2]["key"] == "keyring/service/me"
    assert PASSWORD[:10] not in text
    assert cli("audit", "verify").status == 0


def test_keyring_can_be_told_in_its_own_configuration(programs: Programs, cli: Cli, home: Path) -> None:
    put(cli, "service", "me")
    folder = home / ".config/python_keyring"
    folder.mkdir(parents=True)
    (folder / "keyringrc.cfg").write_text("[backend]\ndefault-keyring=strongroom_keyring.StrongroomKeyring\n")
    programs.folder = home
    config = str(cli.folder / "strongroom.toml")
    found = programs("env", "-u", "PYTHON_KEYRING_BACKEND", "keyring", "get", "service", "me", STRONGROOM_CONFIG=config)
    assert found.stdout == f"{PASSWORD}\n"


@pytest.mark.parametrize("named", [True, False])
def test_twine_uploads_with_the_password(programs: Programs, cli: Cli, index: Index, wheel: str, named: bool) -> None:
    """Without a user's name it takes the only one that there is."""
    put(cli, index.upload_url, "releaser")
    variables = {"TWINE_USERNAME": "releaser"} if named else {}
    command = ["twine", "upload", "--non-interactive", "--disable-progress-bar", "--repository-url", index.upload_url]
    done = programs(*command, wheel, **variables)
    assert done.status == 0, done.stdout + done.stderr
    assert index.logins == [f"releaser:{PASSWORD}"]
    assert len(index.uploads) == 1
    assert PASSWORD not in done.stdout + done.stderr


def test_twine_uploads_nothing_where_the_password_cannot_be_had(
    programs: Programs, cli: Cli, index: Index, wheel: str, store: Path
) -> None:
    put(cli, index.upload_url, "releaser")
    (store / "master.key").rename(store / "elsewhere.key")
    done = programs(
        "twine", "upload", "--non-interactive", "--repository-url", index.upload_url, wheel, TWINE_USERNAME="releaser"
    )
    assert done.status != 0
    assert index.logins == []
    assert "Error getting password from keyring" in done.stdout + done.stderr


def test_uv_logs_in_at_an_index_with_the_password(programs: Programs, cli: Cli, index: Index, store: Path) -> None:
    put(cli, f"{index.url}/parcels", "reader")
    address = index.url.replace("://", "://reader@")
    programs(
        "uv", "pip", "install", "--dry-run", "--no-cache", "--target", str(store / "site"), "--keyring-provider",
        "subprocess", "--default-index", f"{address}/parcels", "a-parcel-that-is-not-there",
    )  # fmt: skip
    assert f"reader:{PASSWORD}" in index.logins
