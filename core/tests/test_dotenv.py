"""What is written comes back exactly, from this reader and from shells, and files in doubt are refused."""

from __future__ import annotations

import re
import subprocess

import pytest

from hypothesis import example, given, settings
from hypothesis import strategies as st

from strongroom import dotenv
from strongroom.errors import ConfigurationError, InvalidValueError
from strongroom.model import SecretValue
from strongroom.testing.leaks import assert_hidden, marker_value, report_of

HARD = [
    "",
    " ",
    "()\"';@ \\ $HOME `id` %s %(x)s *",
    "two\nlines",
    "-n",
    "ends in a backslash\\",
    "\\",
    "'",
    '"',
    "'\\''",
    "#no comment",
    "a #b",
    " blanks at both ends\t",
    "\r",
    "a\r\nb",
    "${HOME} $(id) !! ~ é \u2028 \x85 \x1b",
    "export A=1\nB=2",
    "\\n",
]
TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)))
# What decides how a value is quoted comes often here.
QUOTABLE = TEXTS | st.text(st.sampled_from("'\"\\$`{}a #\r\n!=\t"), max_size=8)


def has_no_line(text: str) -> bool:
    """Tell whether shells, python-dotenv and this reader cannot agree on any spelling."""
    in_single = "'" not in text and "\\\\" not in text
    in_double = "$" not in text and "`" not in text
    return "\r" in text or re.search(r"\$\{[^}]*\}|\\\Z", text) is not None or not (in_single or in_double)


LINES = QUOTABLE.filter(lambda text: not has_no_line(text))


def read(text: str | bytes) -> dict[str, str]:
    content = SecretValue(text.encode() if isinstance(text, str) else text)
    return {name: value.reveal_text() for name, value in dotenv.parse(content, "some.env").items()}


def problems(text: str | bytes) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        read(text)
    return [caught.value.what, *getattr(caught.value, "__notes__", [])]


@given(st.dictionaries(st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,8}", fullmatch=True), LINES, max_size=5))
def test_what_is_written_is_read_back_exactly(values: dict[str, str]) -> None:
    lines = [dotenv.dotenv_line(name, SecretValue(text)) for name, text in values.items()]
    assert read("".join(lines)) == values


@pytest.mark.parametrize("text", [text for text in HARD if not has_no_line(text)])
def test_hard_values_are_read_back_exactly_among_others(text: str) -> None:
    lines = [dotenv.dotenv_line(name, SecretValue(text)) for name in ("A", "B", "C")]
    assert read("".join(lines)) == {"A": text, "B": text, "C": text}


@settings(max_examples=25, deadline=None)
@given(st.lists(LINES, min_size=1, max_size=20))
@example([text for text in HARD if not has_no_line(text)])
def test_a_shell_that_reads_the_file_has_the_same_values(values: list[str]) -> None:
    content = "".join(dotenv.dotenv_line(f"V{number}", SecretValue(text)) for number, text in enumerate(values))
    script = ". /dev/stdin\n" + "".join(f'printf "%s\\0" "$V{number}"\n' for number in range(len(values)))
    for shell in ("sh", "bash"):
        done = subprocess.run([shell, "-c", script], input=content.encode(), capture_output=True, check=True)
        assert done.stdout == "".join(f"{text}\0" for text in values).encode()
        assert done.stderr == b""


@given(QUOTABLE.filter(has_no_line))
@example("it's $(touch ran)")
@example("it's `touch ran`")
@example("ends in a backslash\\")
@example("${HOME}")
@example("two\r\nlines")
def test_a_value_that_readers_take_in_different_ways_is_not_written(text: str) -> None:
    with pytest.raises(InvalidValueError, match=r"V has no spelling.*--format shell or json"):
        dotenv.dotenv_line("V", SecretValue(text))


@settings(max_examples=25, deadline=None)
@given(st.lists(TEXTS, min_size=1, max_size=20))
@example(HARD)
def test_shells_take_back_what_is_written_for_them(values: list[str]) -> None:
    """All values in one script, so that a quote left open in one would spoil the next."""
    script = "".join(dotenv.shell_line(f"V{number}", SecretValue(text)) for number, text in enumerate(values))
    printing = "".join(f'printf "%s\\0" "$V{number}"\n' for number in range(len(values)))
    expected = "".join(f"{text}\0" for text in values).encode()
    for shell in ("sh", "bash"):
        done = subprocess.run([shell], input=(script + printing).encode(), capture_output=True, check=True)
        assert done.stdout == expected
        assert done.stderr == b""


@pytest.mark.parametrize("line", [dotenv.dotenv_line, dotenv.shell_line])
@pytest.mark.parametrize("content", [b"\xff", b"\x80abc", "a\0b"])
def test_what_a_format_cannot_express_is_refused_without_showing_it(line, content) -> None:
    with pytest.raises(InvalidValueError, match="TLS_KEY") as caught:
        line("TLS_KEY", SecretValue(content))
    assert "abc" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("A=plain", "plain"),
        ("A = spaced \t", "spaced"),
        ("  export \tA=x", "x"),
        ("A=", ""),
        ("A=''", ""),
        ("A=a#b", "a#b"),
        ("A=a #b", "a"),
        ("A= #b", ""),
        ("A=#b", "#b"),
        ("A='x' # why", "x"),
        ("A=x # it's a comment\\", "x"),
        ("A=x;y (1 2) $HOME ${X:-y} `id`", "x;y (1 2) $HOME ${X:-y} `id`"),
        ("A=a=b", "a=b"),
        ("A='$HOME \\n'", "$HOME \\n"),
        ('A="$HOME ${X} %s"', "$HOME ${X} %s"),
        ('A="a\\nb\\r\\t\\"\\\\\\$\\`"', 'a\nb\r\t"\\$`'),
        ('A="a\nb"', "a\nb"),
        ("A='a\n#b\n'", "a\n#b\n"),
        ("A=x\r", "x"),
        ("A='a\r\nb'\r", "a\r\nb"),
        ("A=back\\slash", "back\\slash"),
    ],
)
def test_a_value_is_read_as_documented(text: str, value: str) -> None:
    assert read(f"# comment\n\n{text}\nB=after\n") == {"A": value, "B": "after"}


