"""Keeps values out of the logs of the libraries below: at level DEBUG, botocore writes down all it sends and gets."""

from __future__ import annotations

import logging
import threading

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

_LIBRARIES: Final = ("botocore", "boto3")


class _Here(threading.local):
    """How deep this thread is in calls of ours."""

    depth = 0


_HERE: Final = _Here()


class _Filter(logging.Filter):
    """Drops what is said below a warning during a call of ours in the same thread; others' calls are left alone.

    A warning loses its traceback, whose frames hold credentials.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        if _HERE.depth == 0:
            return True
        record.exc_info = record.exc_text = None
        return record.levelno >= logging.WARNING


_FILTER: Final = _Filter()


def hush() -> None:
    """Put the filter on each of the libraries' loggers that there are by now; twice is no error."""
    for name in list(logging.root.manager.loggerDict):
        if name.partition(".")[0] in _LIBRARIES:
            logging.getLogger(name).addFilter(_FILTER)


@contextmanager
def quietly() -> Iterator[None]:
    """Have the libraries say nothing of what they send and get in the ``with`` block, in this thread."""
    _HERE.depth += 1
    try:
        yield
    finally:
        _HERE.depth -= 1
