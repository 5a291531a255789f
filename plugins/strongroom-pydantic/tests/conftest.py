"""What the tests of this distribution share: a manager of a store in memory."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import strongroom


@pytest.fixture
def manager() -> Iterator[strongroom.SecretManager]:
    settings = {"audit": "none", "backends": {"here": {"type": "memory"}}}
    with strongroom.open(settings) as opened:
        yield opened
