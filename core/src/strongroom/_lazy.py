"""Names of a package that are imported when they are first used."""

from __future__ import annotations

import sys

from collections.abc import Callable
from typing import Any


def importer(package: str, homes: dict[str, str]) -> Callable[[str], Any]:
    """Return a module's ``__getattr__`` (PEP 562) that imports a name from its home.

    Args:
        package: The package's own name.
        homes: Each submodule with the names that it defines, separated by blanks.
    """
    home_of = {name: home for home, names in homes.items() for name in names.split()}

    def __getattr__(name: str) -> Any:  # noqa: N807  # it becomes the module's own
        if name not in home_of:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        from importlib import import_module

        found = getattr(import_module(f"{package}.{home_of[name]}"), name)
        setattr(sys.modules[package], name, found)
        return found

    return __getattr__
