"""Turns a server's refusal into one of strongroom's errors."""

from __future__ import annotations

from strongroom.errors import (
    AccessDeniedError,
    AuthenticationError,
    BackendError,
    SecretNotFoundError,
    StrongroomError,
    ValueTooLargeError,
)
from strongroom_vault.replies import Reply

_BAD_TOKEN = "permission denied"
"""All that the server says of a token that it does not know; of what a policy denies it says more."""


def token_refused(reply: Reply) -> bool:
    """Tell whether a 403 speaks of the token rather than of what it may do."""
    return reply.status == 403 and reply.errors.strip() == _BAD_TOKEN


def refusal(reply: Reply, what: str, *, name: str | None = None) -> StrongroomError:
    """Return the error for an answer of status 400 or above that has no meaning of its own for the operation.

    Args:
        reply: The answer.
        what: What was tried, such as ``reading app/key``.
        name: The secret's name, where one is concerned.
    """
    if token_refused(reply):
        return AuthenticationError(
            f"the server refused the token in {what}", name=name, hint="log in again, or renew the configured token"
        )
    if reply.status == 403:
        return AccessDeniedError(
            f"the server does not allow {what}", name=name, hint="ask for a policy that does; see the token's policies"
        )
    if reply.status == 404:
        return SecretNotFoundError(f"there is nothing for {what}", name=name)
    if reply.status == 413:
        return ValueTooLargeError(f"the server found the request for {what} too large", size=0, limit=0, name=name)
    return BackendError(f"the server answered {what} with HTTP status {reply.status}", name=name)
