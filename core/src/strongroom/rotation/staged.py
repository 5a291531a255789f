"""A rotation on a backend that has stages of its own: the pending version is the record, and the fence."""

from __future__ import annotations

import time

from typing import Final

from strongroom.contracts.backend import ReadRequest, ReadResult, VersionsRequest
from strongroom.contracts.staging import DiscardRequest, PromoteRequest, StageRequest, StagesRequest, StagesResult
from strongroom.errors import SecretNotFoundError, VersionConflictError
from strongroom.model import SecretName, SecretValue
from strongroom.resilience.guarded import GuardedBackend
from strongroom.rotation.ledger import Ledger, in_progress, lost
from strongroom.rotation.pending import Pending, Standing, Step
from strongroom.rotation.service import new_uuid
from strongroom.rotation.timing import seconds

_LOOKS: Final = 6
_KIND: Final = 14
"""The place in a UUID that says of which kind it is."""
_UNDOING: Final = "80"
"""The kind of a version that takes a promotion back, one's own by RFC 9562; nothing else tells it from a candidate."""
_STAYING: Final = "81"
"""The kind of a version with the former value, too, of a promotion that could not be taken back."""
_PAUSE: Final = 0.05
"""Seconds between the first two looks; each time twice as long."""
NO_VALUE: Final = SecretValue(b"")
"""Stands where nobody has looked."""


