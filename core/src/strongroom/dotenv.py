r"""Reads ``.env`` files strictly, and writes lines that readers and shells take back exactly.

Readers of such files differ in what they make of the odd ones. This one refuses
what it cannot be sure about and names the line, never its content:

* ``NAME=VALUE`` with an optional ``export`` in front and blanks around the ``=``.
* An unquoted value is the rest of its line without blanks at both ends and
  without a comment, which starts at a ``#`` after a blank. It holds no quote and
  does not end in a backslash: shells would take those for something else.
* ``'...'`` is literal and may span lines.
* ``"..."`` may span lines and knows ``\n \r \t \" \\ \$`` and the escaped
  backtick; any other backslash is refused.
* Nothing is interpolated: ``$HOME`` and ``%s`` stand for themselves.

What it writes means the same to itself, to ``.`` in a shell and to python-dotenv;
a value for which there is no such line is refused.
"""

from __future__ import annotations

import re

from typing import Final

from strongroom.errors import ConfigurationError, InvalidValueError
from strongroom.model import SecretValue

_BOM: Final = b"\xef\xbb\xbf"
_ASSIGNMENT: Final = re.compile(r"[ \t]*(?:export[ \t]+)?([A-Za-z_][A-Za-z0-9_.-]*)[ \t]*=")
_BLANKS: Final = re.compile(r"[ \t]*")
_COMMENT: Final = re.compile(r"[ \t]#")
_QUOTED: Final = {"'": re.compile(r"'([^']*)'"), '"': re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)}
_ESCAPE: Final = re.compile(r"\\(.)", re.DOTALL)
_ESCAPES: Final = {"n": "\n", "r": "\r", "t": "\t", '"': '"', "\\": "\\", "$": "$", "`": "`"}
_AFTER_QUOTE: Final = re.compile(r"[ \t]*(?:[ \t]#.*)?\r?")
_INEXACT: Final = re.compile(r"\r|\$\{[^}]*\}|\\\Z")
"""What python-dotenv changes in any quotes: line ends, variables, and in older versions a backslash at the end."""
_PLAIN: Final = re.compile(r"[A-Za-z0-9_./:@%+,-]+")


def parse(content: SecretValue, source: str) -> dict[str, SecretValue]:
    """Return the variables of a ``.env`` file in their order.

    Args:
        content: The file's bytes: UTF-8, with or without byte order mark, lines
            ended by LF or CRLF.
        source: The file's name, for errors.

    Raises:
        ConfigurationError: It is no such file. The message names the first line
            that is wrong, the error's notes name all others.
    """
    found, problems = _read(content.reveal())
    if problems:
        # Raised here, where no local variable shows the content.
        error = ConfigurationError(f"{source} {problems[0]}", hint="mend the file; nothing of it was used")
        for problem in problems[1:]:
            error.add_note(f"{source} {problem}")
        raise error
    return found


def dotenv_line(variable: str, value: SecretValue) -> str:
    """Return a variable as a line of a ``.env`` file, with its line feed.

    Args:
        variable: The variable's name.
        value: What it holds.

    Raises:
        InvalidValueError: The value is not text, holds a NUL, or cannot be written so
            that shells and python-dotenv take it back exactly.
    """
    text = _expressible(variable, value)
    if _PLAIN.fullmatch(text):
        return f"{variable}={text}\n"
    exact = not _INEXACT.search(text)
    if exact and "'" not in text and "\\\\" not in text:
        return f"{variable}='{text}'\n"
    if exact and "$" not in text and "`" not in text:
        escaped = text.replace("\\", "\\\\").replace('"', '\\"')
        return f'{variable}="{escaped}"\n'
    del text
    raise InvalidValueError(
        f"the value for {variable} has no spelling in a .env file that shells and other readers take alike",
        hint="export it with --format shell or json",
    )


def shell_line(variable: str, value: SecretValue) -> str:
    """Return a variable as an ``export`` command for any POSIX shell, with its line feed.

    Args:
        variable: The variable's name.
        value: What it holds.

    Raises:
        InvalidValueError: The value is not text, or holds a NUL.
    """
    quoted = _expressible(variable, value).replace("'", "'\\''")
    return f"export {variable}='{quoted}'\n"


