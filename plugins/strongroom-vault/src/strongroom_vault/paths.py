"""How names are spelt inside an engine."""

from __future__ import annotations

from urllib.parse import quote

from strongroom.errors import InvalidNameError
from strongroom.model import SecretName


class Paths:
    """Turns names into paths inside one engine, and back.

    Args:
        mount: Where the engine is; it may have slashes.
        prefix: Whole segments that stand before each name; empty for none.
    """

    def __init__(self, mount: str, prefix: str = "") -> None:
        self.mount = mount.strip("/")
        self.prefix = prefix.strip("/")
        self._before = f"{self.prefix}/" if self.prefix else ""

    def inside(self, name: str) -> str:
        """Return a name's path inside the engine, not yet quoted.

        Raises:
            InvalidNameError: The server would refuse it.
        """
        # The server knows one blank only: it refuses a no-break space, an ideographic one and the like.
        if not name.isprintable():
            raise InvalidNameError(
                f"Vault cannot hold the name {name!a}: it has a blank other than the plain one",
                name=name,
                hint="use another name, or route this one to another backend",
            )
        return self._before + name

    def folder(self, prefix: str) -> str:
        """Return a folder's path inside the engine with a slash at its end, or nothing for the engine itself.

        Raises:
            InvalidNameError: The server would refuse it.
        """
        return self.inside(prefix) + "/" if prefix else self._before


def quoted(path: str) -> str:
    """Return a path for a URL: each segment quoted, the slashes between them as they are."""
    return quote(path, safe="/")


def canonical(text: str) -> SecretName | None:
    """Return a name that a server has, unless strongroom has another spelling for it, or none.

    Whoever asked for the other spelling would get another secret, or nothing.
    """
    try:
        name = SecretName(text)
    except InvalidNameError:
        return None
    return name if name == text else None


def is_path(text: str) -> bool:
    """Tell whether a text, apart from slashes around it, is segments as names have them, or none at all."""
    path = text.strip("/")
    return not path or canonical(path) is not None
