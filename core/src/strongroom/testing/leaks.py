"""Finding a value where it must not be: in a text, in a log, in an error's report."""

from __future__ import annotations

import base64
import json
import secrets
import traceback

from collections.abc import Iterator
from types import TracebackType
from urllib.parse import quote

_FRAGMENT = 16


def marker_value() -> str:
    """Return a random text of 40 characters that cannot come up by chance.

    It ends in characters that JSON, URLs and Python's ``repr`` write differently,
    so that a leak in any of these forms is told apart from a plain one.
    """
    return "MARKER" + secrets.token_hex(15) + '"\\é%'


def encodings_of(marker: str) -> dict[str, str]:
    """Return the forms in which a value may show, by their names.

    Args:
        marker: The value, best made by ``marker_value``.
    """
    content = marker.encode()
    forms = {
        "as it is": marker,
        "its beginning": marker[:_FRAGMENT],
        "its middle": marker[_FRAGMENT : 2 * _FRAGMENT],
        "in JSON": json.dumps(marker)[1:-1],
        "in JSON with unicode": json.dumps(marker, ensure_ascii=False)[1:-1],
        "in base64": base64.b64encode(content).decode().rstrip("="),
        "in URL-safe base64": base64.urlsafe_b64encode(content).decode().rstrip("="),
        "in hexadecimal": content.hex(),
        "in upper-case hexadecimal": content.hex().upper(),
        "in a Python repr": repr(marker)[1:-1],
        "in the repr of its bytes": repr(content)[2:-1],
        "percent-encoded": quote(marker),
    }
    return {form: text for form, text in forms.items() if text}


def leaks_in(text: str, marker: str) -> list[str]:
    """Return in which forms a value shows in a text; an empty list is what you want."""
    return [form for form, encoded in encodings_of(marker).items() if encoded in text]


def assert_hidden(marker: str, text: str, where: str) -> None:
    """Fail if a value shows in a text, without repeating the value.

    Args:
        marker: The value that must not show.
        text: What is searched.
        where: What the text is, for the message: ``the log``.
    """
    forms = leaks_in(text, marker)
    assert not forms, f"{where} shows the secret's value {', '.join(forms)}"


def report_of(error: BaseException, package: str | None = None) -> str:
    """Return everything that a report about an error could show.

    That is its text, its ``repr``, its arguments, its notes and its attributes, the same
    of its causes, the printed traceback, and the local variables of some frames.

    Args:
        error: The error.
        package: Local variables are shown of frames whose module lies in this
            package, apart from this kit's own; of none if it is ``None``.
    """
    parts = ["".join(traceback.format_exception(error))]
    for link in _chain(error):
        parts += [str(link), repr(link), repr(link.args), repr(getattr(link, "__notes__", "")), repr(vars(link))]
        if package is not None:
            parts += _locals_of(link.__traceback__, package)
    return "\n".join(parts)


def _chain(error: BaseException) -> Iterator[BaseException]:
    pending: list[BaseException | None] = [error]
    seen: set[int] = set()
    while pending:
        link = pending.pop()
        if link is not None and id(link) not in seen:
            seen.add(id(link))
            yield link
            pending += [link.__cause__, link.__context__]


def _locals_of(trace: TracebackType | None, package: str) -> Iterator[str]:
    for frame, _ in traceback.walk_tb(trace):
        module = frame.f_globals.get("__name__", "") + "."
        if module.startswith(package + ".") and not module.startswith("strongroom.testing."):
            yield f"{module}{frame.f_code.co_name} holds {frame.f_locals!r}"
