"""What a template can call: it reads secrets, each once in a rendering, and notes which."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, NoReturn

from strongroom.errors import ConfigurationError, InvalidNameError, InvalidValueError
from strongroom.model import Secret, SecretName
from strongroom.references import Reference

if TYPE_CHECKING:
    from strongroom.manager import SecretManager

_BYTES_HINT: Final = "add | b64encode to have them in base64"


class Revealed(str):
    """A secret's text in a template; it is no name of another secret."""

    __slots__ = ()


class RevealedBytes(bytes):
    """A secret's bytes in a template, which do not become text by themselves."""

    __slots__ = ()

    def __str__(self) -> NoReturn:
        raise InvalidValueError("bytes cannot stand in a text", hint=_BYTES_HINT)

    def __format__(self, spec: str) -> NoReturn:
        raise InvalidValueError("bytes cannot stand in a text", hint=_BYTES_HINT)

    def __repr__(self) -> str:
        return "<bytes: hidden>"


class Reads:
    """The secrets of one rendering: within it, one name gives one version, however often it is read.

    Args:
        manager: Reads them, as its principal.
        on_use: Told each name before it is read for the first time.

    Attributes:
        used: The names that were asked for, also those that could not be read.
        listed: The names that templates have got when they asked which there are.
        has_listed: Whether one has asked.
        asking: What the present call was given; empty when it has succeeded.
    """

    def __init__(self, manager: SecretManager, *, on_use: Callable[[SecretName], object] = lambda _: None) -> None:
        self._manager = manager
        self._on_use = on_use
        self._found: dict[tuple[SecretName, str | None], Secret] = {}
        self.used: set[SecretName] = set()
        self.listed: set[str] = set()
        self.has_listed = False
        self.asking: tuple[str, ...] = ()

    def functions(self) -> dict[str, Callable[..., Any]]:
        """Return what templates can call, by name."""
        return {
            "secret": self.secret,
            "secret_bytes": self.secret_bytes,
            "names": self.names,
            "reference": self.reference,
        }

    def found(self) -> list[Secret]:
        """Return what was read."""
        return list(self._found.values())

    def has_texts(self) -> bool:
        """Tell whether any secret was read."""
        return bool(self._found)

    def secret(self, name: str, field: str | None = None, version: str | int | None = None) -> str:
        """Return a secret's text.

        Args:
            name: The secret's name.
            field: One member of a value that is a JSON object.
            version: An older version; the current one unless given.

        Raises:
            InvalidValueError: It is not text, or not a JSON object.
            StrongroomError: As for :meth:`SecretManager.get`.
        """
        secret = self._read(name, field, version)
        try:
            return Revealed(secret.reveal_text())
        except InvalidValueError as error:
            raise InvalidValueError(
                f"{secret.name} is not UTF-8 text",
                code="not_text",
                name=secret.name,
                hint="write secret_bytes(...) | b64encode",
            ) from error

    def secret_bytes(self, name: str, field: str | None = None, version: str | int | None = None) -> bytes:
        """Return a secret's exact bytes, for a filter such as ``b64encode``.

        Args:
            name: The secret's name.
            field: One member of a value that is a JSON object.
            version: An older version; the current one unless given.

        Raises:
            StrongroomError: As for :meth:`SecretManager.get`.
        """
        return RevealedBytes(self._read(name, field, version).reveal())

    def names(self, prefix: str = "") -> list[str]:
        """Return the names below a prefix that may be listed, sorted.

        Args:
            prefix: A folder with or without its final slash; empty for all.

        Raises:
            StrongroomError: As for :meth:`SecretManager.list`.
        """
        self.has_listed = True
        self._ask(prefix)
        found = [str(name) for name in self._manager.list(_own_text(prefix, "prefix"))]
        self.asking = ()
        self.listed.update(found)
        return found

    def reference(self, text: str) -> str:
        """Return the text of what a reference stands for.

        Args:
            text: ``strongroom://NAME`` or ``strongroom://NAME#FIELD``.

        Raises:
            InvalidNameError: It is no reference.
            StrongroomError: As for :meth:`secret`.
        """
        self._ask(text)
        found = Reference.parse(_own_text(text, "reference"))
        return self.secret(found.name, found.field)

    def _read(self, name: str, field: str | None, version: str | int | None) -> Secret:
        self._ask(name, field, version)
        name = SecretName(_own_text(name, "secret's name"))
        number = None if version is None else _own_text(version, "version")
        member = None if field is None else _own_text(field, "field")
        key = (name, number)
        if key not in self._found:
            self.used.add(name)
            self._on_use(name)
            self._found[key] = self._manager.get(name, version=number)
        secret = self._found[key] if member is None else self._found[key].field(member)
        self.asking = ()
        return secret

    def _ask(self, *given: object) -> None:
        self.asking = tuple(str(one) for one in given if isinstance(one, str | int))


def _own_text(text: object, what: str) -> str:
    """Return a text that may stand in errors and in the trail.

    Raises:
        ConfigurationError: It is a secret's value.
        InvalidNameError: It is no text at all.
    """
    if isinstance(text, Revealed | RevealedBytes):
        raise ConfigurationError(
            f"a secret's value is used as a {what}, which errors and the trail would show",
            hint="name secrets in the template itself",
        )
    if isinstance(text, bool) or not isinstance(text, str | int):
        raise InvalidNameError(f"a {what} is text, not {type(text).__name__}", hint="put it in quotes")
    return str(text)
