"""Backends of the plugin for tests of its writing side, and short calls."""

from __future__ import annotations

import threading

from collections.abc import Callable
from typing import Any

from awsclient import REGION
from fakeaws import FakeSecretsManager
from strongroom.contracts import (
    DeleteRequest,
    DeleteResult,
    DestroyRequest,
    DestroyResult,
    ReadRequest,
    ReadResult,
    UndeleteRequest,
    UndeleteResult,
    WriteRequest,
    WriteResult,
)
from strongroom.model import Absent, SecretName, SecretValue
from strongroom.testing import FakeClock
from strongroom_aws.asking import Asker
from strongroom_aws.backend import AwsBackend
from strongroom_aws.clients import Clients
from strongroom_aws.place import resolve
from strongroom_aws.replies import Refusal, Reply
from strongroom_aws.settings import AwsSettings, RateSettings

NAME = "app/db"
TIME_LIMIT = 20.0
UNPACED = RateSettings(list=10_000.0, write=10_000.0)


def settings(server: Any, **further: Any) -> AwsSettings:
    """Return settings for a backend at a server, which has a ``url``."""
    return AwsSettings(**{"region": REGION, "endpoint": server.url, "rates": UNPACED} | further)


def opened(server: Any, clock: FakeClock | None = None, **further: Any) -> AwsBackend:
    """Open a backend that never really waits: its clock goes on instead."""
    clock = clock or FakeClock()
    given = settings(server, **further)
    return AwsBackend(given, Asker(given, resolve(given), clock=clock, sleep=clock.advance))


def read(backend: AwsBackend, name: str = NAME, version: str | None = None) -> ReadResult:
    return backend.read(ReadRequest(name=SecretName(name), version=version))


def text_of(backend: AwsBackend, name: str = NAME) -> str:
    return read(backend, name).value.reveal_text()


def write(
    backend: AwsBackend, content: str | bytes, expect_version: str | Absent | None = None, *, name: str = NAME
) -> WriteResult:
    value = SecretValue(content)
    del content
    return backend.write(WriteRequest(name=SecretName(name), value=value, expect_version=expect_version))


def delete(backend: AwsBackend, name: str = NAME) -> DeleteResult:
    return backend.delete(DeleteRequest(name=SecretName(name)))


def undelete(backend: AwsBackend, name: str = NAME, version: str | None = None) -> UndeleteResult:
    return backend.undelete(UndeleteRequest(name=SecretName(name), version=version))


def destroy(backend: AwsBackend, name: str = NAME, *versions: str) -> DestroyResult:
    return backend.destroy(DestroyRequest(name=SecretName(name), versions=versions))


def asked(server: FakeSecretsManager) -> list[str]:
    """Return the operations that were asked for since this was last called, in their order."""
    operations = [request.operation for request in server.requests]
    server.requests.clear()
    return operations


def tokens(server: FakeSecretsManager) -> set[str]:
    """Return the tokens of all writes."""
    return {
        request.parameters["ClientRequestToken"]
        for request in server.sent()
        if "ClientRequestToken" in request.parameters
    }


class CrashError(BaseException):
    """The process ends here, as far as the code under test can tell."""


class CrashingAsker(Asker):
    """Ends the process before one of its requests, or after that was done and before its answer is seen."""

    def __init__(self, given: AwsSettings, *, after: int, done: bool) -> None:
        super().__init__(given, resolve(given), sleep=lambda _: None)
        self._left = after
        self._done = done

    def ask(self, *args: Any, **options: Any) -> Reply | Refusal:
        """Ask, or crash."""
        self._left -= 1
        if self._left == 0:
            if self._done:
                super().ask(*args, **options)
            raise CrashError
        return super().ask(*args, **options)


class SteppedAsker(Asker):
    """Waits for its turn before each request."""

    def __init__(self, given: AwsSettings, clients: Clients, step: Callable[[], None]) -> None:
        super().__init__(given, resolve(given), sleep=lambda _: None)
        # A client takes longer to make than all that is done with it here.
        self.clients = clients
        self._step = step

    def ask(self, *args: Any, **options: Any) -> Reply | Refusal:
        """Wait, and ask."""
        self._step()
        return super().ask(*args, **options)


class Actor:
    """Something that is done with a backend of its own, one request at a time.

    Args:
        given: The backend's settings.
        clients: What it asks with; others may as well.
        action: What is done with it.
    """

    def __init__(self, given: AwsSettings, clients: Clients, action: Callable[[AwsBackend], Any]) -> None:
        self.result: Any = None
        self.error: BaseException | None = None
        self.over = False
        self._go = threading.Semaphore(0)
        self._there = threading.Semaphore(0)
        self._crash = False
        self._backend = AwsBackend(given, SteppedAsker(given, clients, self._stop))
        self._thread = threading.Thread(target=self._run, args=(action,), daemon=True)
        self._thread.start()
        self._await()

    def step(self) -> None:
        """Let it send its next request, until it wants to send another one or is over."""
        if not self.over:
            self._go.release()
            self._await()

    def crash(self) -> None:
        """Let it end where it is."""
        self._crash = True
        self.step()

    def _await(self) -> None:
        assert self._there.acquire(timeout=TIME_LIMIT), "it hangs"

    def _stop(self) -> None:
        self._there.release()
        assert self._go.acquire(timeout=TIME_LIMIT), "it was forgotten"
        if self._crash:
            raise CrashError

    def _run(self, action: Callable[[AwsBackend], Any]) -> None:
        try:
            self.result = action(self._backend)
        # The test looks at it.
        except BaseException as error:  # noqa: BLE001  # see above
            self.error = error
        self.over = True
        self._there.release()
