"""Runs the examples of a documentation page, from top to bottom, as a reader would.

docs/explanation/how-examples-are-run.md says what a page may hold; this module is that text in code.
"""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

RUN = {"python", "console"}
# Names for what `python` and `console` already mean; a block under one of them would not be run.
OTHER_NAMES = {"bash", "sh", "shell", "zsh", "shell-session", "sh-session", "py", "py3", "python3", "pycon"}

FENCE = re.compile(r"^(?P<indent> *)(?P<fence>`{3,}|~{3,})\s*(?P<language>[\w+-]*)")
REMARK = re.compile(r"^\s*<!--\s*(?P<key>not run|file|edit|output|page)(?::\s*(?P<text>.*?))?\s*-->\s*$")

SECONDS = 120.0


class PageError(AssertionError):
    """An example does not do what the page says."""


@dataclass(frozen=True)
class Block:
    """One fenced block of a page, with the remark right before it."""

    line: int
    language: str
    content: str
    remark: str
    text: str


def blocks(page: str) -> Iterator[Block]:
    """Yield the fenced blocks of *page* in their order."""
    lines = iter(enumerate(page.splitlines(), 1))
    remark = text = ""
    for number, line in lines:
        if opening := FENCE.match(line):
            closing = re.compile(rf"^\s*{re.escape(opening['fence'])}\s*$")
            inside = []
            for _, row in lines:
                if closing.match(row):
                    break
                inside.append(row.removeprefix(opening["indent"]) + "\n")
            yield Block(number, opening["language"], "".join(inside), remark, text)
        if line.strip():
            found = REMARK.match(line)
            remark, text = (found["key"], found["text"] or "") if found else ("", "")


def asks_for(page: str, what: str) -> bool:
    """Whether the page has a remark that asks for something, such as an empty folder."""
    return any(
        (found := REMARK.match(line)) and found["key"] == "page" and found["text"] == what for line in page.splitlines()
    )


def starts_empty(page: str) -> bool:
    """Whether the page asks for an empty folder instead of a ready store."""
    return asks_for(page, "empty folder")


def needs_server(page: str) -> bool:
    """Whether the page asks for an OpenBao of its own, whose address and root token are in the environment."""
    return asks_for(page, "OpenBao")


def needs_aws(page: str) -> bool:
    """Whether the page asks for an emulator of AWS of its own, which the environment leads to."""
    return asks_for(page, "AWS")


def needs_postgres(page: str) -> bool:
    """Whether the page asks for a PostgreSQL of its own, which the environment leads to, with the programs for it."""
    return asks_for(page, "PostgreSQL")


def needs_wheels(page: str) -> bool:
    """Whether the page asks for our wheels instead of the source tree, and for a Python that has nothing but pip."""
    return asks_for(page, "wheels")


def problems(page: str) -> list[str]:
    """Return what is wrong with the blocks of *page* before any is run."""
    found = []
    for block in blocks(page):
        if not block.language:
            found.append(f"line {block.line}: say what kind of block it is, `text` if nothing else")
        if block.language in OTHER_NAMES:
            found.append(f"line {block.line}: write `console` or `python` instead of `{block.language}`")
        if block.remark == "not run" and len(block.text.split()) < 3:
            found.append(f"line {block.line}: say in a few words why the block is not run")
        if block.remark in {"file", "edit"} and not block.text:
            found.append(f"line {block.line}: name the file that the block is written to")
        if needs_wheels(page) and block.language == "python" and block.remark not in {"file", "not run"}:
            found.append(f"line {block.line}: write a file and run it, since this page installs what it runs")
    return found


@dataclass(frozen=True)
class Command:
    """One command of a console block and the output that the page shows for it."""

    text: str
    output: str


def commands(content: str) -> list[Command]:
    """Return the commands of a console block.

    A command starts with ``$``, goes on in lines that start with ``>``, and is
    followed by its output.
    """
    found: list[tuple[list[str], list[str]]] = []
    for line in content.splitlines():
        if line.startswith("$ "):
            found.append(([line[2:]], []))
        elif not found:
            raise PageError(f"a console block starts with a command, that is `$ ...`, not with {line!r}")
        elif line.startswith("> ") and not found[-1][1]:
            found[-1][0].append(line[2:])
        else:
            found[-1][1].append(line)
    return [Command("\n".join(command), "\n".join(output)) for command, output in found]


def matches(expected: str, actual: str) -> bool:
    """Whether *actual* is the *expected* output, in which ``...`` stands for anything.

    Alone on a line it stands for any number of lines, within a line for any text.
    Blanks at the ends of lines and empty lines at the end do not count.
    """
    lines = []
    for line in expected.rstrip().splitlines():
        if line.strip() == "...":
            lines.append(r"(?:.*\n)*")
        else:
            lines.append(".*".join(re.escape(part) for part in line.rstrip().split("...")) + r"[ \t]*\n")
    return re.fullmatch("".join(lines), actual.rstrip() + "\n" if actual.strip() else "") is not None


def check(expected: str, actual: str, what: str) -> None:
    """Raise ``PageError`` unless *actual* matches *expected*."""
    if not matches(expected, actual):
        raise PageError(f"{what}\n--- the page says\n{expected.rstrip()}\n--- what happened\n{actual.rstrip()}\n")


