"""``SecretManager``, the class that users meet: it leads each operation through the stages.

A read: name → policy → detectors → cache → single flight → backend → record →
cache → return. A write: name → policy → detectors → size and capability →
record the attempt → backend → drop the cached copy → record the outcome → event.
"""

from __future__ import annotations

import time

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Self

from strongroom.acting import check_principal
from strongroom.cache.stats import CacheStats
from strongroom.config.again import rereader
from strongroom.config.load import load
from strongroom.contracts.audit import AuditSink
from strongroom.contracts.backend import Backend
from strongroom.events.updates import Announcement, Callback
from strongroom.generators import Encoding
from strongroom.model import (
    Absent,
    Principal,
    PrincipalSource,
    SecretName,
    SecretValue,
)
from strongroom.operations.acts import Actor
from strongroom.operations.batch import BatchReader
from strongroom.operations.checkup import Checkup, ManagerHealth
from strongroom.operations.keys import KeyUser
from strongroom.policy import Action
from strongroom.resilience.conditions import ConditionChanged
from strongroom.rotation import WAIT_SECONDS
from strongroom.wiring import Parts

if TYPE_CHECKING:
    from opentelemetry.trace import TracerProvider

    from strongroom.anomaly.stage import Alert
    from strongroom.leases.held import LeaseStatus
    from strongroom.operations.journals import JournalDesk
    from strongroom.operations.maintenance import AuditedMaintenance
    from strongroom.operations.recovery import Curator, Description, Destroyed, Undeleted
    from strongroom.operations.writing import Deleted, Writer, Written
    from strongroom.rotation.desk import RotationDesk
    from strongroom.trails import OpenTrail


def open(  # noqa: A001  # the public name is strongroom.open
    config: str | dict[str, Any] | None = None,
    *,
    clock: Callable[[], float] = time.monotonic,
    wall_clock: Callable[[], int] = time.time_ns,
    sleep: Callable[[float], object] = time.sleep,
    tracer_provider: TracerProvider | None = None,
    backends: Mapping[str, Backend] | None = None,
    sinks: tuple[AuditSink, ...] = (),
) -> SecretManager:
    """Open a manager; use it as a context manager, or close it.

    Backends are opened when a name is first routed to them, so a configuration
    that names ten costs what is used of it.

    Args:
        config: The path of a ``strongroom.toml``, a mapping with the same content,
            or ``None`` to search for one as the command does.
        clock: Monotonic seconds, for tests.
        wall_clock: Nanoseconds since 1970 in UTC, for tests.
        sleep: Waits for so many seconds, where an operation waits for a service; for tests.
        tracer_provider: Whose OpenTelemetry spans to make; the global one's unless given.
        backends: Backends that exist already, by the name that the configuration uses.
        sinks: Further audit sinks that exist already; all of them are required.

    Raises:
        ConfigurationError: The configuration cannot be read or is not usable, or the
            memory is to be locked and cannot be.
        PluginError: A cache policy, sink or detector that it names is missing or broken.
    """
    configuration = load(config, ready=backends or ())
    if configuration.lock_memory:
        from strongroom.memory import lock_memory

        lock_memory()
    parts = Parts(
        configuration,
        reread=rereader(config, configuration, ready=backends or ()),
        clock=clock,
        wall_clock=wall_clock,
        sleep=sleep,
        tracer_provider=tracer_provider,
        backends=backends,
        sinks=sinks,
    )
    manager = SecretManager(parts, configuration.principal)
    if configuration.rotate_every is not None:
        manager.rotation.start()
    if configuration.watch.every is not None:
        manager.watch(configuration.watch.every, names=configuration.watch.names)
    return manager


