"""Reading on an event loop: the same stages, of which a thread does what may have to wait.

Policy, detectors and cache run on the loop. What a read records on its way there
is written by a thread before anybody hears of its outcome, and what the cache
does not answer is fetched by one thread for all tasks of a loop that want it.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import NoReturn, TypeVar

from strongroom.aio.loads import SharedLoads
from strongroom.aio.threads import Threads
from strongroom.audit.stage import postponed
from strongroom.contracts.audit import Reading
from strongroom.crew import run_all
from strongroom.errors import AuditError, ClosedError, InvalidNameError, StrongroomError
from strongroom.grants import Grant
from strongroom.model import Secret, SecretName
from strongroom.operations.batch import Batch, BatchReader, Collected, Progress
from strongroom.policy import Action
from strongroom.stages.loading import Loader
from strongroom.stages.loads import Load

Result = TypeVar("Result")


class HandOver(Exception):  # noqa: N818  # it is no error, and never leaves these modules
    """A read has come to what may have to wait; without any attribute it has only just begun.

    Attributes:
        load: What is to be fetched.
        backend: What is to be opened first; then the read begins anew.
        late: A hit that is to be recorded, but not yet.
    """

    load: Load | None = None
    backend: str | None = None
    late: LateHit | None = None


class LateHit:
    """A hit that has passed everything, but that the buffer does not take at once."""

    __slots__ = ("reading", "secret")

    def __init__(self, reading: Reading, secret: Secret) -> None:
        self.reading = reading
        self.secret = secret


class _Records(list[Callable[[], object]]):
    """What is to be recorded before a read goes on, a call each.

    Attributes:
        are_flushed: Whether the hits that came before have just been written.
    """

    are_flushed = False


class LoopReader(BatchReader):
    """Reads on an event loop, as one principal, and waits for nothing there.

    Args:
        reader: The same in threads.
        threads: Who does what may have to wait.
    """

    def __init__(self, reader: BatchReader, threads: Threads) -> None:
        parts = reader._parts
        super().__init__(parts, reader.principal, base=reader._own.gate.base)
        self._in_threads = reader
        self._threads = threads
        self._buffer = parts.audit.buffer
        self._shared = SharedLoads(reader, threads)
        self._loader = _NoLoader(parts)
        if parts.audit.enabled:
            self._record_hit = self._take
            self._record_other_hit = self._take_other

    # What follows replaces steps of a read that may have to wait.

    def _take(self, reading: Reading, version: str | None, now: float) -> None:
        if self._buffer.takes_without_waiting(now):
            # Not `add`, which would look again, and write if a sink has failed in another thread since.
            self._buffer.add_late(reading, version, now)
            return
        if postponed.records is not None:
            self._take_late(partial(self._add_in_a_thread, reading, version), reading, version, now)
            return
        stop = HandOver()
        # Under another spelling than the canonical one nothing is found, and the read begins anew.
        grant = self._identity.grants.get(reading.name)
        secret = grant.entry.secret if grant is not None and grant.reading is reading else None
        if secret is not None and secret.version == version:
            stop.late = LateHit(reading, secret)
        raise stop

    def _take_other(self, reading: Reading, version: str | None, now: float, source: str, result: str) -> None:
        if self._buffer.takes_without_waiting(now):
            self._buffer.add_late(reading, version, now, source, result)
            return
        add = partial(self._buffer.add_other, reading, version, now, source, result)
        self._take_late(add, reading, version, now, source, result)

    def _take_late(
        self, add: Callable[[], None], reading: Reading, version: str | None, now: float, *answer: str
    ) -> None:
        """Take what the buffer does not take at once, after its being written, or leave it to a thread."""
        later = postponed.records
        assert isinstance(later, _Records), "only reads that have begun slowly come here"
        if later.are_flushed and self._buffer.has_room:
            self._buffer.add_late(reading, version, now, *answer)
        else:
            later.append(add)

    def _add_in_a_thread(self, reading: Reading, version: str | None) -> None:
        try:
            self._buffer.add(reading, version, self._clock())
        except StrongroomError:
            self._cache.counters.cell.errors += 1
            raise

    def _grant(self, name: str) -> Grant:
        if postponed.records is None:
            # `get` has come to its slow part, which may record something.
            raise HandOver
        return super()._grant(name)

    def _admit(self, spelling: str) -> Grant:
        try:
            name = SecretName(spelling)
        except InvalidNameError:
            return super()._admit(spelling)  # which refuses it, too, and records that
        backend = self._parts.routing.of(name)
        if not self._parts.has_open(backend) and self._gate.permits(Action.READ, name):
            stop = HandOver()
            stop.backend = backend
            raise stop
        return super()._admit(spelling)

    # What follows leads reads on the loop.

    async def finish(self, name: str, version: str | None, late: LateHit | None) -> Secret:
        """Lead a read to its end that ``get`` could not answer at once.

        Args:
            name: The secret's name.
            version: An older version, or ``None``.
            late: What ``get`` has found, if only the record is missing.

        Raises:
            StrongroomError: As ``get``.
        """
        if late is not None:
            return await self._record_late(late)
        flushed = await self._prepare()
        while True:
            try:
                return await self._at_once(lambda: self._read(self._grant(name), version), flushed=flushed)
            except HandOver as stop:
                load, backend = stop.load, stop.backend
            if load is not None:
                return await self._shared.wait_for(load)
            assert backend is not None, "a read that has begun is handed over for one or the other"
            await self._open(backend, name)

    async def several(self, names: list[str], *, strict: bool, concurrency: int, progress: Progress | None) -> Batch:
        """Read several names; see ``get_many``.

        Raises:
            BatchError: As ``get_many``.
        """
        flushed = await self._prepare()
        grants = self._identity.grants
        if not all(isinstance(name, str) and name in grants for name in names):
            # Some have to be admitted first, and for that a backend may have to be opened.
            return await self._threads.start(
                partial(self._in_threads.get_many, names, strict=strict, concurrency=concurrency, progress=progress)
            )
        try:
            asked, collected, missing = await self._at_once(partial(self._look_up, names, progress), flushed=flushed)
        except AuditError as error:
            # What could not be recorded is not returned, whatever it was.
            asked, collected, missing = names, Collected(len(names), None), []
            collected.errors.update((name, error.again()) for name in names)
        if missing:
            jobs = self._in_threads._jobs(missing, collected)
            await self._threads.start(partial(run_all, jobs, threads=concurrency))
        return collected.batch(asked, strict=strict)

    async def _prepare(self) -> bool:
        """Have done what would otherwise keep each task waiting by itself; tell whether hits may be taken late now."""
        if not self._parts.anomaly.judges_at_once:
            await self._threads.once("detectors", self._parts.anomaly.restore)
        if not self._parts.audit.enabled:
            return True
        try:
            await self._flush_overdue()
        except StrongroomError:
            return False  # whoever has to record something is told so
        return True

    async def _flush_overdue(self) -> None:
        """Have written what must not wait any longer, once for all tasks.

        Raises:
            AuditError: A required sink could not record it.
        """
        # The first may have begun before this task came, so that it has not written all that came before.
        for _ in range(2):
            if self._buffer.takes_without_waiting(self._clock()):
                return
            await self._threads.once("hits", self._buffer.prepare)

    async def _record_late(self, late: LateHit) -> Secret:
        buffer, version = self._buffer, late.secret.version
        try:
            await self._flush_overdue()
            while not buffer.has_room and not buffer.alert:
                await self._threads.once("hits", buffer.prepare)
        except StrongroomError:
            self._cache.counters.cell.errors += 1
            raise
        if buffer.has_room:
            buffer.add_late(late.reading, version, self._clock())
        else:
            await self._threads.start(partial(self._add_in_a_thread, late.reading, version))
        return late.secret

    async def _open(self, backend: str, name: str) -> None:
        """Open a backend; if that fails it is the read's failure, and recorded as such."""
        try:
            await self._threads.once(("open", backend), partial(self._parts.backend, backend))
        except StrongroomError as error:
            failure = error.again()
        else:
            return
        await self._at_once(partial(self._refuse, name, failure))

    def _refuse(self, name: str, error: StrongroomError) -> NoReturn:
        gate = self._gate
        canonical = gate.check(Action.READ, name)
        with gate.recording_refusal(Action.READ, canonical):
            raise error

    async def _at_once(self, call: Callable[[], Result], *, flushed: bool = False) -> Result:
        """Do on the loop what does not wait, and have a thread record it before its outcome is known to anybody."""
        outcome, records = self.attempt(call, flushed=flushed)
        if records:
            try:
                recorded = self._threads.start(partial(_do_all, records))
            except (RuntimeError, ClosedError):
                _do_all(records)  # there is no thread for it: rather the loop waits than that it is not recorded
            else:
                await recorded
        return outcome()

    def attempt(self, call: Callable[[], Result], *, flushed: bool = False) -> tuple[Callable[[], Result], _Records]:
        """Call something without recording what it tells the audit stage.

        Args:
            call: What to call.
            flushed: Whether the hits that came before have just been written.

        Returns:
            What returns or raises what the call did, and what is to be done before.
        """
        records = _Records()
        records.are_flushed = flushed
        before, postponed.records = postponed.records, records
        try:
            result = call()
        except (StrongroomError, HandOver) as error:
            return partial(_raise, error), records
        except BaseException:
            # Nobody goes on from here, but what has been seen is recorded.
            self.leave(records)
            raise
        finally:
            postponed.records = before
        return lambda: result, records

    def leave(self, records: list[Callable[[], object]]) -> None:
        """Have recorded what nobody waits for.

        Args:
            records: As :meth:`attempt` returns them.
        """
        if not records:
            return
        try:
            self._threads.submit(partial(_do_all, records))
        except (RuntimeError, ClosedError):
            with suppress(StrongroomError):
                _do_all(records)


def _raise(error: Exception) -> NoReturn:
    raise error


def _do_all(records: list[Callable[[], object]]) -> None:
    for record in records:
        record()


class _NoLoader(Loader):
    """Fetches nothing: that is for a thread."""

    def load(self, load: Load) -> Secret:
        """Hand it over.

        Raises:
            HandOver: Always.
        """
        stop = HandOver()
        stop.load = load
        raise stop
