"""What a command line of ``render`` asks for."""

from __future__ import annotations

import argparse
import os
import shlex

from collections.abc import Callable
from typing import Final

from strongroom._record import Record
from strongroom.cli.command import UsageError
from strongroom.cli.durations import duration
from strongroom.cli.placing import Wanted
from strongroom.config.watch import SHORTEST_EVERY
from strongroom.inputs import STANDARD, ensure_repeatable

EVERY: Final = 30.0
"""Seconds between two looks, unless others are given."""
_LAST_NUMBER: Final = (1 << 32) - 2
"""The highest number of a user or a group; the one after it stands for none."""


class Job(Record):
    """What a command line asks for."""

    pairs: tuple[tuple[str, str], ...]
    """Each template and where it goes, an absolute path or ``-``."""
    wanted: Wanted
    """Owner, group and mode of the files, as far as they were named."""
    command: tuple[str, ...] = ()
    """What runs after files have changed, with its arguments; empty for nothing."""
    every: float = EVERY
    """Seconds between two looks, where it goes on."""


def job_of(options: argparse.Namespace) -> Job:
    """Return what a command line asks for.

    Args:
        options: The options of ``render``.

    Raises:
        ConfigurationError: A template that is to be read again and again is no plain file.
        UsageError: They do not fit together, or one of them is malformed.
    """
    pairs = _pairs(options.paths)
    if options.watch and any(STANDARD in pair for pair in pairs):
        raise UsageError("--watch goes from files to files", hint="name a template and an output for each")
    if options.check and (options.watch or any(output == STANDARD for _, output in pairs)):
        raise UsageError("--check compares once, with files", hint="leave out --watch, and name an output for each")
    if options.watch:
        ensure_repeatable(template for template, _ in pairs)
    if options.every is not None and not options.watch:
        raise UsageError("--every is for --watch", hint="add --watch")
    if options.on_change is not None and options.check:
        raise UsageError("--check changes nothing, so --on-change never comes to it", hint="leave out one of them")
    wanted = Wanted(mode=_mode(options.mode), owner=_owner(options.owner), group=_group(options.group))
    every = EVERY if options.every is None else duration("--every", options.every, least=SHORTEST_EVERY)
    return Job(pairs=pairs, wanted=wanted, command=_command(options.on_change), every=every)


def _pairs(paths: list[str]) -> tuple[tuple[str, str], ...]:
    paths = [*paths, STANDARD] if len(paths) == 1 else paths
    if len(paths) % 2:
        raise UsageError(f"{paths[-1]} has no output", hint="name templates and outputs by turns")
    for output in paths[1::2]:
        if output.endswith("/"):
            raise UsageError(f"{output} is a folder", hint="name the file in it")
    pairs = [(template, _absolute(output)) for template, output in zip(paths[::2], paths[1::2], strict=True)]
    # Whatever links lead there.
    outputs = [_real(output) for _, output in pairs]
    templates = [_real(template) for template, _ in pairs]
    for (_, output), real in zip(pairs, outputs, strict=True):
        if outputs.count(real) > 1:
            raise UsageError(f"{output} is the output of two templates", hint="choose another for one of them")
        if output != STANDARD and real in templates:
            raise UsageError(f"{output} is a template itself", hint="choose another output")
    if templates.count(STANDARD) > 1:
        raise UsageError("standard input is one template only", hint="name a file for the other")
    return tuple(pairs)


def _absolute(path: str) -> str:
    return path if path == STANDARD else os.path.abspath(path)


def _real(path: str) -> str:
    return path if path == STANDARD else os.path.realpath(path)


def _mode(text: str | None) -> int | None:
    if text is None:
        return None
    if not 3 <= len(text) <= 4 or not set(text) <= set("01234567"):
        raise UsageError(f"{text!r} is no mode", hint="write three or four octal digits, such as 0640")
    mode = int(text, 8)
    if mode > 0o777:
        raise UsageError(f"{text} would let the file run as somebody else", hint="write a 0 in front: 0640")
    return mode


def _owner(text: str | None) -> int | None:
    import pwd

    return None if text is None else _number(text, "user", lambda: pwd.getpwnam(text).pw_uid)


def _group(text: str | None) -> int | None:
    import grp

    return None if text is None else _number(text, "group", lambda: grp.getgrnam(text).gr_gid)


def _number(text: str, what: str, look_up: Callable[[], int]) -> int:
    if text.isascii() and text.isdigit():
        if int(text) <= _LAST_NUMBER:
            return int(text)
        raise UsageError(f"there is no {what} with such a number", hint="name one that there is")
    try:
        return look_up()
    except KeyError:
        raise UsageError(f"there is no {what} {text!r}", hint="check how it is spelled") from None


def _command(text: str | None) -> tuple[str, ...]:
    if text is None:
        return ()
    try:
        words = tuple(shlex.split(text))
    except ValueError as error:
        raise UsageError("the command of --on-change has a quote without its end", hint="close it") from error
    if not words:
        raise UsageError("--on-change names no command", hint="leave it out, or name one")
    return words