class StagedLedger(Ledger):
    """Keeps rotations in the stages of the secret itself.

    Which step is next is not kept there. A rotation that somebody has left begins
    again with ``apply``, or with ``announce`` if its candidate is the current value. Only that a promotion is being
    taken back is, and that it could not be: the version that holds the former value has another kind of name then.

    Args:
        backend: The secret's backend.
        name: The secret's name.
    """

    def __init__(self, backend: GuardedBackend, name: SecretName) -> None:
        self.name = name
        self._backend = backend

    def look(self) -> Standing:
        """Return what the stages say."""
        stages = self._stages()
        created = self._created()
        current, pending = stages.current, stages.pending
        if current is None:
            raise SecretNotFoundError(f"{self.name} has no value", name=self.name, hint="write one first")
        if pending is not None:
            waiting = self._waiting(current, pending)
            if stages.previous is not None and _kind(pending) in (_UNDOING, _STAYING):
                waiting = self._undoing(waiting, stages.previous)
                if _kind(pending) == _STAYING:
                    waiting = _staying(waiting, created)
            return Standing(pending=waiting, rotated=created.get(current))
        if stages.unfinished is not None and stages.previous is not None:
            return Standing(pending=self._unfinished(current, stages.previous, created), rotated=created.get(current))
        return Standing(pending=None, rotated=created.get(current))

    def glance(self) -> Standing:
        """Return what the stages say without a value: those of a rotation that is pending are empty."""
        standing = self.look()
        if standing.pending is None:
            return standing
        return standing.replace(pending=standing.pending.replace(candidate=NO_VALUE, former=NO_VALUE))

    def _waiting(self, current: str, pending: str) -> Pending:
        try:
            candidate = self._read(pending)
        except SecretNotFoundError as error:
            raise in_progress(self.name, "just now", "wait until that is done; see `rotation status`") from error
        return Pending(
            id=pending,
            step=Step.APPLY,
            attempt=1,
            candidate=candidate.value,
            former=self._value(current),
            base=current,
            # No list of versions has one that is pending.
            began=candidate.created.timestamp() if candidate.created is not None else 0.0,
            mark=pending,
        )

    def _undoing(self, waiting: Pending, previous: str) -> Pending:
        """Return a promotion that was being taken back: the pending value is the former one."""
        before = self._value(previous)
        # Unless somebody has written it meanwhile: then the promoted value is no longer the current one.
        is_current = before == waiting.candidate
        return waiting.replace(
            step=Step.UNDO,
            candidate=waiting.former if is_current else before,
            former=waiting.candidate,
            base=previous,
            version=waiting.base if is_current else previous,
        )

    def _unfinished(self, current: str, previous: str, created: dict[str, float]) -> Pending:
        promoted = created.get(current, 0.0)
        return Pending(
            id=current,
            step=Step.ANNOUNCE,
            attempt=1,
            candidate=self._value(current),
            former=self._value(previous),
            base=previous,
            version=current,
            began=promoted,
            promoted=promoted,
            mark=current,
        )

    def begin(self, draft: Pending) -> Pending:
        """Stage the candidate; its version has the rotation's id as its name."""
        try:
            staged = self._backend.stage(StageRequest(name=self.name, value=draft.candidate, token=draft.id))
        except VersionConflictError as error:
            raise in_progress(
                self.name, "by another process", "wait until that is done; see `rotation status`"
            ) from error
        if self._stages().current != draft.base:
            # A whole rotation came between our look and this: nothing has been done yet, so nothing is left.
            self._backend.discard(DiscardRequest(name=self.name, version=staged.version))
            raise in_progress(self.name, "by another process, which was faster", "look again whether it is still due")
        return draft.replace(mark=staged.version)

    def advance(self, pending: Pending, step: Step) -> Pending:
        """Nothing is written for that; the stages must be ours. To undo a promotion the former value is staged anew."""
        self.confirm(pending)
        if pending.version is not None and (step is Step.UNDO or _kind(pending.mark) == _UNDOING):
            # Whoever has promoted it may still be about to finish it: that must not find its own stages any more.
            over = None if pending.mark == pending.version else pending.mark
            token = _uuid_of(_UNDOING if step is Step.UNDO else _STAYING)
            request = StageRequest(name=self.name, value=pending.former, token=token, expect_pending=over)
            try:
                return pending.replace(step=step, mark=self._backend.stage(request).version)
            except VersionConflictError as error:
                raise lost(self.name) from error
        return pending.replace(step=step)

    def replace(self, pending: Pending, candidate: SecretValue) -> Pending:
        """Stage another candidate in place of the pending one."""
        staged = self._staged(pending, candidate)
        return pending.replace(candidate=candidate, attempt=pending.attempt + 1, step=Step.APPLY, mark=staged)

    def take_over(self, pending: Pending, now: float) -> Pending:
        """Stage the same candidate under a name of our own; what is promoted already is as it is."""
        if pending.version is not None:
            return pending.replace(began=now)
        return pending.replace(mark=self._staged(pending, pending.candidate), began=now)

    def _staged(self, pending: Pending, value: SecretValue) -> str:
        request = StageRequest(name=self.name, value=value, token=new_uuid(), expect_pending=pending.mark)
        try:
            return self._backend.stage(request).version
        except VersionConflictError as error:
            raise lost(self.name) from error

    def rebase(self, pending: Pending, version: str) -> Pending:
        """Nothing is written for that."""
        return pending.replace(base=version, step=Step.APPLY)

    def confirm(self, pending: Pending) -> None:
        """Ask for the stages again."""
        for attempt in range(_LOOKS):
            stages = self._stages()
            if pending.mark in (stages.pending, stages.unfinished):
                return
            if pending.version is None or pending.mark != pending.version or stages.current != pending.version:
                break
            # Who has begun over the version before takes the mark with it, sees that it is late, and gives up at once.
            if stages.pending is None:
                return
            time.sleep(_PAUSE * 2.0**attempt)
        raise lost(self.name)

    def promote(self, pending: Pending, now: float) -> Pending:
        """Move the current stage to the candidate's version, from the base."""
        request = PromoteRequest(
            name=self.name, version=pending.mark, expect_current=pending.base, keep_unfinished=True
        )
        self.confirm(pending)
        version = pending.mark
        try:
            self._backend.promote(request)
        except VersionConflictError:
            current = self._stages().current
            if current is None or self._value(current) != pending.candidate:
                raise
            # Whoever has led it before us has promoted the same value under another name.
            self._backend.discard(DiscardRequest(name=self.name, version=version))
            version = current
        return pending.replace(version=version, promoted=now, step=Step.ANNOUNCE, mark=version)

    def finish(self, pending: Pending, expires: float | None) -> None:  # noqa: ARG002  # a value tells it
        """Take the pending stage from the current version; when it was made is when it was rotated."""
        self._backend.discard(DiscardRequest(name=self.name, version=pending.mark))

    def abandon(self, pending: Pending, *, foreign: bool) -> str | None:
        """Make the former value current again, under a new version."""
        stages = self._stages()
        if pending.version is not None and stages.current == pending.version:
            request = PromoteRequest(name=self.name, version=pending.mark, expect_current=pending.version)
            self._backend.promote(request)
            return pending.mark
        if foreign and stages.current == pending.base and stages.pending == pending.mark:
            moved = self._staged(pending, pending.former)
            self._backend.promote(PromoteRequest(name=self.name, version=moved, expect_current=pending.base))
            return moved
        self._backend.discard(DiscardRequest(name=self.name, version=pending.mark))
        return None

    def _stages(self) -> StagesResult:
        return self._backend.stages(StagesRequest(name=self.name))

    def _read(self, version: str) -> ReadResult:
        return self._backend.read(ReadRequest(name=self.name, version=version))

    def _value(self, version: str) -> SecretValue:
        return self._read(version).value

    def _created(self) -> dict[str, float]:
        """Return when each version was made, in seconds since 1970 UTC."""
        versions = self._backend.versions(VersionsRequest(name=self.name)).versions
        return {one.version: seconds(one.created) for one in versions if one.created is not None}


def _staying(undoing: Pending, created: dict[str, float]) -> Pending:
    """Return a promotion that could not be taken back: it is as it was before somebody has tried that."""
    assert undoing.version is not None, "it is promoted"
    promoted = created.get(undoing.version, 0.0)
    return undoing.replace(id=undoing.version, step=Step.ANNOUNCE, began=promoted, promoted=promoted)


def _uuid_of(kind: str) -> str:
    made = new_uuid()
    return made[:_KIND] + kind + made[_KIND + len(kind) :]


def _kind(version: str) -> str:
    """Return what tells the version of a rotation that is, or was, to be undone after its promotion."""
    return version[_KIND : _KIND + len(_UNDOING)]
