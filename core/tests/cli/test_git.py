"""``strongroom git``, asked as git asks a credential helper."""

from __future__ import annotations

import subprocess

from typing import Any

import pytest

from hypothesis import given
from hypothesis import strategies as st

from strongroom.cli.command import UsageError
from strongroom.cli.git import MOST_BYTES, parse

CONFIGURATION = r"""
audit = "none"

[backends.main]
type = "memory"

[backends.main.seed]
"git/git.example.com" = '{"username": "bot", "password": "p=1 \u00e9", "role": "ci"}'
"git/git.example.com/shop" = '{"username": "shop", "password": "of-shop"}'
"git/git.example.com/shop/web.git" = '{"username": "web", "password": "of-web"}'
"git/git.example.com:8443" = "12345"
"git/two.example.com" = "first\nhost=evil.example.com"
"git/half.example.com" = '{"username": "bot", "password": "\ud800"}'
"git/nobody.example.com" = '{"username": "bot"}'
"git/odd.example.com/a%20b/%2E%2E" = '{"username": "odd", "password": "of-odd"}'
"git/past.example.com" = '{"username": "bot", "password": "gone", "password_expiry_utc": 1000}'
"git/future.example.com" = '{"username": "bot", "password": "there", "password_expiry_utc": 99999999999}'
"git/true.example.com" = '{"username": "bot", "password": "there", "password_expiry_utc": true}'
"git/localhost:x@h.example.com" = '{"username": "bot", "password": "not here"}'
"git/localhost:3000" = '{"username": "bot", "password": "here"}'
"git/127.0.0.1" = '{"username": "bot", "password": "here"}'
"git/%5B::1%5D:3000" = '{"username": "bot", "password": "here"}'
"git/127.0.0.1.example.com" = '{"username": "bot", "password": "not here"}'
"forge/git.example.com" = '{"username": "forge", "password": "of-forge"}'
"""


def lines(attributes: dict[str, str]) -> bytes:
    return "".join(f"{key}={value}\n" for key, value in attributes.items()).encode(errors="replace")


class Helper:
    """The helper, in a folder with a configuration."""

    def __init__(self, desk: Any) -> None:
        self.desk = desk
        desk.configure(CONFIGURATION)

    def __call__(self, *arguments: str, asked: bytes) -> tuple[int, str, str]:
        """Return the status, the answer and what is said on standard error."""
        done = subprocess.run(
            self.desk.command("git", *arguments),
            cwd=self.desk.folder,
            env=self.desk.environment(),
            input=asked,
            capture_output=True,
            timeout=60,
            check=False,
        )
        return done.returncode, done.stdout.decode(), done.stderr.decode()

    def get(self, host: str, *arguments: str, protocol: str = "https", **attributes: str) -> tuple[int, str, str]:
        """Ask for a credential."""
        attributes |= {"protocol": protocol, "host": host}
        return self(*arguments, "get", asked=lines(attributes))


@pytest.fixture
def helper(desk: Any) -> Helper:
    return Helper(desk)


def told(user: str, password: str) -> tuple[int, str, str]:
    return 0, f"username={user}\npassword={password}\n", ""


def test_user_and_password_are_members_of_the_hosts_secret(helper: Helper) -> None:
    assert helper.get("git.example.com") == told("bot", "p=1 é")
    assert helper.get("GIT.Example.com") == told("bot", "p=1 é")


def test_the_longest_path_that_has_a_secret_wins(helper: Helper) -> None:
    assert helper.get("git.example.com", path="shop/web.git") == told("web", "of-web")
    assert helper.get("git.example.com", path="shop/other.git") == told("shop", "of-shop")
    assert helper.get("git.example.com", path="/other//web.git") == told("bot", "p=1 é")


def test_what_cannot_stand_in_a_name_is_escaped_so_that_no_path_leads_elsewhere(helper: Helper) -> None:
    assert helper.get("odd.example.com", path="a b/..") == told("odd", "of-odd")
    assert helper.get("nothing.example.com", path="../git.example.com") == (0, "", "")
    assert helper.get("git.example.com/shop") == (0, "", "")


def test_a_path_that_is_deeper_or_longer_than_any_name_is_cut_and_found_by_its_host(helper: Helper) -> None:
    assert helper.get("git.example.com", path="/".join(["deep"] * 3000)) == told("bot", "p=1 é")
    assert helper.get("git.example.com", path="long" * 3000) == told("bot", "p=1 é")


def test_a_secret_for_another_user_than_the_address_names_is_passed_over(helper: Helper) -> None:
    assert helper.get("git.example.com", path="shop/web.git", username="bot") == told("bot", "p=1 é")
    assert helper.get("git.example.com", username="alice") == (0, "", "")


def test_a_secret_that_is_only_a_password_belongs_to_who_is_asked_for_or_named(helper: Helper) -> None:
    assert helper.get("git.example.com:8443", username="alice") == told("alice", "12345")
    assert helper.get("git.example.com:8443", "--username", "bot") == told("bot", "12345")
    status, answer, said = helper.get("git.example.com:8443")
    assert (status, answer) == (2, "quit=1\n")
    assert "--username" in said
    assert "12345" not in said


@pytest.mark.parametrize("prefix", ["forge/", "forge"])
def test_the_secrets_may_be_in_another_folder(helper: Helper, prefix: str) -> None:
    assert helper.get("git.example.com", "--prefix", prefix) == told("forge", "of-forge")


def test_where_there_is_no_secret_git_is_told_nothing_and_goes_on(helper: Helper) -> None:
    assert helper.get("other.example.com") == (0, "", "")


