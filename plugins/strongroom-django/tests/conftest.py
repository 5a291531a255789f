"""What the tests of this distribution share: a manager of a store in memory that the settings helpers use."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import strongroom
import strongroom_django

from djangosite import Site


@pytest.fixture
def manager() -> Iterator[strongroom.SecretManager]:
    with strongroom.open({"audit": "none", "backends": {"here": {"type": "memory"}}}) as opened:
        strongroom_django.configure(opened)
        yield opened
        strongroom_django.configure(None)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)
