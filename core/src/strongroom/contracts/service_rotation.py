"""An optional interface of backends whose own service rotates secrets.

Then strongroom makes no value: it sets the service's rotation up, triggers it,
watches it, and reads back when the next one is due.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from datetime import datetime

from strongroom._record import Record
from strongroom.model import SecretName


class Schedule(Record):
    """When a secret is rotated, and by whom."""

    name: SecretName
    rule: str
    """How often, in the service's own words, such as ``every 30 days`` or ``cron(0 4 ? * SUN *)``."""
    by: str
    """What rotates it, such as a function's name; never a credential."""
    enabled: bool = True
    last: datetime | None = None
    """When it was rotated last, with its offset from UTC."""
    next: datetime | None = None
    """When it is to be rotated next, at the latest, with its offset from UTC."""
    window: float | None = None
    """How many seconds after ``next`` a rotation may begin, where there is such a window."""
    due: datetime | None = None
    """From when on it is due, with its offset from UTC; before ``next`` if it waits for a window to open."""
    warn_from: datetime | None = None
    """From when on it is due soon, with its offset from UTC."""
    ends: datetime | None = None
    """When the current value ends by itself, with its offset from UTC, as far as that is known."""
    pattern: str | None = None
    """Of the ``[rotation]`` table by which strongroom rotates it; ``None`` for what a service rotates."""
    state: str = ""
    """``ok``, ``due soon``, ``due``, ``overdue``, ``running`` (somebody leads a rotation), ``left`` (one is to be
    resumed or undone), ``off`` (only when somebody asks for it), or ``unknown``, see ``problem``. A backend leaves it
    empty, and the core fills it in."""
    problem: str = ""
    """Why nothing could be found out, or what is odd about it; a sentence."""


class SchedulesRequest(Record):
    """List the schedules of the secrets below a folder."""

    prefix: str = ""
    """A folder without its final slash, as in ``ListRequest``."""


class SchedulesResult(Record):
    """The schedules of all secrets that the service rotates, sorted by name."""

    schedules: tuple[Schedule, ...]
    request_id: str | None = None


class TriggerRotationRequest(Record):
    """Have the service rotate a secret now."""

    name: SecretName
    token: str
    """What names this rotation, a UUID: triggered with it again, it is the same one."""


class TriggerRotationResult(Record):
    """The rotation that the service has begun."""

    version: str
    """The version that it will make."""
    request_id: str | None = None


class RotationStatusRequest(Record):
    """Say how far a rotation that the service does has come."""

    name: SecretName
    version: str
    """The version that it makes."""


class RotationStatusResult(Record):
    """How far a rotation has come."""

    done: bool
    """Whether its version is the current one, or has been."""
    current: str | None
    """The version that is current now."""
    request_id: str | None = None


class ServiceRotation(ABC):
    """Has its service rotate some secrets; a :class:`Backend` may implement it, too."""

    @abstractmethod
    def rotates(self, name: SecretName) -> bool:
        """Tell whether the service rotates a secret, so that nobody else may. It may ask the service.

        Raises:
            SecretNotFoundError: There is no such secret.
        """

    @abstractmethod
    def trigger_rotation(self, request: TriggerRotationRequest) -> TriggerRotationResult:
        """Have the service rotate a secret now, setting its rotation up if need be; it goes on when this returns.

        Raises:
            SecretNotFoundError: There is no such secret.
            ConfigurationError: It has no rotation, and the settings do not say how to set one up.
            VersionConflictError: A rotation is under way already.
        """

    @abstractmethod
    def rotation_status(self, request: RotationStatusRequest) -> RotationStatusResult:
        """Say how far a rotation has come.

        Raises:
            SecretNotFoundError: There is no such secret.
        """

    @abstractmethod
    def schedules(self, request: SchedulesRequest) -> SchedulesResult:
        """List what the service rotates, and when."""
