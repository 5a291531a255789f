"""Which variables a secret may set unasked: none by which a shell or a program runs what stands in it."""

from __future__ import annotations

import re
import subprocess

from pathlib import Path

import pytest

from strongroom.cli.command import UsageError
from strongroom.cli.selection import is_special, parse
from strongroom.dotenv import shell_line
from strongroom.model import SecretValue

SHELLS = [["sh", "-c"], ["bash", "--norc", "--noprofile", "-c"], ["bash", "--norc", "--noprofile", "-i", "-c"]]


def said_by(shell: list[str], script: str, folder: Path) -> str:
    """Return what a shell with an empty environment prints."""
    command = ["env", "-i", f"HOME={folder}", *shell, script]
    done = subprocess.run(command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, start_new_session=True)
    return done.stdout.decode()


def known_to(shell: list[str], folder: Path) -> set[str]:
    """Return the variables that a shell has from the start."""
    bash = shell[0] == "bash"
    listing = said_by(shell, "compgen -v" if bash else "set", folder)
    return set(re.findall(r"^(\w+)$" if bash else r"^(\w+)=", listing, re.MULTILINE))


@pytest.mark.parametrize("shell", SHELLS, ids=" ".join)
def test_what_a_shell_computes_or_protects_is_special(shell: list[str], tmp_path: Path) -> None:
    if shell[0] == "bash":
        found = re.findall(r"^declare -(?=\w*[ir])\w+ (\w+)", said_by(shell, "declare -p", tmp_path), re.MULTILINE)
        assert {"RANDOM", "UID"} <= set(found)
    else:
        found = re.findall(r"^readonly (\w+)", said_by(shell, "readonly -p", tmp_path), re.MULTILINE)
    assert [name for name in found if not is_special(name)] == []


@pytest.mark.parametrize("shell", SHELLS, ids=" ".join)
def test_no_variable_that_is_allowed_makes_a_shell_run_its_value(shell: list[str], tmp_path: Path) -> None:
    allowed = sorted(name for name in known_to(shell, tmp_path) | {"DB_PASSWORD"} if not is_special(name))
    assert len(allowed) > 1
    for payload in ("a[$(touch ran)]", "$(touch ran)", "`touch ran`"):
        for name in allowed:
            (tmp_path / "script").write_text(f'{shell_line(name, SecretValue(payload))}printf %s "${name}"\n')
            said_by(shell, 'eval "$(cat script)"; (exec true); printf done', tmp_path)
            assert not (tmp_path / "ran").exists(), name


def test_a_shell_would_run_the_value_of_one_that_is_special(tmp_path: Path) -> None:
    """Without this, a check that sees nothing would pass all of the above."""
    script = shell_line("RANDOM", SecretValue("a[$(touch ran)]"))
    said_by(SHELLS[1], script, tmp_path)
    assert (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "variables",
    [
        "PATH IFS ENV BASH_ENV BASHOPTS SHELLOPTS PS0 PS1 PS2 PS3 PS4 PROMPT_COMMAND MAIL MAILPATH INPUTRC HISTFILE",
        "RANDOM SRANDOM SECONDS OPTIND OPTARG OPTERR HISTCMD LINENO UID EUID PPID EPOCHSECONDS EPOCHREALTIME BASHPID",
        "DIRSTACK FUNCNAME GROUPS COMP_WORDBREAKS ZDOTDIR FPATH KSH_ENV fpath path",
        "LD_PRELOAD DYLD_INSERT_LIBRARIES GCONV_PATH OPENSSL_CONF XDG_CONFIG_HOME XDG_DATA_DIRS STRONGROOM_CONFIG",
        "PYTHONPATH PERL5OPT RUBYOPT NODE_OPTIONS LUA_INIT LUA_PATH DOTNET_STARTUP_HOOKS CORECLR_PROFILER PHPRC",
        "RUSTC_WRAPPER MAKEFLAGS MAVEN_OPTS npm_config_node_options NPM_CONFIG_SCRIPT_SHELL GTK_MODULES QT_PLUGIN_PATH",
        "GIT_SSH_COMMAND GIT_EXTERNAL_DIFF GIT_CONFIG_COUNT GIT_PAGER LESSOPEN LESSCLOSE BROWSER MANPAGER EDITOR",
    ],
)
def test_what_decides_which_code_runs_is_special(variables: str) -> None:
    assert [name for name in variables.split() if not is_special(name)] == []


def test_variables_that_usually_hold_secrets_are_not_special() -> None:
    usual = (
        "DB_PASSWORD DATABASE_URL API_KEY TOKEN USERNAME PASSWORD PGPASSWORD MYSQL_PWD REDIS_URL AWS_ACCESS_KEY_ID "
        "AWS_SECRET_ACCESS_KEY GITHUB_TOKEN NPM_TOKEN NODE_AUTH_TOKEN CARGO_REGISTRY_TOKEN TWINE_PASSWORD VAULT_TOKEN "
        "DJANGO_SECRET_KEY GOOGLE_API_KEY BUNDLE_GEMS__EXAMPLE__COM YARN_NPM_AUTH_TOKEN LESSON_KEY EMAIL_HOST_PASSWORD"
    )
    assert [name for name in usual.split() if is_special(name)] == []


@pytest.mark.parametrize("text", ["db/config#", "X=db/config#"])
def test_a_field_without_a_name_is_refused(text: str) -> None:
    """An empty variable in a script, as in "db/config#$FIELD", must not hand out the whole."""
    with pytest.raises(UsageError, match="no field behind its #"):
        parse(text)
