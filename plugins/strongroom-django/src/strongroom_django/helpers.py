"""What a settings module calls: secrets as text, earlier secret keys, and databases."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, TypeVar, overload

from strongroom.errors import ConfigurationError, SecretNotFoundError
from strongroom_django.hidden import HiddenText, known
from strongroom_django.logins import AT_CONNECT, LOGIN, WHOLE, Login
from strongroom_django.managers import manager

D = TypeVar("D")

POSTGRESQL: Final = "strongroom_django.postgresql"
"""The engine that logs in with what the secret says at each connect."""

_NONE: Final = object()


@overload
def secret(name: str, *, field: str | None = None) -> HiddenText: ...


@overload
def secret(name: str, *, field: str | None = None, default: D) -> HiddenText | D: ...


def secret(name: str, *, field: str | None = None, default: Any = _NONE) -> Any:
    """Return a secret's text for a setting.

    It is read when the settings are loaded, and stays as it is until the process starts anew.

    Args:
        name: The secret's name.
        field: One member of a secret that is a JSON object.
        default: What to return if there is no such secret, or no such member; in any other case it is an error.

    Returns:
        The text, which ``repr`` does not show.

    Raises:
        SecretNotFoundError: There is no such secret or member, and no default.
        InvalidValueError: It is no text, or no JSON object where a member is asked for.
        StrongroomError: It cannot be read.
    """
    try:
        return known.reveal(manager().get(name, field=field), _place(name, field))
    except SecretNotFoundError:
        if default is _NONE:
            raise
        return default


def secret_key_fallbacks(name: str, *, field: str | None = None, keep: int = 1) -> list[str]:
    """Return earlier versions of a secret key, newest first, for ``SECRET_KEY_FALLBACKS``.

    So sessions and links that were signed before a rotation stay valid after it, as long as the backend keeps the
    version. One that has been destroyed is left out: destroy it if the key has become known to others.

    Args:
        name: The secret's name.
        field: One member of a secret that is a JSON object.
        keep: How many earlier versions, at most.

    Raises:
        UnsupportedOperationError: The backend keeps no versions.
        SecretNotFoundError: There is no such secret.
        StrongroomError: A version cannot be read.
    """
    opened = manager()
    earlier = [one for one in opened.versions(name) if one.state == "superseded"]
    found: list[str] = []
    for one in reversed(earlier[-keep:] if keep > 0 else []):
        try:
            found.append(known.reveal(opened.get(name, version=one.version, field=field), _place(name, field)))
        except SecretNotFoundError:
            # Destroyed since the versions were listed, or of a time when it had no such member.
            continue
    return found


def database(name: str, *, members: Mapping[str, str] | None = None, **settings: Any) -> dict[str, Any]:
    """Return an entry of ``DATABASES`` whose login is a secret.

    With the engine ``strongroom_django.postgresql``, which is the one unless another is given, the secret is read at
    each new connection, so a rotated password is used without a restart. With any other engine it is read now.

    Args:
        name: The secret's name.
        members: Which member of the secret, a JSON object, is which setting; ``{"USER": "username", "PASSWORD":
            "password"}`` unless given. If ``USER`` is among the settings, the whole secret is the password.
        settings: Everything else as Django has it: ``ENGINE``, ``NAME``, ``HOST``, ``OPTIONS`` and so on.

    Raises:
        ConfigurationError: A setting is given twice, or one is to come from the secret that cannot.
        StrongroomError: The secret is read now, and cannot be.
    """
    entry = {"ENGINE": POSTGRESQL, **settings}
    if members is None:
        members = {"PASSWORD": WHOLE} if "USER" in settings else {"USER": "username", "PASSWORD": "password"}
    twice = sorted(members.keys() & entry.keys())
    if twice:
        raise ConfigurationError(
            f"{', '.join(twice)} is given, and a member of {name} as well", hint="say one of the two"
        )
    login = Login(name, members)
    if entry["ENGINE"] != POSTGRESQL:
        return entry | login.read()
    others = sorted(members.keys() - set(AT_CONNECT))
    if others:
        raise ConfigurationError(
            f"{', '.join(others)} cannot come from a secret at each connect", hint=f"only {', '.join(AT_CONNECT)} can"
        )
    return entry | {LOGIN: {"secret": name, "members": dict(members)}}


def _place(name: str, field: str | None) -> str:
    return name if field is None else f"{name}#{field}"
