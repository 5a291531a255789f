"""Passwords from a keyring of the desktop or of another library, read through the library ``keyring``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from strongroom.errors import (
    BackendError,
    ConfigurationError,
    InvalidNameError,
    InvalidValueError,
    SecretNotFoundError,
    StrongroomError,
)
from strongroom.model import SecretValue
from strongroom.references import segment

if TYPE_CHECKING:
    from keyring.backend import KeyringBackend

FOLDER: Final = "keyring/"
"""Where strongroom-keyring looks for passwords unless it is told otherwise."""
EMPTY: Final = "%"
"""The part of a name for an empty service or user, as strongroom-keyring writes it; no text has this segment."""
_OURS: Final = "strongroom_keyring"


def read(
    entries: Sequence[tuple[str, str]], backend: str | None
) -> tuple[dict[str, SecretValue], list[StrongroomError]]:
    """Return the passwords of entries by the names that strongroom-keyring gives them, and what could not be had.

    Args:
        entries: Service and user of each: a keyring does not say what it holds.
        backend: The class of the keyring, with its module; the one that is configured unless given.

    Raises:
        ConfigurationError: The library is not installed, there is no such keyring, or it is strongroom's own.
        BackendError: The keyring failed.
    """
    keyring = _opened(backend)
    found: dict[str, SecretValue] = {}
    problems: list[StrongroomError] = []
    for service, username in entries:
        try:
            name = f"{_part(service)}/{_part(username)}"
            if name in found:
                raise ConfigurationError(f"{username!a} of {service!a} is asked for twice", hint="leave one out")
            found[name] = _password(keyring, service, username)
        except (ConfigurationError, InvalidNameError, SecretNotFoundError) as error:
            problems.append(error)
    return found, problems


def _part(text: str) -> str:
    return segment(text) if text else EMPTY


def _opened(name: str | None) -> KeyringBackend:
    try:
        import keyring
    except ImportError as error:
        raise ConfigurationError(
            "the library keyring is not installed", hint='pip install "strongroom[keyring]"'
        ) from error
    from keyring.core import load_keyring

    try:
        found = load_keyring(name) if name else keyring.get_keyring()
    # The boundary to other people's keyrings: their modules may fail in any way, and say anything.
    except Exception as error:
        raise ConfigurationError(
            f"the keyring {name or 'that is configured'} cannot be used: it failed with {type(error).__name__}",
            hint="name the class of one with --keyring-backend; `keyring --list-backends` shows them",
        ) from error
    if type(found).__module__.partition(".")[0] == _OURS:
        raise ConfigurationError(
            "the keyring that is configured is strongroom's own, which holds what strongroom holds",
            hint="name the one to read from with --keyring-backend",
        )
    return found


def _password(keyring: KeyringBackend, service: str, username: str) -> SecretValue:
    try:
        password = keyring.get_password(service, username)
    # The boundary to other people's keyrings, as above.
    except Exception as error:
        raise BackendError(
            f"the keyring {type(keyring).__module__} gave no answer: it failed with {type(error).__name__}",
            hint="is it unlocked, and is there one? `keyring --list-backends` shows them",
        ) from error
    if password is None:
        raise SecretNotFoundError(
            f"the keyring has no password for {username!a} of {service!a}",
            hint="nothing was imported; `keyring get SERVICE USERNAME` shows what is there",
        )
    try:
        return SecretValue(password)
    except InvalidValueError:
        pass
    del password
    # Raised outside the handler, where no local variable shows it.
    raise ConfigurationError(
        f"the password for {username!a} of {service!a} holds half of a surrogate pair", hint="mend it in the keyring"
    )
