"""Keeps others' instrumentation away from strongroom's own calls, and its own troubles out of the way."""

from __future__ import annotations

import sys

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from strongroom._apart import apart


@contextmanager
def quiet() -> Iterator[None]:
    """Have no other library's instrumentation record what is done within.

    Those of HTTP clients and of botocore record addresses, and so the names of
    secrets. The core does this around every call of a backend, sink and rotator;
    a plugin does it where it calls a server in a thread of its own. Spans that
    are made by hand are recorded all the same. Without OpenTelemetry nothing
    happens, and it never fails.
    """
    token = hush()
    try:
        yield
    finally:
        unhush(token)


def hush(span: Any = None) -> Any:
    """Begin what :func:`quiet` does, and return what :func:`unhush` ends it with.

    Args:
        span: The span that is current until then; the one that is now unless given.
    """
    api = sys.modules.get("opentelemetry.context")
    if api is None:
        return None
    try:
        quieted = api.get_current()
        if span is not None:
            quieted = sys.modules["opentelemetry.trace"].set_span_in_context(span, quieted)
        # The keys are private, and the only ones there are: the instrumentations' own helper sets them as well.
        for key in (api._SUPPRESS_INSTRUMENTATION_KEY, api._SUPPRESS_HTTP_INSTRUMENTATION_KEY):
            quieted = api.set_value(key, True, quieted)
        return api.attach(api.set_value("suppress_instrumentation", True, quieted))
    # Foreign code: an API without these keys has no instrumentation that would heed them.
    except Exception as error:  # noqa: BLE001  # see above
        note_problem(error)
        return None


def unhush(token: Any) -> None:
    """End what :func:`hush` has begun.

    Args:
        token: What it has returned.
    """
    if token is None:
        return
    try:
        sys.modules["opentelemetry.context"].detach(token)
    # Foreign code, as above.
    except Exception as error:  # noqa: BLE001  # see above
        note_problem(error)


def note_problem(problem: Exception) -> None:
    """Leave a trace of what went wrong in OpenTelemetry, for whoever looks for it.

    Args:
        problem: What was raised; only the name of its class is told.
    """
    import logging

    try:
        text = "telemetry could not be recorded: %s"
        apart(logging.getLogger("strongroom").debug, text, type(problem).__name__)
    # Foreign code again: a filter or handler that fails.
    except Exception:  # noqa: BLE001  # see above
        return