def test_byte_order_mark_and_a_missing_last_line_feed_are_accepted() -> None:
    assert read(b"\xef\xbb\xbfA=1\r\nB=2") == {"A": "1", "B": "2"}


@pytest.mark.parametrize("text", ["", "\n\n", "# only a comment", "\r\n \t\r\n"])
def test_a_file_may_hold_nothing(text: str) -> None:
    assert read(text) == {}


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (b"A=1\nno assignment\n", 2),
        (b"A=1\n=x\n", 2),
        (b"1A=x\n", 1),
        (b"A='x' y\n", 1),
        (b"A='x'#y\n", 1),
        (b"\nA='x\n", 2),
        (b'A="x\\', 1),
        (b'A="\\q"\n', 1),
        (b"A='\n\n'\nB=\"\\x\"\n", 4),
        (b"A=x\ry\n", 1),
        (b"A=1\nB=it's\n", 2),
        (b"A=foo'bar'\n", 1),
        (b'A=say "hi"\n', 1),
        (b"A=1\nB=x\\\nC=2\n", 2),
        (b"A=x\\ # why\n", 1),
        (b"A=x\\\r\n", 1),
        (b"A=1\nB=\xff\n", 2),
        (b"A=\xc3\xa9\nB=\0\n", 2),
        ("A=1\n".encode("utf-16"), 1),
    ],
)
def test_what_is_in_doubt_is_refused_with_its_line(text: bytes, line: int) -> None:
    (problem,) = problems(text)
    assert problem.startswith(f"some.env line {line} ")


def test_a_variable_that_comes_twice_is_refused_with_both_lines() -> None:
    (problem,) = problems("A=1\nB=2\n\nA=1\n")
    assert "line 4" in problem
    assert "line 1" in problem


def test_all_problems_are_named_at_once() -> None:
    found = problems("A='x' y\nB=2\nnothing\nB=3\nC=\"\\z\"\n")
    assert [problem.split()[2] for problem in found] == ["1", "3", "4", "5"]


@pytest.mark.parametrize(
    "template", ["A='{}' y", "{}", "A={}'", "A={}\\", 'A="\\q{}"', "A='{}", "A={}\nA={}", "A={}\n\xff\0"]
)
def test_no_error_shows_what_the_file_holds(template: str) -> None:
    marker = marker_value()
    with pytest.raises(ConfigurationError) as caught:
        read(template.replace("{}", marker))
    assert_hidden(marker, report_of(caught.value, "strongroom"), "the report")


def test_no_error_shows_a_value_that_is_not_written() -> None:
    marker = marker_value()
    with pytest.raises(InvalidValueError) as caught:
        dotenv.dotenv_line("V", SecretValue(f"{marker}'$"))
    assert_hidden(marker, report_of(caught.value, "strongroom"), "the report")
