"""An optional interface of backends that can say which versions are current without giving the values."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from strongroom._record import Record
from strongroom.errors import StrongroomError
from strongroom.model import SecretName


class CurrentVersionsRequest(Record):
    """Say which versions of several secrets are current."""

    names: tuple[SecretName, ...]


class CurrentVersionsResult(Record):
    """The current versions. A name that has neither a version nor an error has been left out: nobody can say."""

    versions: dict[SecretName, str | None]
    """The version that a read would return now, by name; ``None`` where there is no such secret, or no more."""
    errors: dict[SecretName, StrongroomError]
    """Why a name's version cannot be told."""
    values_fetched: bool = False
    """Whether values had to be fetched for that, and were thrown away."""
    request_id: str | None = None


class VersionPolling(ABC):
    """Says which versions are current, more cheaply than by reading; a :class:`Backend` may implement it, too.

    The core asks every few seconds for the names that a process holds, to notice what others have changed. So it is to
    cost as few requests as may be, and to fetch no value where that can be avoided. What it says is not the last word:
    when a version is another one than before, the core reads the secret.

    Attributes:
        versions_at_once: How many names one call is given at most.
    """

    versions_at_once: ClassVar[int] = 100

    @property
    def versions_are_shared(self) -> bool:
        """Whether each process is told the same version of what has not changed; yes unless overridden.

        It is asked after a read. Where the versions are made anew in each process, with a key that no other one has
        say, nobody may compare those of two.
        """
        return True

    @abstractmethod
    def current_versions(self, request: CurrentVersionsRequest) -> CurrentVersionsResult:
        """Return the current versions of several secrets, as a read would name them.

        Leased names, each read of which makes a credential, are left out.

        Raises:
            AuthenticationError: Our own credentials were refused.
            BackendUnavailableError: No answer for any name; an outage.
        """
