"""Shells complete the command and `man` shows its page: both made from the parsers, and where they are looked for."""

import argparse
import os
import pty
import re
import select
import shutil
import subprocess
import time
import zipfile

from pathlib import Path

import pytest

from _shellfiles import ADDED, SCRIPTS, each_argument, files, parser
from _workspace import ROOT
from strongroom.cli.main import COMMANDS
from wheels import Built

SCRIPT = ROOT / "core/src/strongroom/cli/completions"
PAGE = ROOT / "core/share/man/man1/strongroom.1"

COMPLETED = [
    ("strongroom undel", {"undelete"}),
    ("strongroom audit ", {"tail", "verify", "head", "report"}),
    ("strongroom audit verify --h", {"--help", "--head"}),
    ("strongroom --config some.toml journal re", {"replay", "resolve"}),
    ("strongroom import --format ", {"dotenv", "json", "yaml"}),
    ("strongroom agent t", {"token"}),
    ("strongroom set a/name --file pass", {"passwords.txt"}),
    ("strongroom init keep", {"keepsakes"}),
    ("strongroom run --secret a/name -- mkfif", {"mkfifo"}),
    ("strongroom get ", set()),
]
"""A line up to the cursor, and what may follow."""

each_line = pytest.mark.parametrize(("line", "expected"), COMPLETED, ids=[line for line, _ in COMPLETED])


