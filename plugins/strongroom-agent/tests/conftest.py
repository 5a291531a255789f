"""What the tests of the server share: a backend with a few secrets, and an agent over it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from agents import RunningAgent, filled, running, settings
from strongroom.testing import FaultyBackend, MemorySink

POLICIES = [
    {"principal": "agent", "effect": "allow", "actions": ["impersonate"], "names": ["web", "job"]},
    {"principal": "agent", "effect": "allow", "actions": ["create", "update"], "names": ["**"]},
    {"principal": "web", "effect": "allow", "actions": ["read", "list"], "names": ["**"]},
    {"principal": "web", "effect": "deny", "actions": ["read"], "names": ["key/denied"]},
    {"principal": "job", "effect": "allow", "actions": ["read"], "names": ["db/user"]},
]


@pytest.fixture
def backend() -> FaultyBackend:
    return FaultyBackend(filled())


@pytest.fixture
def sink() -> MemorySink:
    return MemorySink()


@pytest.fixture
def agent(tmp_path: Path, backend: FaultyBackend, sink: MemorySink) -> Iterator[RunningAgent]:
    """An agent with policies; ``web`` may read everything but one, ``job`` one name."""
    with running(settings(tmp_path), backend, sinks=(sink,), config={"policies": POLICIES}) as started:
        yield started
