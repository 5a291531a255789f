"""The real git has its passwords from strongroom, from a server that asks for them."""

from __future__ import annotations

import json
import shutil
import subprocess

from collections.abc import Iterator
from pathlib import Path

import pytest

from commandline import Cli, clean_environment
from githttp import GitServer, git_server

PASSWORD = "s3cret %0a $HOME 'é'"


class Git:
    """git, with nothing of the developer's own configuration, and a helper that only notes that git has asked."""

    def __init__(self, store: Path, home: Path) -> None:
        self.store = store
        self._ask = home / "ask"
        self._ask.write_text('#!/bin/sh\necho "$1" >> "$HOME/asked"\nexit 1\n')
        self._ask.chmod(0o700)
        self._asked = home / "asked"
        self._environment = clean_environment(
            home,
            GIT_ASKPASS=str(self._ask),
            GIT_CONFIG_NOSYSTEM="1",
            GIT_TERMINAL_PROMPT="0",
            STRONGROOM_CONFIG=str(store / "strongroom.toml"),
            **{f"GIT_{who}_{what}": "bot@example.com" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")},
        )

    def __call__(
        self, *arguments: str, helper: str = "strongroom", stdin: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """Run it in the store's folder."""
        return subprocess.run(
            ["git", "-c", f"credential.helper={helper}", *arguments],
            cwd=self.store,
            env=self._environment,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    @property
    def has_asked(self) -> bool:
        """Whether somebody was asked for a user or a password."""
        return self._asked.exists()


@pytest.fixture
def git(store: Path, home: Path) -> Git:
    return Git(store, home)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[GitServer]:
    folder = tmp_path / "repositories"
    folder.mkdir()
    with git_server(folder) as running:
        yield running


@pytest.fixture
def shop(server: GitServer) -> str:
    """The address of a repository that takes one user's password."""
    return server.add("shop.git", "bot", PASSWORD)


def keep(cli: Cli, name: str, user: str, password: str) -> None:
    assert cli("set", name, stdin=json.dumps({"username": user, "password": password})).status == 0


def count_versions(cli: Cli, name: str) -> int:
    return len(json.loads(cli("versions", name, "--json").stdout))


def test_git_clones_and_pushes_without_a_question(git: Git, cli: Cli, server: GitServer, shop: str) -> None:
    keep(cli, f"git/{server.host}", "bot", PASSWORD)
    assert git("clone", shop, "work").returncode == 0
    assert git("-C", "work", "commit", "-q", "--allow-empty", "-m", "first").returncode == 0
    pushed = git("-C", "work", "push", "origin", "HEAD:main")
    assert pushed.returncode == 0, pushed.stderr
    assert git("ls-remote", shop).stdout.endswith("refs/heads/main\n")
    assert server.asked[:2] == [None, "bot"]
    assert not git.has_asked
    assert PASSWORD not in pushed.stderr + (git.store / "work/.git/config").read_text()
    trail = (git.store / "audit.jsonl").read_text()
    assert f'"git/{server.host}"' in trail
    assert "s3cret" not in trail


def test_each_repository_may_have_a_password_of_its_own(git: Git, cli: Cli, server: GitServer) -> None:
    for number in ("one", "two"):
        server.add(f"{number}.git", number, f"of {number}")
        keep(cli, f"git/{server.host}/{number}.git", number, f"of {number}")
    for number in ("one", "two"):
        done = git("-c", "credential.useHttpPath=true", "ls-remote", f"{server.address}/{number}.git")
        assert done.returncode == 0, done.stderr
    assert git("ls-remote", f"{server.address}/one.git").returncode == 128
    assert git.has_asked


@pytest.mark.parametrize("helper", ["strongroom", "strongroom --writable"])
def test_a_server_that_refuses_a_password_cannot_have_it_erased(
    git: Git, cli: Cli, server: GitServer, shop: str, helper: str
) -> None:
    keep(cli, f"git/{server.host}", "bot", "an old one")
    done = git("ls-remote", shop, helper=helper)
    assert done.returncode == 128
    assert f"{server.address} refused what git/{server.host} holds; it is kept" in done.stderr
    assert "an old one" not in done.stderr
    assert json.loads(cli("get", f"git/{server.host}").stdout)["password"] == "an old one"
    assert count_versions(cli, f"git/{server.host}") == 1


def test_what_a_server_has_taken_is_stored_only_if_that_is_allowed(
    git: Git, cli: Cli, server: GitServer, shop: str
) -> None:
    other = git.store / "other.sh"
    (git.store / "answer").write_text(f"username=bot\npassword={PASSWORD}\n")
    other.write_text(f"#!/bin/sh\ntest $1 != get || cat {git.store}/answer\n")
    other.chmod(0o700)
    first = ("-c", "credential.helper=strongroom", "-c", f"credential.helper=!{other}")
    assert git(*first, "ls-remote", shop).returncode == 0
    assert cli("list", "git/").stdout == ""
    stored = git(*first, "ls-remote", shop, helper="strongroom --writable")
    assert stored.returncode == 0
    assert f"stored git/{server.host}" in stored.stderr
    assert json.loads(cli("get", f"git/{server.host}").stdout) == {"username": "bot", "password": PASSWORD}
    # Now it comes from here, and git stores it each time anew.
    assert git("ls-remote", shop, helper="strongroom --writable").returncode == 0
    assert count_versions(cli, f"git/{server.host}") == 1
    assert not git.has_asked


def test_a_new_password_that_works_takes_the_place_of_the_old_one(git: Git, cli: Cli) -> None:
    keep(cli, "git/git.example.com", "bot", "an old one")
    approved = "protocol=https\nhost=git.example.com\nusername=bot\npassword=a new one\n"
    assert git("credential", "approve", helper="strongroom --writable", stdin=approved).returncode == 0
    assert json.loads(cli("get", "git/git.example.com").stdout)["password"] == "a new one"
    assert git("credential", "reject", helper="strongroom --writable", stdin=approved).returncode == 0
    filled = git("credential", "fill", stdin="protocol=https\nhost=git.example.com\n")
    assert filled.stdout == approved


def test_an_outage_ends_git_instead_of_having_it_ask(git: Git, shop: str) -> None:
    shutil.move(git.store / "master.key", git.store / "gone.key")
    done = git("ls-remote", shop)
    assert done.returncode == 128
    assert "told us to quit" in done.stderr
    assert not git.has_asked


def test_where_there_is_no_secret_git_goes_on_to_ask(git: Git, shop: str) -> None:
    assert git("ls-remote", shop).returncode == 128
    assert git.has_asked


@pytest.mark.parametrize(
    "asked",
    [
        "url=https://evil.example.com%0ahost=git.example.com/x\n",
        "url=https://evil.example.com/x%0ahost=git.example.com\n",
        "protocol=https\nhost=evil.example.com\npath=../git.example.com\n",
        "protocol=https\nhost=evil.example.com/../git.example.com\n",
        "protocol=https\nhost=evil.example.com\nusername=x\0host=git.example.com\n",
    ],
)
def test_no_address_makes_git_send_a_password_to_another_host(git: Git, cli: Cli, asked: str) -> None:
    keep(cli, "git/git.example.com", "bot", PASSWORD)
    for by_path in ("true", "false"):
        done = git("-c", f"credential.useHttpPath={by_path}", "credential", "fill", stdin=asked)
        assert PASSWORD not in done.stdout + done.stderr
        assert "password=" not in done.stdout
