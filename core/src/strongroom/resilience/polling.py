"""Asking a backend which versions are current, in whichever way it can say so."""

from __future__ import annotations

from strongroom.contracts.backend import Backend, ReadManyRequest
from strongroom.contracts.polling import CurrentVersionsRequest, CurrentVersionsResult, VersionPolling
from strongroom.errors import BackendUnavailableError, SecretNotFoundError, StrongroomError
from strongroom.model import SecretName


def current_versions(backend: Backend, request: CurrentVersionsRequest) -> CurrentVersionsResult:
    """Return which versions are current; a backend that cannot say so is read, and the values are thrown away.

    Args:
        backend: The backend itself.
        request: The names.

    Raises:
        BackendUnavailableError: An outage is all that has come of it.
        TypeError: The backend has answered with something else.
    """
    if not isinstance(backend, VersionPolling):
        return _by_reading(backend, request)
    result: object = backend.current_versions(request)
    if not isinstance(result, CurrentVersionsResult):
        raise TypeError(f"CurrentVersionsResult expected, {type(result).__name__} given")
    _raise_outage(dict(result.versions), result.errors)
    return result


def _by_reading(backend: Backend, request: CurrentVersionsRequest) -> CurrentVersionsResult:
    read = backend.read_many(ReadManyRequest(names=request.names))
    versions: dict[SecretName, str | None] = {name: found.version for name, found in read.found.items()}
    # Without its traceback, an error holds on to no value.
    errors = {name: error.with_traceback(None) for name, error in read.errors.items()}
    del read
    absent = [name for name, error in errors.items() if isinstance(error, SecretNotFoundError)]
    versions |= dict.fromkeys(absent)
    _raise_outage(versions, errors)
    return CurrentVersionsResult(
        versions=versions,
        errors={name: error for name, error in errors.items() if name not in versions},
        values_fetched=True,
    )


def _raise_outage(versions: dict[SecretName, str | None], errors: dict[SecretName, StrongroomError]) -> None:
    """Raise an outage that all names have met: then the backend is what is out of reach, and not some secrets."""
    outages = [error for error in errors.values() if isinstance(error, BackendUnavailableError)]
    if outages and not versions and len(outages) == len(errors):
        # First one that is not a limit of our own, if there is one.
        raise min(outages, key=lambda error: error.own_limit)
