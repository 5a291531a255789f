"""Asking for something below hvac's client, where each status of the answer has a meaning of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from strongroom_vault.adapter import VaultAdapter
from strongroom_vault.replies import RefusedError, Reply

Failure = TypeVar("Failure", bound=BaseException)


class AskingAdapter(VaultAdapter):
    """Returns each answer as it is, whatever its status, so that hvac's methods do, too."""

    def request(self, method: str, url: str, headers: Mapping[str, str] | None = None, **options: Any) -> Reply:
        """Send a request of hvac's, or one that it has no method for.

        Returns:
            The answer, whatever its status.

        Raises:
            StrongroomError: There is no answer. Its traceback does not lead to where the token is known.
        """
        try:
            return self.send(
                method.upper(),
                url,
                headers=headers,
                content=options.get("json"),
                parameters=options.get("params"),
                timeout=options.get("timeout"),
                repeatable=options.get("repeatable"),
            )
        except RefusedError as refused:
            return refused.reply
        # Ctrl-C, too.
        except BaseException as error:  # noqa: BLE001  # raised again below
            failure = bare(error)
        raise failure


def bare(error: Failure) -> Failure:
    """Return an error without its tracebacks and those of its causes: their frames know tokens and values."""
    pending: list[BaseException | None] = [error]
    seen: set[int] = set()
    while pending:
        link = pending.pop()
        if link is not None and id(link) not in seen:
            seen.add(id(link))
            link.__traceback__ = None
            pending += [link.__cause__, link.__context__]
    return error
