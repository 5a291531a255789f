"""How the rotation of each of several secrets stands, and when it is due; no value is read that is not needed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TypeVar

from strongroom._record import Record
from strongroom.contracts.backend import Capability, ReadManyRequest, ReadRequest, VersionsRequest
from strongroom.contracts.rotation import Life, Rotator
from strongroom.contracts.service_rotation import ServiceRotation
from strongroom.contracts.staging import Staging
from strongroom.errors import (
    ClosedError,
    RotationError,
    SecretNotFoundError,
    StrongroomError,
    UnsupportedOperationError,
)
from strongroom.model import SecretName
from strongroom.policy import Action
from strongroom.resilience.guarded import GuardedBackend
from strongroom.rotation.leading import is_waiting, moment, overlap_left, refusal_if_led
from strongroom.rotation.pending import Pending, Standing
from strongroom.rotation.records import RecordLedger
from strongroom.rotation.ruled import Ruled
from strongroom.rotation.staged import NO_VALUE, StagedLedger
from strongroom.rotation.timing import GRACE_SECONDS, Past, Timing, seconds, timing
from strongroom.stages.gate import Gate
from strongroom.wiring import Parts

Item = TypeVar("Item")

_NOTHING = Standing(pending=None)


class Outlook(Record):
    """How the rotation of one secret stands."""

    ruled: Ruled
    standing: Standing = _NOTHING
    timing: Timing = Timing()
    led: RotationError | None = None
    """Why the rotation that is pending must not be touched; ``None`` if it may be."""
    overlap: float = 0.0
    """For how many seconds the former value has still to go on working."""
    over_since: float | None = None
    """When it had to for the last time, in seconds since 1970 UTC, if that is all that a rotation waited for."""
    error: StrongroomError | None = None
    """Why nothing could be found out."""
    oddity: str = ""
    """What somebody should look at, in a sentence."""

    @property
    def name(self) -> SecretName:
        """The secret's name."""
        return self.ruled.name

    @property
    def phase(self) -> str:
        """``idle``, ``running``, ``left``, ``overlap`` or ``unknown``."""
        pending = self.standing.pending
        if self.error is not None:
            return "unknown"
        if pending is None:
            return "idle"
        if self.overlap and self.led is None and is_waiting(pending):
            return "overlap"
        return "left" if self.led is None else "running"

    def state(self, now: float) -> str:
        """Return the state as a schedule has it; see :class:`Schedule`."""
        # Whoever looks next takes the former value away; that need not be at this very moment.
        soon = self.over_since is not None and now - self.over_since <= GRACE_SECONDS
        phase = self.phase
        if phase == "overlap" or phase == "idle" or (phase == "left" and soon):
            return self.timing.state(now)
        return phase


