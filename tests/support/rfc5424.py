"""Reads syslog messages strictly by the grammar of RFC 5424, and takes streams of them apart by RFC 6587."""

from __future__ import annotations

import json
import re

from typing import Any, NamedTuple

from strongroom.model import AuditEvent

_HEADER = re.compile(
    rb"<(0|[1-9][0-9]{0,2})>1 "
    rb"(-|[0-9]{4}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:[0-5][0-9]"
    rb"(?:\.[0-9]{1,6})?(?:Z|[+-][0-2][0-9]:[0-5][0-9])) "
    rb"([!-~]{1,255}) ([!-~]{1,48}) ([!-~]{1,128}) ([!-~]{1,32}) "
)
_NAME = re.compile(rb"[!#-<>-\\^-~]{1,32}")
_VALUE = re.compile(rb'(?:[^"\\\]]|\\.)*', re.DOTALL)
_BOM = b"\xef\xbb\xbf"


class Message(NamedTuple):
    """One message.

    Attributes:
        facility: By its number.
        severity: By its number.
        time: The TIMESTAMP; ``-`` for none.
        data: The parameters of each element of the structured data, by the element's id.
        text: What follows the mark that says that it is UTF-8.
    """

    facility: int
    severity: int
    time: str
    host: str
    app: str
    pid: str
    kind: str
    data: dict[str, dict[str, str]]
    text: str

    @property
    def event(self) -> AuditEvent:
        """The event in the text."""
        return AuditEvent(**json.loads(self.text))


def parse(raw: bytes) -> Message:
    """Read one message.

    Raises:
        ValueError: It is none.
    """
    header = _HEADER.match(raw)
    if header is None:
        raise ValueError(f"no header: {raw[:100]!r}")
    priority, *words = (group.decode("ascii") for group in header.groups())
    if int(priority) > 191:
        raise ValueError(f"no priority: {priority}")
    data, rest = _structured(raw[header.end() :])
    if not rest.startswith(b" " + _BOM):
        raise ValueError(f"no text in UTF-8: {rest[:100]!r}")
    text = rest.removeprefix(b" " + _BOM).decode("utf-8")
    time, host, app, pid, kind = words
    return Message(int(priority) // 8, int(priority) % 8, time, host, app, pid, kind, data, text)


def _structured(raw: bytes) -> tuple[dict[str, dict[str, str]], bytes]:
    if raw.startswith(b"-"):
        return {}, raw[1:]
    found: dict[str, dict[str, str]] = {}
    while raw.startswith(b"["):
        name, raw = _token(_NAME, raw[1:])
        if name in found:
            raise ValueError(f"the element {name} comes twice")
        found[name] = {}
        while raw.startswith(b" "):
            key, raw = _token(_NAME, raw[1:])
            if not raw.startswith(b'="'):
                raise ValueError(f"no value: {raw[:100]!r}")
            value, raw = _token(_VALUE, raw[2:])
            if not raw.startswith(b'"'):
                raise ValueError(f"no end of a value: {raw[:100]!r}")
            found[name][key] = re.sub(r'\\(["\\\]])', r"\1", value)
            raw = raw[1:]
        if not raw.startswith(b"]"):
            raise ValueError(f"no end of an element: {raw[:100]!r}")
        raw = raw[1:]
    return found, raw


def _token(pattern: re.Pattern[bytes], raw: bytes) -> tuple[str, bytes]:
    match = pattern.match(raw)
    if match is None:
        raise ValueError(f"no {pattern.pattern!r}: {raw[:100]!r}")
    return match.group().decode("utf-8"), raw[match.end() :]


def counted(raw: bytes) -> tuple[list[bytes], bytes]:
    """Take a stream apart in which each message stands after its length; return the messages and what is left over.

    Raises:
        ValueError: Something else stands where a length should.
    """
    found = []
    while match := re.match(rb"([1-9][0-9]*) ", raw):
        end = match.end() + int(match[1])
        if len(raw) < end:
            break
        found.append(raw[match.end() : end])
        raw = raw[end:]
    else:
        if raw and not re.fullmatch(rb"[1-9][0-9]*", raw):
            raise ValueError(f"no length: {raw[:100]!r}")
    return found, raw


def lines(raw: bytes) -> tuple[list[bytes], bytes]:
    """Take a stream apart in which each message is a line; return the messages and what is left over."""
    *found, rest = raw.split(b"\n")
    return found, rest


def events(messages: list[bytes]) -> list[AuditEvent]:
    """Return the events of messages."""
    return [parse(message).event for message in messages]


def expected(event: AuditEvent) -> dict[str, Any]:
    """Return the members that an event has in JSON."""
    return {name: value for name, value in event.as_dict().items() if value is not None}
