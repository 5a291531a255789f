"""What the tests of this distribution share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from postgres import Database, database


@pytest.fixture(scope="session")
def server() -> Iterator[Database]:
    """A real server for all tests of a process: make users of your own."""
    with database() as started:
        yield started