def edited(text: str, changes: str) -> str:
    """Return *text* with the lines replaced that a block of kind ``diff`` shows, which must be there once.

    Lines begin with a blank, ``-`` or ``+``; ``@@`` parts changes that are not next to each other.
    """
    for change in re.split(r"^@@.*\n", changes, flags=re.MULTILINE):
        lines = change.splitlines(keepends=True)
        before = "".join(line[1:] or line for line in lines if not line.startswith("+"))
        after = "".join(line[1:] or line for line in lines if not line.startswith("-"))
        if text.count(before) != 1:
            raise PageError(f"these lines are to be changed, and are there {text.count(before)} times:\n{before}")
        text = text.replace(before, after)
    return text


# Runs blocks in one namespace: takes one JSON object a line, answers with one.
PYTHON_SIDE = """
import contextlib, io, json, os, sys, traceback
commands, answers, namespace = os.fdopen(os.dup(0)), os.fdopen(os.dup(1), "w"), {"__name__": "__main__"}
# What a block starts gets neither: its own output must not be taken for an answer.
os.dup2(os.open(os.devnull, os.O_RDWR), 0)
os.dup2(2, 1)
for request in map(json.loads, commands):
    output, failure = io.StringIO(), ""
    with contextlib.redirect_stdout(output):
        try:
            exec(compile("\\n" * request["line"] + request["content"], request["page"], "exec"), namespace)
        except BaseException:
            failure = traceback.format_exc()
    print(json.dumps({"output": output.getvalue(), "failure": failure}), file=answers, flush=True)
"""

MARK = "-- end of a command, status"


class Session:
    """What a reader has while following one page: a folder, a shell and a Python prompt.

    Args:
        folder: Where everything runs.
        environment: The variables that the shell and Python start with.
        page: The page's name, for messages.
    """

    def __init__(self, folder: Path, environment: dict[str, str], page: str) -> None:
        self._folder = folder
        self._environment = environment
        self._page = page
        self._state = folder.with_name(f"{folder.name}.shell")
        self._groups: list[int] = []
        self._python: subprocess.Popen[str] | None = None
        self._printed = ""

    def run(self, block: Block) -> None:
        """Do what the page promises for *block*.

        Raises:
            PageError: Something else happened than the page says.
        """
        if block.remark == "file":
            target = self._folder / block.text
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(block.content)
        elif block.remark == "edit":
            target = self._folder / block.text
            target.write_text(edited(target.read_text(), block.content))
        elif block.remark == "output":
            check(block.content, self._printed, f"{self._page}:{block.line}: the block above printed something else")
        elif block.remark != "not run" and block.language == "python":
            self._printed = self._run_python(block)
        elif block.remark != "not run" and block.language == "console":
            self._run_console(block)

    def close(self) -> None:
        """End Python and whatever the page has left running."""
        if self._python is not None:
            assert self._python.stdin is not None
            self._python.stdin.close()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._python.wait(10)
        for group in self._groups:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(group, signal.SIGKILL)

    def _run_python(self, block: Block) -> str:
        if self._python is None:
            self._python = subprocess.Popen(
                [sys.executable, "-c", PYTHON_SIDE],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                cwd=self._folder,
                env=self._environment,
                text=True,
                start_new_session=True,
            )
            self._groups.append(self._python.pid)
        assert self._python.stdin is not None
        assert self._python.stdout is not None
        request = {"line": block.line, "content": block.content, "page": self._page}
        print(json.dumps(request), file=self._python.stdin, flush=True)
        answer = self._python.stdout.readline()
        if not answer:
            raise PageError(f"{self._page}:{block.line}: Python ended")
        result = json.loads(answer)
        if result["failure"]:
            raise PageError(f"{self._page}:{block.line}: the block failed\n{result['failure']}")
        return str(result["output"])

    def _run_console(self, block: Block) -> None:
        wanted = commands(block.content)
        rest = self._shell(block, wanted)
        for position, command in enumerate(wanted):
            place = f"{self._page}:{block.line}: $ {command.text}"
            if MARK not in rest:
                raise PageError(f"{place}\nthe shell ended here\n{rest}")
            output, _, rest = rest.partition(f"{MARK} ")
            status, _, rest = rest.partition("\n")
            check(command.output, output.removesuffix("\n"), place)
            shown = position + 1 < len(wanted) and wanted[position + 1].text == "echo $?"
            if status != "0" and not shown:
                raise PageError(f"{place}\nended with status {status}; `$ echo $?` after it would say that it should")

    def _shell(self, block: Block, wanted: list[Command]) -> str:
        """Run the commands in one shell that goes on where the page's last one ended; return all output."""
        lines = [f'if [ -f "{self._state}" ]; then . "{self._state}"; fi', "status=0"]
        for command in wanted:
            lines += ["( exit $status )", command.text, f"status=$?; printf '\\n{MARK} %s\\n' $status"]
        lines.append(f'{{ export -p; printf "cd \'%s\'\\n" "$PWD"; }} >"{self._state}"')
        log = self._folder.with_name(f"{self._folder.name}.log")
        with log.open("w") as sink:
            shell = subprocess.Popen(
                ["sh", "-c", "\n".join(lines)],
                cwd=self._folder,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            self._groups.append(shell.pid)
            try:
                shell.wait(SECONDS)
            except subprocess.TimeoutExpired as error:
                raise PageError(
                    f"{self._page}:{block.line}: no end within {SECONDS:.0f} s\n{log.read_text()}"
                ) from error
        return log.read_text()
