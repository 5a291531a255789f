"""Where a configured token is looked for, and what counts first."""

from __future__ import annotations

import os
import stat
import time

from pathlib import Path

import pytest

from logins import Given
from strongroom.errors import ConfigurationError
from strongroom.testing import assert_hidden, marker_value, report_of
from strongroom_vault.login import helper
from strongroom_vault.login.token import ConfiguredToken
from strongroom_vault.settings import AuthSettings


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path


def token_in(home: Path, *, configured: str | None = None, **variables: str) -> str:
    auth = AuthSettings(token=None if configured is None else Given(configured))
    login = ConfiguredToken(auth, {"HOME": str(home), "PATH": os.environ["PATH"], **variables})
    grant = login.grant(None)
    assert grant.configured
    return grant.token.reveal_text()


def program(path: Path, script: str) -> Path:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def test_the_configuration_counts_before_everything(home: Path) -> None:
    (home / ".vault-token").write_text("of-the-file")
    assert token_in(home, configured="configured\n", BAO_TOKEN="bao", VAULT_TOKEN="vault") == "configured"


def test_of_the_variables_openbaos_counts_first(home: Path) -> None:
    (home / ".vault-token").write_text("of-the-file")
    assert token_in(home, BAO_TOKEN="bao", VAULT_TOKEN="vault") == "bao"
    assert token_in(home, VAULT_TOKEN="vault") == "vault"


def test_an_empty_variable_of_openbaos_hides_the_other(home: Path) -> None:
    (home / ".vault-token").write_text("of-the-file")
    assert token_in(home, BAO_TOKEN="", VAULT_TOKEN="vault") == "of-the-file"


def test_the_file_may_be_elsewhere(home: Path) -> None:
    (home / ".vault-token").write_text("of-the-file")
    (home / "other").write_text("of-the-other\n")
    assert token_in(home) == "of-the-file"
    assert token_in(home, BAO_TOKEN_PATH=str(home / "other")) == "of-the-other"


@pytest.mark.parametrize(
    "text",
    [
        'token_helper = "{}"',
        '# a comment\n  token_helper="{}" # the helper\n',
        '{{"token_helper": "{}"}}',
        '# token_helper = "/nowhere"\n// token_helper = "/nowhere"\ntoken_helper = "{}"',
    ],
)
@pytest.mark.parametrize("name", [".bao", ".vault"])
def test_a_helper_is_asked_in_the_place_of_the_file(home: Path, text: str, name: str) -> None:
    (home / ".vault-token").write_text("of-the-file")
    written = program(home / "my helper", 'test "$*" = get && echo of-the-helper')
    (home / name).write_text(text.format(written))
    assert token_in(home) == "of-the-helper"
    assert token_in(home, VAULT_TOKEN="vault") == "vault"


def test_the_command_lines_configuration_may_be_elsewhere(home: Path) -> None:
    (home / "config").write_text(f'token_helper = "{program(home / "h", "echo of-the-helper")}"')
    assert token_in(home, VAULT_CONFIG_PATH=str(home / "config")) == "of-the-helper"
    assert token_in(home, BAO_CONFIG_PATH=str(home / "config"), VAULT_CONFIG_PATH="/nowhere") == "of-the-helper"


def test_a_folder_of_that_name_and_a_configuration_without_helper_are_no_helper(home: Path) -> None:
    (home / ".vault-token").write_text("of-the-file")
    (home / ".bao").mkdir()
    (home / ".vault").write_text('# nothing here\nother = "x"\n')
    assert token_in(home) == "of-the-file"


@pytest.mark.parametrize(
    ("script", "reason"), [("exit 3", "status 3"), ("exit 0", "has no token"), ("printf ' \\n'", "has no token")]
)
def test_a_helper_that_fails_is_an_error_rather_than_passed_over(home: Path, script: str, reason: str) -> None:
    (home / ".vault-token").write_text("of-the-file")
    (home / ".vault").write_text(f'token_helper = "{program(home / "h", script)}"')
    with pytest.raises(ConfigurationError, match=reason):
        token_in(home)


def test_a_helper_that_is_missing_is_an_error(home: Path) -> None:
    (home / ".vault").write_text('token_helper = "/nowhere/at-all"')
    with pytest.raises(ConfigurationError, match="cannot be run"):
        token_in(home)


def test_a_helper_that_hangs_is_given_up(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(helper, "TIME_LIMIT", 0.2)
    (home / ".vault").write_text(f'token_helper = "{program(home / "h", "exec sleep 20")}"')
    before = time.monotonic()
    with pytest.raises(ConfigurationError, match="took more than"):
        token_in(home)
    assert time.monotonic() - before < 5


def test_without_any_token_the_error_says_where_one_may_be(home: Path) -> None:
    with pytest.raises(ConfigurationError) as caught:
        token_in(home)
    assert "BAO_TOKEN" in caught.value.what
    assert "bao login" in caught.value.hint


def test_without_a_home_there_is_no_file(home: Path) -> None:
    with pytest.raises(ConfigurationError, match="there is no token"):
        ConfiguredToken(AuthSettings(), {}).grant(None)


@pytest.mark.parametrize("token", ["two words", "a\nb", "a\x00b", "é", "  \n", ""])
def test_what_cannot_be_sent_is_refused_and_not_shown(home: Path, token: str) -> None:
    (home / ".vault-token").write_text(token)
    with pytest.raises(ConfigurationError) as caught:
        token_in(home)
    assert not token.strip() or token not in report_of(caught.value)


def test_no_error_shows_what_was_found(home: Path) -> None:
    marker = marker_value()
    for variables in ({"BAO_TOKEN": marker}, {"BAO_TOKEN_PATH": str(home / "file")}):
        (home / "file").write_text(marker)
        with pytest.raises(ConfigurationError) as caught:
            token_in(home, **variables)
        assert_hidden(marker, report_of(caught.value), "the error")
    (home / ".vault").write_text(f'token_helper = "{program(home / "h", f"cat {home}/file; exit 1")}"')
    with pytest.raises(ConfigurationError) as caught:
        token_in(home)
    assert_hidden(marker, report_of(caught.value, "strongroom_vault"), "the error")