def _expressible(variable: str, value: SecretValue) -> str:
    try:
        text = value.reveal_text()
    except InvalidValueError:
        text = "\0"
    if "\0" not in text:
        return text
    del text
    raise InvalidValueError(
        f"the value for {variable} is binary, which this format cannot express",
        hint="export it with --format json, or read it with `strongroom get`",
    )


def _read(content: bytes) -> tuple[dict[str, SecretValue], list[str]]:
    """Return the variables, and what is wrong."""
    content = content.removeprefix(_BOM)
    wrong = content.find(b"\0")
    if wrong < 0:
        try:
            reader = _Reader(content.decode())
            reader.run()
            return reader.found, reader.problems
        except UnicodeDecodeError as error:
            wrong = error.start
    line = content.count(b"\n", 0, wrong) + 1
    return {}, [f"line {line} is not UTF-8 text, or holds a NUL"]


class _Reader:
    """One pass over a text; it goes on after a problem so that all are found at once."""

    def __init__(self, text: str) -> None:
        self.found: dict[str, SecretValue] = {}
        self.problems: list[str] = []
        self._text = text
        self._at = 0
        self._line = 1
        self._lines: dict[str, int] = {}

    def run(self) -> None:
        while self._at < len(self._text):
            self._statement(self._line_end(self._at))

    def _line_end(self, start: int) -> int:
        end = self._text.find("\n", start)
        return len(self._text) if end < 0 else end

    def _statement(self, end: int) -> None:
        """Read what starts on the present line, and go on to the line after it."""
        line = self._text[self._at : end].strip(" \t\r")
        if not line or line.startswith("#"):
            return self._go_on(end)
        match = _ASSIGNMENT.match(self._text, self._at, end)
        if match is None:
            self.problems.append(f"line {self._line} is not NAME=VALUE")
            return self._go_on(end)
        start = _BLANKS.match(self._text, match.end()).end()  # type: ignore[union-attr]  # it matches anywhere
        quote = _QUOTED.get(self._text[start : start + 1])
        if quote is None:
            self._keep(match[1], self._unquoted(self._text[match.end() : end]))
            return self._go_on(end)
        return self._quoted(match[1], quote, start)

    def _go_on(self, end: int) -> None:
        self._line += self._text.count("\n", self._at, end + 1)
        self._at = end + 1

    def _unquoted(self, rest: str) -> str:
        rest = rest.removesuffix("\r")
        if "\r" in rest:
            self.problems.append(f"line {self._line} holds a carriage return that does not end it: quote the value")
        comment = _COMMENT.search(rest)
        value = (rest[: comment.start()] if comment else rest).strip(" \t")
        if value.endswith("\\"):
            self.problems.append(f"line {self._line} ends its value in a backslash: put the value in single quotes")
        elif "'" in value or '"' in value:
            self.problems.append(f"line {self._line} has a quote within its value: quote all of the value")
        return value

    def _quoted(self, name: str, quote: re.Pattern[str], start: int) -> None:
        match = quote.match(self._text, start)
        if match is None:
            self.problems.append(f"line {self._line} opens a quote that nothing closes")
            return self._go_on(len(self._text))
        value = match[1] if match[0][0] == "'" else self._unescaped(match[1])
        self._keep(name, value)
        end = self._line_end(match.end())
        if not _AFTER_QUOTE.fullmatch(self._text, match.end(), end):
            self.problems.append(f"line {self._line} has a quoted value with something behind it")
        return self._go_on(end)

    def _unescaped(self, text: str) -> str:
        if any(found not in _ESCAPES for found in _ESCAPE.findall(text)):
            self.problems.append(
                f'line {self._line} has a backslash in double quotes that is not one of \\n \\r \\t \\" \\\\ \\$ \\`: '
                "write two, or use single quotes"
            )
            return ""
        return _ESCAPE.sub(lambda match: _ESCAPES[match[1]], text)

    def _keep(self, name: str, value: str) -> None:
        if name in self._lines:
            self.problems.append(f"line {self._line} sets the same variable as line {self._lines[name]}")
        self._lines.setdefault(name, self._line)
        self.found[name] = SecretValue(value)
