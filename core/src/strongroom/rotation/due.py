"""One run over all that is due: what was left is resumed, and what is due is rotated, one after the other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from strongroom.errors import ClosedError, RotationError, StrongroomError
from strongroom.events.updates import Announcement
from strongroom.model import SecretName
from strongroom.outcomes import Rotated
from strongroom.policy import Action
from strongroom.rotation.changes import RotationChanger
from strongroom.rotation.leading import moment
from strongroom.rotation.outlook import Looker, Outlook
from strongroom.rotation.pending import Step
from strongroom.rotation.reports import DueFailure, DueRun
from strongroom.rotation.ruled import find_ruled
from strongroom.rotation.runner import RotationRunner
from strongroom.rotation.timing import SOON, instant
from strongroom.stages.gate import Gate
from strongroom.wiring import Parts

_OTHERS: Final = ("rotation_in_progress", "rotation_lost", "rotation_left_over", "rotation_none")
"""The codes of errors that say that another process or thread is at it: what was left has been resumed before, so what
is found left, or done, after that was begun or led to its end by somebody else meanwhile."""


class DueRound:
    """One such run, as one principal.

    Args:
        parts: The stages of the manager.
        gate: Decides what the principal may rotate.
        changer: Rotates and resumes.
        runner: Remembers what has been announced.
        goes_on: Asked before each secret, whether to go on.
    """

    def __init__(
        self,
        parts: Parts,
        gate: Gate,
        changer: RotationChanger,
        runner: RotationRunner,
        *,
        goes_on: Callable[[], bool] = lambda: True,
    ) -> None:
        self._parts = parts
        self._gate = gate
        self._changer = changer
        self._runner = runner
        self._goes_on = goes_on
        self._looker = Looker(parts, gate, made=runner.made)
        self._ignore_windows = False
        self._rotated: list[Rotated] = []
        self._resumed: list[Rotated] = []
        self._waiting: list[SecretName] = []
        self._running: list[SecretName] = []
        self._failed: list[DueFailure] = []

    def run(self, prefix: str, *, ignore_windows: bool) -> DueRun:
        """Do it; see :meth:`RotationDesk.rotate_due`. It is done once."""
        self._ignore_windows = ignore_windows
        for outlook in self._found(prefix):
            if not self._goes_on():
                break
            self._serve(outlook)
        return DueRun(
            rotated=tuple(self._rotated),
            resumed=tuple(self._resumed),
            waiting=tuple(self._waiting),
            running=tuple(self._running),
            failed=tuple(self._failed),
        )

    def _found(self, prefix: str) -> list[Outlook]:
        folder = self._gate.folder(prefix, event="schedules")
        key = f"{folder}/" if folder else ""
        with self._gate.recording_look("schedules", key, detail="to rotate what is due") as facts:
            found = find_ruled(self._parts, self._gate, folder, Action.ROTATE, itself=not prefix.endswith("/"))
            outlooks = self._looker.look(found.ruled)
            facts.update(count=len(outlooks))
        self._failed += [DueFailure(name=SecretName(one.rule.pattern), error=one.error) for one in found.unlisted]
        # What is half done keeps readers and dependents apart: that comes first, then what has waited longest.
        return sorted(outlooks, key=lambda one: (one.phase != "left", one.timing.due or 0.0, one.name))

    def _serve(self, outlook: Outlook) -> None:
        """Do what one secret needs; whatever fails is noted, and no reason not to go on with the next one."""
        self._announce_due(outlook)
        rotated = len(self._rotated)
        try:
            self._resume_and_rotate(outlook)
        except ClosedError:
            raise
        except StrongroomError as error:
            if isinstance(error, RotationError) and error.code in _OTHERS:
                self._running.append(outlook.name)
            else:
                self._failed.append(DueFailure(name=outlook.name, error=error))
        if len(self._rotated) == rotated:
            self._announce_end(outlook)

    def _resume_and_rotate(self, outlook: Outlook) -> None:
        if outlook.error is not None:
            raise outlook.error
        if outlook.phase == "running":
            self._running.append(outlook.name)
            return
        if outlook.phase == "left":
            self._resume(outlook)
        elif not outlook.timing.is_due(self._now()):
            return
        # Another process may have been faster, and what was resumed may be due.
        for fresh in self._looker.look([outlook.ruled]):
            if fresh.error is not None:
                raise fresh.error
            self._rotate_if_due(fresh)

    def _resume(self, outlook: Outlook) -> None:
        pending = outlook.standing.pending
        try:
            self._resumed.append(self._changer.resume(outlook.name, over_others=False))
        except RotationError as error:
            if pending is None or pending.step is not Step.UNDO or error.code != RotationError.codes[0]:
                raise
            # Somebody has given it up, and now the dependent is as it was before.

    def _rotate_if_due(self, outlook: Outlook) -> None:
        now, when = self._now(), outlook.timing
        if not when.is_due(now):
            return
        if outlook.phase in ("running", "left"):
            self._running.append(outlook.name)
        elif outlook.phase == "overlap" or not (self._ignore_windows or when.is_open(now)):
            self._waiting.append(outlook.name)
        else:
            self._rotated.append(self._rotate(outlook))

    def _rotate(self, outlook: Outlook) -> Rotated:
        name, seen = self._gate.check(Action.ROTATE, outlook.name), outlook.standing.rotated
        self._gate.judge(Action.ROTATE, name)
        return self._changer.rotate(
            name, outlook.ruled.rule, expect_version=None, if_still=lambda standing: standing.rotated == seen
        )

    def _announce_due(self, outlook: Outlook) -> None:
        when, now = outlook.timing, self._now()
        if when.due is None or not (when.is_due(now) or when.state(now) == SOON):
            return
        # What nobody knows is due now, at each look anew.
        if self._runner.is_news("rotation_due", outlook.name, None if when.guessed else when.due):
            self._announce("rotation_due", outlook.name, "its next rotation is due", when.due)

    def _announce_end(self, outlook: Outlook) -> None:
        when, now = outlook.timing, self._now()
        if when.ends is None or not (when.is_due(now) or now >= when.ends - outlook.ruled.rule.keys.warn_before):
            return
        if self._runner.is_news("expiring", outlook.name, when.ends):
            self._announce("expiring", outlook.name, "its value ends by itself", when.ends)

    def _announce(self, kind: str, name: SecretName, what: str, when: float) -> None:
        announcement = Announcement(kind=kind, name=name, detail=f"{what} at {moment(when)}", when=instant(when))
        self._parts.announce(announcement)

    def _now(self) -> float:
        return self._parts.wall_clock() / 1e9
