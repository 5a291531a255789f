"""The checks of the conformance kit, by the names of their classes and their own."""

from __future__ import annotations

import importlib
import pkgutil

from collections.abc import Callable, Iterator
from typing import Any

import strongroom.testing

from strongroom.testing.promises import Promise

MODULES = tuple(
    importlib.import_module(f"strongroom.testing.{found.name}")
    for found in pkgutil.iter_modules(strongroom.testing.__path__)
)


def _classes() -> Iterator[type[Any]]:
    for module in MODULES:
        yield from (one for one in vars(module).values() if isinstance(one, type) and one.__module__ == module.__name__)


CHECKS: dict[str, Callable[..., None]] = {
    f"{kit.__name__}.{name}": check
    for kit in _classes()
    for name, check in vars(kit).items()
    if name.startswith("test_")
}
"""Every check of every kit, as it is run."""


def promises_of(name: str) -> list[Promise]:
    """Return what the checks of this name promise; several kits may have one."""
    return [vars(check)["promise"] for title, check in CHECKS.items() if title.endswith(f".{name}")]
