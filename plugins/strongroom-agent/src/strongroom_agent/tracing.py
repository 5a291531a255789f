"""Joins what the agent does for a request to the caller's own trace."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from opentelemetry import context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator


@contextmanager
def within(headers: Mapping[bytes, bytes]) -> Iterator[None]:
    """Let spans within be children of the caller's, and audit events carry its trace.

    Args:
        headers: The request's headers; of what is malformed there, nothing comes.
    """
    carrier = {
        name: headers[name.encode()].decode("latin-1")
        for name in ("traceparent", "tracestate")
        if name.encode() in headers
    }
    token = context.attach(TraceContextTextMapPropagator().extract(carrier))
    try:
        yield
    finally:
        context.detach(token)
