"""Saying which versions are current, several at a time."""

from __future__ import annotations

from collections.abc import Sequence

from strongroom.contracts import CurrentVersionsResult
from strongroom.errors import AuthenticationError, BackendUnavailableError, StrongroomError
from strongroom.model import SecretName
from strongroom_vault.engine import Current, Engine
from strongroom_vault.listing import at_once


def current_versions(engine: Engine, names: Sequence[SecretName]) -> CurrentVersionsResult:
    """Return the current versions of some names; see ``VersionPolling.current_versions``.

    Args:
        engine: Where they are.
        names: The names; no leased ones.

    Raises:
        AuthenticationError: The token was refused.
        BackendUnavailableError: No answer; the names that are left are not asked for, either.
    """
    troubles: list[StrongroomError] = []

    def ask(name: SecretName) -> Current | StrongroomError:
        if troubles:
            return troubles[0]  # it would be the same for this one
        try:
            return engine.current(name)
        except (AuthenticationError, BackendUnavailableError) as error:
            troubles.append(error.with_traceback(None))
            return error
        except StrongroomError as error:
            # Without its traceback, it holds on to no value.
            return error.with_traceback(None)

    answers = dict(zip(names, at_once(ask, names), strict=True))
    if troubles:
        raise troubles[0]
    found = {name: answer for name, answer in answers.items() if isinstance(answer, Current)}
    return CurrentVersionsResult(
        versions={name: answer.version for name, answer in found.items()},
        errors={name: answer for name, answer in answers.items() if isinstance(answer, StrongroomError)},
        values_fetched=any(answer.is_read for answer in found.values()),
        request_id=next((answer.request_id for answer in found.values() if answer.request_id), None),
    )