def test_an_outage_is_shown_and_stops_git_instead_of_having_it_ask(helper: Helper) -> None:
    helper.desk.configure('audit = "none"\n[backends.main]\ntype = "moody"\nmood = "away"\n')
    status, answer, said = helper.get("git.example.com")
    assert (status, answer) == (6, "quit=1\n")
    assert "moody is away" in said


def test_who_may_not_read_it_is_told_so_and_git_stops(helper: Helper) -> None:
    rule = '[[policies]]\nprincipal = "*"\neffect = "allow"\nactions = ["read"]\nnames = ["db/**"]\n'
    helper.desk.configure(CONFIGURATION + rule)
    status, answer, said = helper.get("git.example.com")
    assert (status, answer) == (4, "quit=1\n")
    assert "git/git.example.com" in said


@pytest.mark.parametrize("host", ["two.example.com", "half.example.com", "nobody.example.com", "true.example.com"])
def test_a_value_that_could_pose_as_another_line_or_is_no_credential_is_refused(helper: Helper, host: str) -> None:
    status, answer, said = helper.get(host, username="bot")
    assert (status, answer) == (2, "quit=1\n")
    assert f"git/{host}" in said
    assert "evil" not in said


def test_what_has_expired_is_not_handed_out(helper: Helper) -> None:
    status, answer, said = helper.get("past.example.com")
    assert (status, answer) == (0, "")
    assert "git/past.example.com holds has expired" in said
    assert helper.get("future.example.com")[1].endswith("password_expiry_utc=99999999999\n")


def test_nothing_is_sent_unencrypted_unless_that_is_allowed(helper: Helper) -> None:
    status, answer, said = helper.get("git.example.com", protocol="http")
    assert (status, answer) == (0, "")
    assert "http://git.example.com is not encrypted" in said
    assert helper.get("git.example.com", "--allow-http", protocol="http") == told("bot", "p=1 é")
    assert helper.get("127.0.0.1.example.com", protocol="http")[1] == ""
    assert helper.get("localhost:x@h.example.com", protocol="http")[1] == ""
    assert helper.get("git.example.com", "--allow-http", protocol="smtp") == (0, "", "")


@pytest.mark.parametrize("host", ["localhost:3000", "127.0.0.1", "[::1]:3000"])
def test_this_machine_itself_needs_no_encryption(helper: Helper, host: str) -> None:
    assert helper.get(host, protocol="http") == told("bot", "here")


def test_what_a_later_git_adds_to_its_question_or_asks_for_is_passed_over(helper: Helper) -> None:
    asked = b"capability[]=authtype\ncapability[]=state\nprotocol=https\nhost=git.example.com\n"
    asked += b'wwwauth[]=Basic realm="a=b"\nwwwauth[]=Bearer\nshape=round\n\nhost=evil.example.com\n'
    assert helper("get", asked=asked) == told("bot", "p=1 é")
    assert helper("renew", asked=b"\0\n") == (0, "", "")


@pytest.mark.parametrize(
    "asked",
    [
        b"protocol=https\nhost=evil.example.com\nhost=git.example.com\n",
        b"protocol=https\nhost=git.example.com\r\n",
        b"protocol=https\nhost=git.example.com\0.evil.example.com\n",
        b"protocol=https\nhost=git.example.com\nusername=a\x1b[2Jb\n",
        b"protocol=https\nhost=git.example.com\nand another thing\n",
        b"protocol=https\nhost=git.example.com\npath=\xff\n",
    ],
    ids=["two hosts", "carriage return", "NUL", "escape", "no value", "no text"],
)
def test_a_question_in_which_one_thing_could_pose_as_another_is_refused(helper: Helper, asked: bytes) -> None:
    status, answer, said = helper("get", asked=asked)
    assert (status, answer) == (2, "quit=1\n")
    assert said == "strongroom: that is not how git asks for a credential: let git call it; see gitcredentials(7)\n"


@pytest.mark.parametrize("unit", [b"x", b"wwwauth[]=x\n"], ids=["one line", "lines"])
def test_a_question_without_end_is_refused(helper: Helper, unit: bytes) -> None:
    status, answer, said = helper("get", asked=unit * (MOST_BYTES // len(unit) + 1))
    assert (status, answer) == (2, "quit=1\n")
    assert "has no end" in said


def test_a_time_that_no_clock_reaches_is_not_stored(helper: Helper) -> None:
    asked = {"protocol": "https", "host": "new.example.com", "username": "bot", "password": "new"}
    done = helper("--writable", "store", asked=lines(asked | {"password_expiry_utc": "9" * 5000}))
    assert done == (0, "", "strongroom: stored git/new.example.com\n")


# A line ends a value, so git refuses to say one that has a line end in it.
VALUES = st.text(st.characters(exclude_characters="\n"))


@given(st.dictionaries(st.sampled_from(["protocol", "host", "path", "username", "password"]), VALUES))
def test_what_git_can_say_is_understood_as_it_was_said(said: dict[str, str]) -> None:
    plain = all(value.encode(errors="replace").decode().isprintable() for value in said.values())
    try:
        request = parse(lines(said))
    except UsageError:
        assert not plain
        return
    assert all(getattr(request, key).encode() == value.encode(errors="replace") for key, value in said.items())


@given(st.binary())
def test_no_question_whatsoever_brings_a_control_character_in(content: bytes) -> None:
    try:
        request = parse(b"host=" + content)
    except UsageError:
        return
    assert all(ord(character) >= 32 for character in f"{request.protocol}{request.host}{request.path}")