class SecretManager(BatchReader, KeyUser, Actor):
    """Reads and changes secrets as one principal. Made by :func:`open`.

    It is safe to use from several threads and across a fork.
    """

    @property
    def _writer(self) -> Writer:
        # Imported here: a program that only reads has no need of it.
        from strongroom.operations.writing import Writer

        return Writer(self._parts, self._gate, self._cache.drop)

    @property
    def _curator(self) -> Curator:
        # Imported here: hardly a program brings secrets back or destroys them.
        from strongroom.operations.recovery import Curator

        return Curator(self._parts, self._gate, self._cache.drop)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def set(
        self, name: str, value: str | bytes | SecretValue, *, expect_version: str | Absent | None = None
    ) -> Written:
        """Create or update a secret; it is durable when this returns.

        With a fallback store it may be queued in an outage: then ``queued`` is set in what is returned, and it is
        made when the backend answers again, over the version that is known now and over no other. As long as it
        waits, further writes of the name queue behind it, whether or not the backend answers, and reads return it.

        Args:
            name: The secret's name.
            value: Exact text or exact bytes; empty is a value.
            expect_version: Write only over this version, or, with ``ABSENT``, only
                if there is none. The version of a write that waits is ``queued:`` with its id.

        Raises:
            InvalidNameError, InvalidValueError, ValueTooLargeError,
            UnsupportedOperationError: Refused before anything was sent; the refusal is recorded.
            AccessDeniedError: This principal may not create or update it.
            VersionConflictError: The current version, or that of a write that waits, is not the expected one.
            BackendUnavailableError: An outage, and it could not be queued, or may not be. Unless ``unsent`` is set it
                may have been written all the same; a copy in the fallback store is kept, and read as a copy.
            AuditError: It could not be recorded; ``applied`` tells whether it was written, or queued.
        """
        content = SecretValue.wrap(value)
        # No local variable of ours holds the value from here on: a traceback may show them.
        del value
        return self._writer.set(name, content, expect_version=expect_version)

    def check_set(self, name: str, value: SecretValue, *, expect_version: str | Absent | None = None) -> SecretName:
        """Refuse what ``set`` would refuse before it sends anything, and write nothing.

        A refusal is recorded. Detectors are not asked, and whether the expected version is the current one, or
        whether it is queued, only the write itself can tell.

        Args:
            name: The secret's name.
            value: What is to be written.
            expect_version: As for ``set``.

        Returns:
            The canonical name.

        Raises:
            InvalidNameError, InvalidValueError, ValueTooLargeError,
            UnsupportedOperationError: The backend could not take it.
            AccessDeniedError: This principal may not create or update it.
        """
        return self._writer.check_set(name, value, expect_version=expect_version)

    def delete(self, name: str) -> Deleted:
        """Delete a secret; deleting an absent one is no error.

        In an outage it may be queued, as for :meth:`set`. Until it is made, reads say that the secret is deleted.

        Raises:
            AccessDeniedError: This principal may not delete it.
            UnsupportedOperationError: The backend cannot delete.
            BackendUnavailableError: As for :meth:`set`.
            AuditError: It could not be recorded; ``applied`` tells whether it was deleted, or queued.
        """
        return self._writer.delete(name)

    def rotate(
        self,
        name: str,
        *,
        size: int | None = None,
        encoding: Encoding | None = None,
        expect_version: str | None = None,
        wait: float = WAIT_SECONDS,
    ) -> Written:
        """Replace a secret's value by a random one, or have the backend's service do it where that rotates the secret.

        Where the backend has check-and-set, a change by somebody else in between
        is a conflict, not lost. A service makes the value by itself: it is told to,
        and watched until its new version is the current one.

        In an outage it may be queued, as for :meth:`set`, if a version is known over which to make it: from the
        cache, a copy, or a write that waits. What a service rotates, or may rotate, is never queued.

        Args:
            name: The secret's name; it must exist.
            size: How many random bytes, at least 16; 32 unless given.
            encoding: ``raw``, unless given, stores the bytes; ``hex`` and ``base64url`` store text.
            expect_version: Rotate only this version.
            wait: For how many seconds to watch a service, at most.

        Raises:
            ConfigurationError: Size, encoding or wait is not usable; the refusal is recorded.
            UnsupportedOperationError: Size or encoding is given, and the service makes the value.
            AccessDeniedError: This principal may not rotate it.
            SecretNotFoundError: There is no such secret.
            VersionConflictError: Somebody else wrote it meanwhile, or the service is rotating it already.
            BackendUnavailableError: The service has not ended in time (code ``timeout``); it goes on. Or as for
                :meth:`set`.
        """
        return self._writer.rotate(name, size=size, encoding=encoding, expect_version=expect_version, wait=wait)

    def undelete(self, name: str, *, version: str | None = None) -> Undeleted:
        """Bring a deleted version back, where the backend keeps it; one that is not deleted stays as it is.

        It takes the right to update.

        Args:
            name: The secret's name.
            version: Which one; the newest unless given.

        Raises:
            InvalidNameError: The name is not one that a secret can have, or the version is no text.
            AccessDeniedError: This principal may not update it.
            SecretNotFoundError: There is no such secret or version.
            SecretDeletedError: It is destroyed (code ``destroyed``), and nothing brings it back.
            UnsupportedOperationError: The backend keeps nothing that was deleted, or the name is a leased one.
            AuditError: It could not be recorded; ``applied`` tells whether it was brought back.
        """
        return self._curator.undelete(name, version=version)

    def destroy(self, name: str, versions: Iterable[str] | None = None) -> Destroyed:
        """Remove a secret, or some of its versions, so that nobody can bring them back.

        It takes the right to delete. What is not there is no error, but a version that was never made is.

        Args:
            name: The secret's name.
            versions: Which ones; the secret as a whole, with all that is noted about it, unless given.

        Raises:
            InvalidNameError: The name is not one that a secret can have, or the versions are no texts, or none.
            AccessDeniedError: This principal may not delete it.
            SecretNotFoundError: It has not got one of these versions.
            UnsupportedOperationError: The backend cannot destroy, or the name is a leased one.
            AuditError: It could not be recorded; ``applied`` tells whether it was destroyed.
        """
        return self._curator.destroy(name, versions=versions)

    def describe(self, name: str) -> Description:
        """Return what is known of a secret beside its value: what users have noted, times, the newest version.

        It takes the right to read.

        Args:
            name: The secret's name.

        Raises:
            InvalidNameError: The name is not one that a secret can have.
            AccessDeniedError: This principal may not read it.
            SecretNotFoundError: There is no such secret.
            UnsupportedOperationError: The backend keeps no notes about secrets, or the name is a leased one.
        """
        return self._curator.describe(name)

    def annotate(self, name: str, metadata: Mapping[str, str]) -> None:
        """Replace what users have noted about a secret.

        It takes the right to update. Notes are no secrets: whoever may look at the secret's metadata in the
        backend sees them.

        Args:
            name: The secret's name; it must exist.
            metadata: All that is to be noted, texts by name; empty to note nothing.

        Raises:
            InvalidNameError: The name is not one that a secret can have.
            InvalidValueError: The notes are not texts by name, or the backend cannot hold them.
            AccessDeniedError: This principal may not update it.
            SecretNotFoundError: There is no such secret.
            UnsupportedOperationError: The backend keeps no notes about secrets, or the name is a leased one.
            AuditError: It could not be recorded; ``applied`` tells whether it was noted.
        """
        self._curator.annotate(name, metadata)

    def on_update(self, name: str, callback: Callback) -> Callable[[], None]:
        """Have a function called after a secret is changed through this manager, by a set, a rotation or a delete say.

        What others change it is told only where :meth:`watch` looks for that.
        Each subscriber has five seconds; one that raises or hangs does not stop
        the others, and the change's result names it. It is not told of secrets
        that this principal may not read.

        Args:
            name: A name, or a pattern such as ``db/**``.
            callback: Takes a :class:`~strongroom.events.updates.SecretUpdated`.

        Returns:
            A function that ends the subscription.

        Raises:
            InvalidNameError: The name or pattern is malformed.
        """
        gate = self._gate
        gate.check_pattern(Action.READ, name)
        return self._parts.subscriptions.add(name, gate.readable(callback), lambda one: gate.permits(Action.READ, one))

    def on_rotation(self, name: str, callback: Callable[[Announcement], object]) -> Callable[[], None]:
        """Have a function called when a rotation begins or fails, or a secret is due for one or ends by itself.

        It is called in a thread of its own, one announcement after the other. No rotation waits for it; what it
        raises is counted. It is not told of secrets that this principal may not read.

        Args:
            name: A name, or a pattern such as ``db/**``.
            callback: Takes an :class:`~strongroom.events.updates.Announcement`.

        Returns:
            A function that ends the subscription; calling it twice is no error.

        Raises:
            InvalidNameError: The name or pattern is malformed.
            ClosedError: The manager is closed.
        """
        self._gate.check_pattern(Action.READ, name)
        return self._parts.heralds.on_rotation(name, self._gate.readable(callback))

    def on_alert(self, callback: Callable[[Alert], object]) -> Callable[[], None]:
        """Have a function called with each alert of a detector, in a thread of its own.

        No access waits for it; what it raises is counted.

        Args:
            callback: Takes an :class:`~strongroom.anomaly.stage.Alert`; it holds no value.

        Returns:
            A function that ends the subscription; calling it twice is no error.
        """
        return self._parts.heralds.on_alert(callback)

    def on_condition(self, callback: Callable[[ConditionChanged], object]) -> Callable[[], None]:
        """Have a function called with each change of a backend's state, in their order, in a thread of its own.

        Nobody waits for it; what it raises is counted. Changes are those between healthy, degraded and recovering.

        Args:
            callback: Takes a :class:`~strongroom.resilience.conditions.ConditionChanged`.

        Returns:
            A function that ends the subscription; calling it twice is no error.
        """
        return self._parts.continuity.transitions.listeners.add(callback)

    def as_principal(self, name: str) -> SecretManager:
        """Return a view of this manager that acts as another principal.

        It has the rights that both have, unless this one may ``impersonate`` the
        other. It shares cache and backends, and closing it closes nothing. Each
        event also says whom the manager was opened for, as ``on_behalf_of``.

        Args:
            name: The principal's name.

        Raises:
            ConfigurationError: It is no text, or empty.
        """
        check_principal(name)
        # The text itself: an object of a class of its own may compare as it likes.
        principal = Principal(name=str.__str__(name), source=PrincipalSource.AS_PRINCIPAL)
        return SecretManager(self._parts, principal, base=self._gate)

    def reload(self) -> None:
        """Read the policies anew, from where the manager has its configuration, and decide by them from now on.

        Everything else stays as it was opened. What is cached stays cached, but no
        value reaches a principal who may no longer read it.

        Raises:
            ConfigurationError: The configuration cannot be read or is not usable;
                the policies stay as they were.
        """
        self._parts.decisions.reload()

    def maintenance(self, backend: str | None = None) -> AuditedMaintenance:
        """Return what verifies, backs up and re-keys a backend that keeps its own file.

        Each call is recorded; a change of keys and a backup as attempt and outcome.
        The policy governs secrets, not this: who has the store's file and its key
        has all of it.

        Args:
            backend: Its configured name; the default backend unless given.

        Raises:
            ConfigurationError: There is no such backend.
            StrongroomError: Only when used: it cannot be opened.
            UnsupportedOperationError: Only when used: it keeps no file of its own.
        """
        # Imported here: a program that only reads has no need of it.
        from strongroom.operations.maintenance import AuditedMaintenance

        gate = self._gate
        return AuditedMaintenance(self._parts, gate.principal, backend, base=gate.root)

    @property
    def journal(self) -> JournalDesk:
        """What has been accepted during outages and waits for its backend, or is set aside for a person to decide."""
        # Imported here: most programs never look at it.
        from strongroom.operations.journals import JournalDesk

        return JournalDesk(self._parts, self._gate, self._cache.drop)

    @property
    def rotation(self) -> RotationDesk:
        """What is rotated when, what is pending, and what was left to be resumed or undone."""
        # Imported here, as the journal.
        from strongroom.rotation.desk import RotationDesk

        return RotationDesk(self._parts, self._gate, self._cache.drop)

    def leases(self) -> tuple[LeaseStatus, ...]:
        """Return the leased credentials that this process keeps alive, and those that it has replaced, without values.

        What this principal may not read is left out.
        """
        held = self._parts.leases.status() if self._parts.has_leases else []
        return tuple(one for one in held if self._gate.permits(Action.READ, one.name))

    def release_leases(self) -> None:
        """Leave the leased credentials that have been read to whoever has got them.

        They are neither renewed nor revoked from now on, not even at the end, and end by themselves. That is for a
        program that hands what it reads over to another one, as ``strongroom run`` does; each is recorded as
        ``release``. What this principal may not read is left out.
        """
        if self._parts.has_leases:
            self._parts.leases.release(lambda name: self._gate.permits(Action.READ, name))

    def stats(self) -> CacheStats:
        """Return how the cache has served since the manager was opened."""
        return self._cache.stats()

    def health(self) -> ManagerHealth:
        """Ask every configured backend and sink how it is, without reading a secret.

        That counts as a probe: one that answers ends an outage, and one that does not begins none.
        """
        return Checkup(self._parts).run()

    def trails(self) -> tuple[OpenTrail, ...]:
        """Open the audit trails, of all principals, that can be read back; whoever asks closes each.

        Raises:
            StrongroomError: A sink cannot be opened.
        """
        from strongroom.trails import readable_trails

        return readable_trails(self._parts.configuration)

    def flush(self) -> None:
        """Record the cache hits that wait, and have every record on stable storage.

        Raises:
            AuditError: A required sink could not record them; they are kept.
        """
        self._parts.flush()

    def close(self) -> None:
        """Record what waits, and close every backend and sink; twice is no error.

        Leased credentials that this process has got are revoked first, for ten seconds at most;
        the trail says of which that failed.

        Raises:
            AuditError: A required sink could not record it. Everything else is closed
                then; calling it again, or the exit of the process, tries again.
        """
        if self._own.gate.base is None:
            self._parts.close()
