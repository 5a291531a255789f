"""The sink: each write is encoded as a whole, then sent as a whole within one deadline."""

from __future__ import annotations

import time

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from strongroom.contracts import AuditSink, AuditWrite, Health, HealthState
from strongroom.errors import AuditError
from strongroom_audit_syslog.address import Address, parse
from strongroom_audit_syslog.deadline import Deadline
from strongroom_audit_syslog.encoding import Encoder
from strongroom_audit_syslog.faults import failure
from strongroom_audit_syslog.links import DatagramLink, Link, LocalLink, StreamLink
from strongroom_audit_syslog.tls import Contexts

if TYPE_CHECKING:
    from strongroom_audit_syslog.settings import SyslogSettings

LONGEST_PAUSE: Final = 30.0
"""Seconds: for how long at most a server that did not answer in time is left alone."""


class SyslogSink(AuditSink):
    """Sends events to a syslog server.

    Args:
        settings: Where it is, and how messages look.
        clock: Monotonic seconds.

    Raises:
        ConfigurationError: A file of certificates cannot be read, or does not hold what it should.
    """

    def __init__(self, settings: SyslogSettings, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._address = parse(settings.address)
        self._seconds = settings.timeout
        self._encoder = Encoder(settings)
        self._link = _link(self._address, settings)
        self._pause = _Pause(clock)
        self._failure: AuditError | None = None

    def write(self, request: AuditWrite) -> None:
        """Send all events of the request.

        On return the system has taken them: over TCP and TLS with ``durable`` the server's system, which has confirmed
        them; otherwise this one. No syslog server says whether it has written them down.

        Raises:
            AuditError: They may not have arrived. Some of them may: those come twice, under the same ids.
        """
        # All of them, before any is sent: one that cannot be told stops those before it, too.
        messages = self._encoder.encode(request.events)
        self._pause.check(self._failure)
        try:
            self._link.send(messages, Deadline(self._seconds), durable=request.durable)
        except OSError as error:
            self._pause.note(error)
            self._failure = failure(self._address, error, self._seconds)
            raise self._failure.again() from error
        if messages:
            self._pause.end()
            self._failure = None

    def health(self) -> Health:
        """Say whether the server can be reached; nothing is sent to it.

        Over TCP and TLS a connection is made for a moment unless there is one.
        """
        failed = self._failure
        # Whether a server that was reached takes events again, only the next event shows.
        if failed is not None and not self._link.connecting:
            return _down(failed)
        try:
            self._link.probe(Deadline(self._seconds))
        except OSError as error:
            return _down(failure(self._address, error, self._seconds))
        if failed is not None:
            self._pause.end()
            self._failure = None
        return Health(state=HealthState.UP, facts=(("address", str(self._address)),))

    def after_fork(self) -> None:
        """Forget, in a forked child, the connection and what is unconfirmed on it; the parent goes on with both."""
        self._link.forget()
        self._pause.end()
        self._failure = None

    def close(self) -> None:
        """End the connection in order."""
        self._link.close()


class _Pause:
    """Fails at once for a while after a timeout, so that not every operation waits for a server that hangs.

    Args:
        clock: Monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._until = 0.0
        self._seconds = 0.0

    def check(self, last: AuditError | None) -> None:
        """Raise the last failure again while the pause lasts.

        Raises:
            AuditError: It does.
        """
        left = self._until - self._clock()
        if last is not None and left > 0:
            raise AuditError(last.what, hint=f"{last.hint}; it is tried again in {left:.1f} s")

    def note(self, error: OSError) -> None:
        """Begin a pause if the failure took up time: each is twice as long as the one before."""
        if isinstance(error, TimeoutError):
            self._seconds = min(2 * self._seconds or 1.0, LONGEST_PAUSE)
            self._until = self._clock() + self._seconds

    def end(self) -> None:
        """Forget about pauses."""
        self._until = self._seconds = 0.0


def _link(address: Address, settings: SyslogSettings) -> Link:
    if address.transport == "unix":
        return LocalLink(address, settings)
    if address.transport == "udp":
        return DatagramLink(address)
    return StreamLink(address, settings, Contexts(settings) if address.transport == "tls" else None)


def _down(failed: AuditError) -> Health:
    return Health(state=HealthState.DOWN, reason=failed.what, hint=failed.hint)
