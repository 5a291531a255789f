"""Turns a server's refusal into one of strongroom's errors."""

from __future__ import annotations

from typing import Final

from strongroom.errors import (
    AccessDeniedError,
    AuthenticationError,
    BackendError,
    BackendUnavailableError,
    ConfigurationError,
    InvalidNameError,
    InvalidValueError,
    SecretDeletedError,
    SecretNotFoundError,
    StrongroomError,
    ValueTooLargeError,
)
from strongroom_vault.history import DESTROYED, Seen
from strongroom_vault.replies import Reply

_BAD_TOKEN: Final = "permission denied"
"""All that the server says of a token that it does not know; of what a policy denies it says more."""
_INVALID: Final = "invalid token"
"""What newer servers add in that case."""
_NO_ENGINE: Final = "no handler for route"
_NO_NAMESPACE: Final = "namespace not found"
_NO_PATH: Final = "unsupported path"
"""What an engine of another kind says, whatever it is asked for as if it kept values."""
_VERSIONED: Final = "versioned K/V"
_TOO_LARGE: Final = "too large"
_TOO_COMPLEX: Final = "high complexity"
_UPGRADING: Final = "Upgrading from non-versioned"
"""An engine of version 2 says so for a moment after it has been mounted, too."""


def token_refused(reply: Reply) -> bool:
    """Tell whether a 403 speaks of the token rather than of what it may do."""
    return reply.status == 403 and not reply.denied and (reply.errors.strip() == _BAD_TOKEN or _INVALID in reply.errors)


def nothing_there(reply: Reply) -> bool:
    """Tell whether a 404 says that the engine was asked and has nothing there, and no more than that."""
    return reply.status == 404 and not reply.errors and not reply.data and not _warnings(reply)


def is_versioned(reply: Reply) -> bool:
    """Tell whether a 404 is that of an engine of version 2 which was asked as if it were one of version 1."""
    return reply.status == 404 and _VERSIONED in _warnings(reply)


def is_of_2(reply: Reply) -> bool:
    """Tell whether an answer is what an engine of version 2 gives for a version, be that deleted or not."""
    data = reply.data
    metadata, fields = data.get("metadata"), data.get("data", "")
    is_one = isinstance(metadata, dict) and "version" in metadata and (fields is None or isinstance(fields, dict))
    del data, metadata, fields  # in version 1 they may be values, and an error's traceback would keep them
    return is_one


def refusal(reply: Reply, what: str, *, name: str | None = None, size: int = 0) -> StrongroomError:
    """Return the error for an answer of status 400 or above that has no meaning of its own for the operation.

    Args:
        reply: The answer.
        what: What was tried, such as ``reading app/key``.
        name: The secret's name, where one is concerned.
        size: How many bytes the value has that was sent, where one was.
    """
    if token_refused(reply):
        return AuthenticationError(
            f"the server refused the token in {what}", name=name, hint="log in again, or renew the configured token"
        )
    if reply.status == 403:
        return AccessDeniedError(
            f"the server does not allow {what}", name=name, hint="ask for a policy that does; see the token's policies"
        )
    misplacement = misplaced(reply, what, name)
    if misplacement is not None:
        return misplacement
    if reply.status == 404 and not reply.errors:
        return SecretNotFoundError(f"there is nothing for {what}", name=name)
    if reply.status == 413 or _TOO_LARGE in reply.errors:
        return ValueTooLargeError(
            f"the server found the request for {what} too large",
            size=size,
            limit=max(size - 1, 0),
            name=name,
            hint="set max_value to what the server takes, and store a smaller value",
        )
    if _TOO_COMPLEX in reply.errors:
        return InvalidValueError(
            f"the server found the request for {what} to have too many members or levels",
            name=name,
            hint="store the value as one text, rather than as fields",
        )
    if _UPGRADING in reply.errors:
        return BackendUnavailableError(f"the engine is being upgraded, so {what} is not possible yet", name=name)
    if reply.status == 400 and not reply.body:
        # A path with a character that the server's language does not count as printable is refused like this.
        return InvalidNameError(f"the server refused the path for {what}", name=name, hint="use another name")
    return BackendError(
        f"the server answered {what} with HTTP status {reply.status}",
        name=name,
        hint="the server's own log says why",
    )


def misplaced(reply: Reply, what: str, name: str | None = None) -> ConfigurationError | None:
    """Return the error for a 404 that says that no such engine was asked, or nothing for any other answer."""
    if reply.status != 404:
        return None
    if _NO_ENGINE in reply.errors:
        trouble, hint = "there is no engine", "check `mount`, and that `namespace` is the one it is in"
    elif _NO_PATH in reply.errors:
        trouble, hint = "there is an engine of another kind", "check `mount`"
    elif _NO_NAMESPACE in reply.errors:
        trouble, hint = "there is no such namespace", "check `namespace`"
    elif is_versioned(reply):
        return versioned(what, name)
    else:
        return None
    return ConfigurationError(f"{trouble} where the server was asked in {what}", name=name, hint=hint)


def versioned(what: str, name: str | None = None) -> ConfigurationError:
    """Return the error for an engine of version 2 that was asked as if it were one of version 1."""
    return ConfigurationError(
        f"the engine keeps versions where the server was asked in {what}",
        name=name,
        hint='set kv_version to 2, or to "detect"',
    )


def _warnings(reply: Reply) -> str:
    given = reply.body.get("warnings")
    return "; ".join(map(str, given)) if isinstance(given, list) else ""


def missing(name: str, version: str | None = None) -> SecretNotFoundError:
    """Return the error for a secret, or a version of one, that the server has not got.

    Args:
        name: The secret's name.
        version: The version that was asked for, if one was.
    """
    if version is None:
        return SecretNotFoundError(f"Vault has no secret {name}", name=name, hint="check the name's spelling")
    return SecretNotFoundError(
        f"Vault has no version {version} of {name}",
        code="version_not_found",
        name=name,
        hint="`strongroom versions` lists those that are kept",
    )


def gone(name: str, seen: Seen) -> SecretDeletedError:
    """Return the error for a version that is deleted or destroyed.

    Args:
        name: The secret's name.
        seen: What was found of it.
    """
    destroyed = seen.state == DESTROYED
    return SecretDeletedError(
        f"version {seen.version} of {name} is {seen.state}",
        code="destroyed" if destroyed else "deleted",
        when=seen.when.isoformat() if seen.when else None,
        name=name,
        hint="write it anew, or read an older version" if destroyed else "undelete it, or read an older version",
    )


def misfit(what: str, name: str | None = None, *, done: str = "") -> ConfigurationError:
    """Return the error for an answer that an engine of version 2 does not give.

    Args:
        what: What was tried, such as ``reading app/key``.
        name: The secret's name, where one is concerned.
        done: What came of it all the same.
    """
    return ConfigurationError(
        f"the engine that was asked in {what} is not one of version 2" + (f", and {done}" if done else ""),
        name=name,
        hint='set kv_version to 1, or to "detect"',
    )


def foreign(what: str, name: str | None = None) -> BackendError:
    """Return the error for an answer that no key-value engine gives."""
    return BackendError(
        f"the answer to {what} is not that of a key-value engine", name=name, hint="check the address, and `mount`"
    )
