"""Which backend keeps a name."""

from __future__ import annotations


class Routing:
    """The default backend, and the prefixes that lead elsewhere.

    Args:
        default: The configured name of the backend for all other names.
        routes: Prefix and backend, longest prefix first.
    """

    __slots__ = ("_default", "_routes")

    def __init__(self, default: str, routes: tuple[tuple[str, str], ...]) -> None:
        self._default = default
        self._routes = routes

    def of(self, name: str) -> str:
        """Return the configured name of the backend that keeps a secret: the longest prefix wins."""
        for prefix, backend in self._routes:
            if name == prefix or name.startswith(prefix + "/"):
                return backend
        return self._default

    def home_of(self, folder: str) -> str:
        """Return the backend of the names below a folder (empty for the root) that no deeper route claims."""
        return self.of(folder) if folder else self._default

    def below(self, folder: str) -> list[str]:
        """Return the backends that may hold names below a folder (empty for the root)."""
        found = [self.home_of(folder)]
        for prefix, backend in self._routes:
            if not folder or prefix == folder or prefix.startswith(folder + "/"):
                found.append(backend)
        return list(dict.fromkeys(found))