class Looker:
    """Finds out how rotations stand.

    Args:
        parts: The stages of the manager.
        gate: Decides which values may be read to see when they end.
        timed: Whether it is to be found out when they are due.
        made: When the current versions of secrets that were never rotated were made, as far as an earlier look has
            found out; it is added to. A version that is not due yet is not asked for again: a later one is due later.
    """

    def __init__(
        self, parts: Parts, gate: Gate, *, timed: bool = True, made: dict[SecretName, float] | None = None
    ) -> None:
        self._parts = parts
        self._gate = gate
        self._timed = timed
        self._made = made

    def look(self, ruled: Sequence[Ruled]) -> list[Outlook]:
        """Return how the rotations of several secrets stand, in the same order.

        A secret that the backend's service rotates is left out, and so is one that the caller alone has named and
        that is not there. What fails is in what is returned.
        """
        standings: dict[SecretName, Standing | StrongroomError] = {}
        for name in dict.fromkeys(one.backend for one in ruled):
            standings |= self._standings(name, [one for one in ruled if one.backend == name])
        outlooks = [self._outlook(one, standings[one.name]) for one in ruled if one.name in standings]
        return [one for one in outlooks if not (one.ruled.asked and isinstance(one.error, SecretNotFoundError))]

    def _standings(self, backend: str, ruled: list[Ruled]) -> dict[SecretName, Standing | StrongroomError]:
        try:
            opened = self._parts.backend(backend)
        except ClosedError:
            raise
        except StrongroomError as error:
            return {one.name: error for one in ruled}
        found: dict[SecretName, Standing | StrongroomError] = {}
        recorded: list[RecordLedger] = []
        for one in ruled:
            try:
                opened.refuse_leased(one.name, "rotating")
                if opened.offers(ServiceRotation) and opened.rotates(one.name):
                    continue
                if keeps_stages(opened):
                    found[one.name] = StagedLedger(opened, one.name).glance()
                else:
                    recorded.append(RecordLedger(opened, one.name, single_host=one.rule.keys.single_host))
            except StrongroomError as error:
                found[one.name] = error
        for part in _in_parts(recorded, opened.batch_size):
            found |= _read(opened, part)
        return found

    def _outlook(self, ruled: Ruled, standing: Standing | StrongroomError) -> Outlook:
        if isinstance(standing, StrongroomError):
            return Outlook(ruled=ruled, error=standing)
        now = self._parts.wall_clock() / 1e9
        outlook = Outlook(ruled=ruled, standing=standing)
        try:
            if standing.pending is not None:
                outlook = self._pending(outlook, standing.pending, now)
            elif ruled.asked and standing.rotated is None:
                _created(self._parts.backend(ruled.backend), ruled.name)
            if self._timed:
                past = self._past(ruled, standing)
                outlook = outlook.replace(timing=timing(ruled.name, ruled.rule.keys, past, now))
                if past.last is not None and past.last > now + GRACE_SECONDS:
                    outlook = outlook.replace(oddity=_future(past.last))
        except ClosedError:
            raise
        except StrongroomError as error:
            outlook = outlook.replace(error=error)
        return outlook

    def _pending(self, outlook: Outlook, pending: Pending, now: float) -> Outlook:
        rule = outlook.ruled.rule
        overlap = rule.keys.overlap
        if overlap is None:
            overlap = self._parts.rotators.spec(rule).overlap
        led = refusal_if_led(pending, outlook.name, limit=rule.keys.limit, overlap=overlap, now=now)
        left = overlap_left(pending, overlap, now)
        is_over = led is None and not left and is_waiting(pending)
        over = pending.promoted + overlap if is_over and pending.promoted is not None else None
        return outlook.replace(led=led, overlap=left, over_since=over)

    def _past(self, ruled: Ruled, standing: Standing) -> Past:
        backend = self._parts.backend(ruled.backend)
        life = self._life(ruled, standing, backend)
        last = standing.rotated
        if last is None and (ruled.rule.keys.every is not None or life is not None):
            last = self._created(backend, ruled)
            if last is None and keeps_stages(backend):
                # It would be due now, and after its rotation, too.
                raise UnsupportedOperationError(
                    f"{backend.name} (type {backend.type}) does not say when versions were made, so nobody knows when "
                    f"{ruled.name} is due",
                    name=ruled.name,
                    backend=backend.name,
                    hint="rotate it without `every`, from outside",
                )
        return Past(last=last, begins=life and life[0], ends=life and life[1])

    def _created(self, backend: GuardedBackend, ruled: Ruled) -> float | None:
        """Return when the current version was made, or, as long as that one is not due, an earlier one."""
        name, keys = ruled.name, ruled.rule.keys
        known = None if self._made is None else self._made.get(name)
        if known is not None and keys.every is not None:
            warn = timing(name, keys, Past(last=known), known).warn
            if warn is not None and self._parts.wall_clock() / 1e9 < warn:
                return known
        found = _created(backend, name)
        if found is not None and self._made is not None:
            self._made[name] = found
        return found

    def _life(self, ruled: Ruled, standing: Standing, backend: GuardedBackend) -> tuple[float | None, float] | None:
        """Return when the current value's life begins and ends, if it does."""
        pending = standing.pending
        promoted = None if pending is None or pending.version is None else pending.candidate
        if promoted is None and standing.expires is not None:
            return standing.rotated, standing.expires
        rotator = self._parts.rotators.of(ruled.rule)
        if type(rotator.wrapped).life is Rotator.life:
            return None
        if promoted is None or promoted is NO_VALUE:
            if not any(self._gate.permits(right, ruled.name) for right in (Action.READ, Action.ROTATE)):
                return None
            promoted = backend.read(ReadRequest(name=ruled.name)).value
        life: Life | None = rotator.life(promoted)
        return None if life is None else (life.begins.timestamp(), life.ends.timestamp())


def _future(last: float) -> str:
    return f"it was last rotated at {moment(last)}, which is still to come by this clock"


def keeps_stages(backend: GuardedBackend) -> bool:
    """Tell whether a backend keeps rotations in stages of its own."""
    return backend.offers(Staging) and Capability.VERSIONS in backend.capabilities


def _read(backend: GuardedBackend, ledgers: Sequence[RecordLedger]) -> dict[SecretName, Standing | StrongroomError]:
    """Read the records of several rotations at once."""
    if len(ledgers) == 1:
        return {one.name: _result_of(one.look) for one in ledgers}
    try:
        answer = backend.read_many(ReadManyRequest(names=tuple(one.record for one in ledgers)))
    except ClosedError:
        raise
    except StrongroomError as error:
        return {one.name: error for one in ledgers}
    found: dict[SecretName, Standing | StrongroomError] = {}
    for one in ledgers:
        problem = answer.errors.get(one.record)
        if problem is not None and not isinstance(problem, SecretNotFoundError):
            found[one.name] = problem
        else:
            found[one.name] = _result_of(partial(one.seen, answer.found.get(one.record)))
    return found


def _result_of(look: Callable[[], Standing]) -> Standing | StrongroomError:
    try:
        return look()
    except ClosedError:
        raise
    except StrongroomError as error:
        return error


def _created(backend: GuardedBackend, name: SecretName) -> float | None:
    """Return when the current version was made, in seconds since 1970 UTC; ``None`` if the backend does not say.

    Raises:
        SecretNotFoundError: There is no such secret.
    """
    if Capability.VERSIONS not in backend.capabilities:
        return None
    versions = backend.versions(VersionsRequest(name=name)).versions
    current = next((one for one in reversed(versions) if one.state == "current"), None)
    if current is None:
        raise SecretNotFoundError(f"{name} has no value", name=name, backend=backend.name, hint="write one first")
    return None if current.created is None else seconds(current.created)


def _in_parts(items: Sequence[Item], most: int) -> Iterator[Sequence[Item]]:
    for begin in range(0, len(items), max(1, most)):
        yield items[begin : begin + max(1, most)]
