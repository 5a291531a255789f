"""Two backends in memory, and copies from the one to the other."""

from __future__ import annotations

import pytest

from moves import Kept, Move


@pytest.fixture
def here() -> Kept:
    return Kept()


@pytest.fixture
def there() -> Kept:
    return Kept()


@pytest.fixture
def move(here: Kept, there: Kept) -> Move:
    return Move(here, there)
