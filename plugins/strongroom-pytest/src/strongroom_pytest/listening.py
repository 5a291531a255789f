"""Output that does not come to a test's report, or comes there without saying who made it."""

from __future__ import annotations

import logging
import sys
import warnings

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Final

import pytest

from strongroom_pytest.leaks import LeakWatch

CAPTURING: Final = ("capsys", "capfd", "capsysbinary", "capfdbinary", "capteesys")
"""The fixtures by which a test reads output itself, so that its report has none of it."""
_USUAL: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime"}


class Listening:
    """Listens to log records, warnings and, where pytest captures nothing, to the streams.

    Args:
        leaks: Is told of all of it.
        streams: Whether the streams are listened to.
    """

    def __init__(self, leaks: LeakWatch, *, streams: bool) -> None:
        self._leaks = leaks
        self._undo: list[Callable[[], None]] = []
        handler = _Handler(leaks)
        logging.getLogger().addHandler(handler)
        self._undo.append(lambda: logging.getLogger().removeHandler(handler))
        self._warnings()
        if streams:
            self._undo += _listen_to_streams(leaks)

    def stop(self) -> None:
        """Put everything back that nobody else has replaced meanwhile; a second call does nothing."""
        while self._undo:
            self._undo.pop()()

    def _warnings(self) -> None:
        show = warnings.showwarning

        def noting(message: Warning | str, *details: Any, **more: Any) -> None:
            self._leaks.note("a warning", f"{message}\n")
            show(message, *details, **more)

        warnings.showwarning = noting
        self._undo.append(lambda: _put_back(warnings, "showwarning", noting, show))


def listen_to_readings(capture: pytest.CaptureFixture[Any], leaks: LeakWatch) -> None:
    """Note what a test reads through one of pytest's capturing fixtures, or prints past it."""
    read, disabled = capture.readouterr, capture.disabled

    def noting() -> Any:
        result = read()
        for name, text in (("stdout", result.out), ("stderr", result.err)):
            leaks.note(name, text if isinstance(text, str) else text.decode(errors="surrogateescape"))
        return result

    @contextmanager
    def noting_meanwhile() -> Iterator[None]:
        with disabled(), ExitStack() as stack:
            for undo in _listen_to_streams(leaks):
                stack.callback(undo)
            yield

    # They are the fixture's own methods for the rest of this test, and this test's own fixture.
    capture.readouterr = noting  # type: ignore[method-assign]  # see above
    capture.disabled = noting_meanwhile  # type: ignore[method-assign]  # see above


def _listen_to_streams(leaks: LeakWatch) -> list[Callable[[], None]]:
    """Note what Python prints; return what ends that."""
    return [_listen_to_stream(name, leaks) for name in ("stdout", "stderr")]


def _listen_to_stream(name: str, leaks: LeakWatch) -> Callable[[], None]:
    stream = getattr(sys, name)
    noting = _Stream(stream, lambda text: leaks.note(name, text))
    setattr(sys, name, noting)
    return lambda: _put_back(sys, name, noting, stream)


def _put_back(owner: Any, name: str, ours: object, former: object) -> None:
    if getattr(owner, name) is ours:
        setattr(owner, name, former)


class _Handler(logging.Handler):
    """Notes a record's text, and whatever else of it another formatter could write."""

    def __init__(self, leaks: LeakWatch) -> None:
        super().__init__()
        self._leaks = leaks

    def emit(self, record: logging.LogRecord) -> None:
        extra = {key: value for key, value in vars(record).items() if key not in _USUAL}
        for part in (self.format, lambda record: f"{record.args!r} {extra!r}" if record.args or extra else ""):
            try:
                self._leaks.note(f"the log of {record.name}", part(record) + "\n")
            # What the test's own objects raise when they are printed is for its own handlers to report.
            except Exception:  # noqa: S112, BLE001  # see above
                continue


class _Stream:
    """A stream that notes what is written to it."""

    def __init__(self, stream: Any, note: Callable[[str], None]) -> None:
        self._stream, self._note = stream, note

    def write(self, text: str) -> Any:
        self._note(text)
        return self._stream.write(text)

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
