"""What a manager offers about rotations beyond ``rotate``: plans, states, what was left, what is due."""

from __future__ import annotations

from collections.abc import Callable

from strongroom.audit.stage import recorded_at_once
from strongroom.contracts.service_rotation import Schedule
from strongroom.model import SecretName
from strongroom.outcomes import Rotated
from strongroom.rotation.changes import RotationChanger, Undone
from strongroom.rotation.due import DueRound
from strongroom.rotation.overview import Overview
from strongroom.rotation.plans import planned
from strongroom.rotation.reports import DueFailure as DueFailure
from strongroom.rotation.reports import DueRun as DueRun
from strongroom.rotation.reports import RotationPlan as RotationPlan
from strongroom.rotation.reports import RotationStatus as RotationStatus
from strongroom.rotation.runner import EVERY_SECONDS, runner_of
from strongroom.stages.gate import Gate
from strongroom.wiring import Parts


class RotationDesk:
    """Looks after rotations as one principal; ``manager.rotation``.

    Args:
        parts: The stages of the manager.
        gate: Decides what the principal may do.
        drop: Forgets every cached copy of a secret.
    """

    def __init__(self, parts: Parts, gate: Gate, drop: Callable[[SecretName], None]) -> None:
        self._parts = parts
        self._gate = gate
        self._changer = RotationChanger(parts, gate, drop)

    @recorded_at_once
    def plan(self, name: str) -> RotationPlan:
        """Return what rotating a secret now would do; nothing is changed, and no value is made.

        The rotator is opened, since its settings may be wrong, but not asked for anything. It takes the right to
        rotate the secret.

        Args:
            name: The secret's name; it need not have a rule.

        Returns:
            The steps, and as ``obstacle`` the error with which ``rotate`` would refuse it now, if it would.

        Raises:
            InvalidNameError: The name is not one that a secret can have.
            AccessDeniedError: This principal may not rotate it.
            AuditError: The look could not be recorded.
        """
        return planned(self._parts, self._gate, name)

    @recorded_at_once
    def status(self, prefix: str = "") -> tuple[RotationStatus, ...]:
        """Return how the rotations of all secrets stand that a ``[rotation]`` table is for, sorted by name.

        Those are the names that the tables give exactly, and of the names below their patterns those that the
        backends list. Only what this principal may list is shown, and nothing that a backend's service rotates.

        Args:
            prefix: A folder with or without its final slash, or one secret's name; empty for all.

        Raises:
            InvalidNameError: The prefix is none.
            AuditError: The look could not be recorded.
        """
        return Overview(self._parts, self._gate).status(prefix)

    @recorded_at_once
    def schedule(self, prefix: str = "") -> tuple[Schedule, ...]:
        """Return when secrets are rotated, sorted by name: by the services of backends, and by our own rules.

        Only what this principal may list is shown. A secret that a service rotates is not rotated by a rule.

        Args:
            prefix: A folder with or without its final slash; empty for all. For what rules rotate it may be one
                secret's name, too.

        Raises:
            InvalidNameError: The prefix is none.
            BackendUnavailableError: A service does not say when it rotates.
            AuditError: The look could not be recorded.
        """
        return Overview(self._parts, self._gate).schedule(prefix)

    @recorded_at_once
    def rotate_due(self, prefix: str = "", *, ignore_windows: bool = False) -> DueRun:
        """Rotate all that is due, one after the other; resume what was left, and finish what its overlap held up.

        A rotation that was missed is made once, however long ago it was due. One that fails does not stop the
        others. Only what this principal may rotate is looked at; a backend has to list names for the rules with
        patterns. Several processes may do that at the same time: what one of them leads, the others leave alone.

        Args:
            prefix: A folder with or without its final slash, or one secret's name; empty for all.
            ignore_windows: Whether to rotate what is due although its window is not open.

        Returns:
            What was done, and each failure with its error.

        Raises:
            InvalidNameError: The prefix is none.
            AuditError: The look could not be recorded.
        """
        return self._round(prefix, ignore_windows=ignore_windows, goes_on=lambda: True)

    def _run_due(self, goes_on: Callable[[], bool]) -> DueRun:
        return self._round("", ignore_windows=False, goes_on=goes_on)

    def _round(self, prefix: str, *, ignore_windows: bool, goes_on: Callable[[], bool]) -> DueRun:
        made = DueRound(self._parts, self._gate, self._changer, runner_of(self._parts), goes_on=goes_on)
        return made.run(prefix, ignore_windows=ignore_windows)

    def start(self, *, every: float | None = None) -> None:
        """Have a daemon thread call :meth:`rotate_due` again and again, until :meth:`stop` or the manager's end.

        The first time is within ``every`` seconds from now, and two are at least half of that apart, since many
        processes may do so. Started once more, it goes on with the new time, as the principal who started it last.
        A forked child starts none by itself.

        Args:
            every: Seconds; what ``rotate_every`` at the top of the configuration says unless given, else 300.

        Raises:
            ConfigurationError: The time is not above 0.
            ClosedError: The manager is closed.
        """
        seconds = self._parts.configuration.rotate_every or EVERY_SECONDS if every is None else every
        runner_of(self._parts).start(self._run_due, seconds)

    def stop(self) -> None:
        """End what :meth:`start` has begun, if it has; a rotation that is under way goes on to its end."""
        runner_of(self._parts).stop()

    def resume(self, name: str, *, force: bool = False) -> Rotated:
        """Lead a rotation that was left to its end; see :meth:`RotationChanger.resume`."""
        return self._changer.resume(name, force=force)

    def undo(self, name: str, *, force: bool = False) -> Undone:
        """Have a pending rotation's dependent and secret be as before; see :meth:`RotationChanger.undo`."""
        return self._changer.undo(name, force=force)
