"""What is told of rotations: plans, states, and what a run of everything that is due has done."""

from __future__ import annotations

from datetime import datetime

from strongroom._record import Record
from strongroom.errors import StrongroomError
from strongroom.model import SecretName
from strongroom.outcomes import Rotated


class RotationPlan(Record):
    """What rotating a secret now would do; nothing is done, and no value made."""

    name: SecretName
    backend: str
    """The configured name of its backend."""
    rotator: str
    """The rotator's type; ``the backend's service`` if that rotates it; ``random`` without a rule."""
    version: str
    """The version that would be replaced; empty if that could not be found out."""
    steps: tuple[str, ...]
    """What would be done, in order, one sentence each."""
    obstacle: StrongroomError | None = None
    """Why it would be refused now; ``None`` if it would not."""


class RotationStatus(Record):
    """How the rotation of a name stands."""

    name: SecretName
    """The secret's; a rule's pattern where the names that it is for could not be listed."""
    pattern: str
    """Of the rule for it."""
    rotator: str
    state: str
    """``idle``, ``running`` (somebody leads it), ``left`` (to be resumed or undone), ``overlap`` (all is done but
    taking the former value from the dependent), or ``unknown``, see ``problem``."""
    id: str | None = None
    """Of the rotation that is pending."""
    step: str | None = None
    """The step that is next."""
    attempt: int | None = None
    """Which candidate it is."""
    began: datetime | None = None
    """When it was begun or taken over last."""
    until: datetime | None = None
    """When the overlap ends, or from when on others may take it over."""
    owner: str | None = None
    """Who leads it or has left it, such as ``process 4711 on web-1``."""
    rotated: datetime | None = None
    """When the last rotation was promoted."""
    problem: str = ""
    """Why nothing could be found out; a sentence."""


class DueFailure(Record):
    """A rotation that was due and did not come to its end."""

    name: SecretName
    """The secret's; a rule's pattern where the names that it is for could not be listed."""
    error: StrongroomError


class DueRun(Record):
    """What a run of everything that is due has done."""

    rotated: tuple[Rotated, ...] = ()
    resumed: tuple[Rotated, ...] = ()
    """Rotations that had been left, or whose overlap is over, and are done now."""
    waiting: tuple[SecretName, ...] = ()
    """Due, but their window is not open, or the former value has still to go on working."""
    running: tuple[SecretName, ...] = ()
    """Led by another process or thread just now; that is no failure."""
    failed: tuple[DueFailure, ...] = ()