def program(name: str) -> str:
    """Return where a program is, or skip; in a run that must be complete, fail."""
    found = shutil.which(name)
    if found is None:
        if os.environ.get("STRONGROOM_REQUIRE_ALL"):
            pytest.fail(f"needs {name}: apt install {name}")
        pytest.skip(f"needs {name}: apt install {name}")
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a file and a folder, beside others."""
    (tmp_path / "passwords.txt").touch()
    (tmp_path / "keepsakes").mkdir()
    (tmp_path / "keeper.txt").touch()
    return tmp_path


def answer(folder: Path, *command: str) -> str:
    """Return what a shell prints in *folder*, with nothing of the developer's own set up."""
    done = subprocess.run(
        command,
        cwd=folder,
        env={"PATH": os.defpath, "HOME": str(folder), "LANG": "C.UTF-8", "TERM": "dumb"},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


BASH = """
source "$1"; shift
complete -p strongroom >/dev/null || exit 1
compopt() { :; }  # it is for a shell that is asked by a key
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMP_LINE="$*"; COMP_POINT=${#COMP_LINE}
$(complete -p strongroom | sed 's/.*-F \\([^ ]*\\).*/\\1/') strongroom "${!#}"
printf '%s\\n' "${COMPREPLY[@]}"
"""


@each_line
def test_bash_completes(line: str, expected: set[str], folder: Path) -> None:
    bash = program("bash")
    words = line.split(" ")
    found = answer(folder, bash, "--norc", "--noprofile", "-c", BASH, "bash", str(SCRIPT / SCRIPTS["bash"]), *words)
    assert set(found.split()) == expected


@each_line
def test_fish_completes(line: str, expected: set[str], folder: Path) -> None:
    ask = f"source {SCRIPT / SCRIPTS['fish']}; complete --do-complete '{line}'"
    found = answer(folder, program("fish"), "--no-config", "-c", ask)
    assert {entry.partition("\t")[0].rstrip("/") for entry in found.splitlines()} == expected


ZSH = """\
PS1= PS2= RPS1=; unsetopt prompt_sp; fpath=({0} $fpath); autoload -Uz compinit; compinit -D -u
show() {{ print -rn -- "<$BUFFER>"; BUFFER=; }}; zle -N show; bindkey '^Xs' show; bindkey '^I' expand-or-complete
setopt no_auto_list no_auto_menu; print set''up
"""


class Zsh:
    """A shell at a terminal of its own: only so does it complete anything."""

    def __init__(self, path: str, folder: Path) -> None:
        self.pid, self.terminal = pty.fork()
        if not self.pid:
            os.chdir(folder)
            os.execve(path, ["zsh", "-f", "-i"], {"PATH": os.defpath, "HOME": str(folder), "TERM": "dumb"})
        self.type(ZSH.format(SCRIPT))
        self.until("setup")

    def type(self, text: str) -> None:
        """Press keys."""
        os.write(self.terminal, text.encode())

    def until(self, pattern: str) -> str:
        """Wait for something on the screen, and return it."""
        seen, end = "", time.monotonic() + 20
        while not (found := re.search(pattern, seen)):
            assert select.select([self.terminal], [], [], max(end - time.monotonic(), 0))[0], seen
            seen += os.read(self.terminal, 4096).decode()
        return found.group()

    def completed(self, line: str) -> str:
        """Return what the line is after the key that completes."""
        self.type(f"{line}\t\x18s")
        return self.until(r"<[^>]*>").strip("<>")

    def close(self) -> None:
        """End it."""
        os.close(self.terminal)
        os.waitpid(self.pid, 0)


def test_zsh_completes(folder: Path) -> None:
    """One line for each that can only go on in one way; where there are several ways, zsh shows a list and waits."""
    shell = Zsh(program("zsh"), folder)
    try:
        for line, expected in COMPLETED:
            if len(expected) == 1:
                (word,) = expected
                typed = line.rpartition(" ")[2]
                assert shell.completed(line).rstrip(" /") == line.removesuffix(typed) + word
        assert shell.completed("strongroom get ") == "strongroom get "
        assert shell.completed("strongroom audit verify --he") == "strongroom audit verify --he"
    finally:
        shell.close()


def test_what_is_committed_is_what_the_parsers_say() -> None:
    stale = [str(file) for file, text in files().items() if file.read_text() != text]
    assert stale == [], "run script/completion"


def test_every_command_and_option_of_ours_is_in_every_script_and_on_the_page() -> None:
    shown = [action for action in each_argument(parser()) if action.help != argparse.SUPPRESS]
    options = {option for action in shown for option in action.option_strings if len(option) > 2}
    scripts = [(SCRIPT / name).read_text() for name in SCRIPTS.values()]
    for word in [*COMMANDS, *ADDED]:
        assert all(re.search(rf"\b{word}\b", text) for text in scripts)
        assert f"\n.SS {word}\n" in PAGE.read_text()
    for option in options:
        assert all(option.removeprefix("--") in text for text in scripts)
        assert option == "--help" or option.replace("-", r"\-") in PAGE.read_text()


def test_the_page_is_set_without_a_warning() -> None:
    mandoc = program("mandoc")
    done = subprocess.run([mandoc, "-T", "lint", "-W", "warning", PAGE], capture_output=True, text=True, check=False)
    # A date would be another one with each release, although nothing on the page is.
    assert [line for line in done.stdout.splitlines() if "missing date" not in line] == []


def test_man_shows_the_page_as_a_reader_expects_it() -> None:
    text = subprocess.run([program("mandoc"), "-T", "ascii", PAGE], capture_output=True, text=True, check=True).stdout
    text = re.sub(r".\x08", "", text)
    assert re.findall(r"^[A-Z][A-Z ]+$", text, re.M) == [
        "NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "COMMANDS", "EXIT STATUS", "FILES", "ENVIRONMENT",
    ]  # fmt: skip
    assert "strongroom local backup [--backend NAME] [--json] PATH" in text
    assert 'printf %s "$VALUE" | strongroom set db/password' in text


def test_the_wheel_puts_them_where_shells_and_man_look(built: Built) -> None:
    with zipfile.ZipFile(built.wheel("strongroom")) as wheel:
        held = {
            name.partition(".data/data/")[2]: wheel.read(name) for name in wheel.namelist() if ".data/data/" in name
        }
    assert held == {
        "share/man/man1/strongroom.1": PAGE.read_bytes(),
        "share/bash-completion/completions/strongroom": (SCRIPT / SCRIPTS["bash"]).read_bytes(),
        "share/fish/vendor_completions.d/strongroom.fish": (SCRIPT / SCRIPTS["fish"]).read_bytes(),
        "share/zsh/site-functions/_strongroom": (SCRIPT / SCRIPTS["zsh"]).read_bytes(),
    }
