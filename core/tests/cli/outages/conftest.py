"""What tests of commands in an outage share: the command over one manager whose backend can be taken away."""

from __future__ import annotations

import io
import json
import sys

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

import strongroom

from strongroom.builtin.memory import MemoryBackend
from strongroom.cli import main
from strongroom.cli.command import Session
from strongroom.errors import BackendUnavailableError
from strongroom.testing import FakeClock


class Fragile(MemoryBackend):
    """It answers unless it is told not to."""

    away = False

    def _answer(self) -> None:
        if self.away:
            raise BackendUnavailableError("main refuses connections", code="connection_refused")

    def read(self, request: Any) -> Any:
        self._answer()
        return super().read(request)

    def read_many(self, request: Any) -> Any:
        self._answer()
        return super().read_many(request)

    def write(self, request: Any) -> Any:
        self._answer()
        return super().write(request)

    def delete(self, request: Any) -> Any:
        self._answer()
        return super().delete(request)

    def list(self, request: Any) -> Any:
        self._answer()
        return super().list(request)

    def health(self) -> Any:
        self._answer()
        return super().health()


class FullStore(MemoryBackend):
    """A store on whose disk copies find no room, once that is said."""

    full = False

    def keep_copies(self, request: Any) -> None:
        if self.full:
            raise BackendUnavailableError("no room")
        super().keep_copies(request)


@dataclass(frozen=True)
class Finished:
    """How a command ended."""

    status: int
    stdout: str
    stderr: str

    @property
    def json(self) -> Any:
        """The JSON document on standard output."""
        return json.loads(self.stdout)

    @property
    def lines(self) -> list[str]:
        """The lines on standard output."""
        return self.stdout.splitlines()


class Bench:
    """The command, and what it finds: a backend, a store beside it, and a clock that a test moves on."""

    def __init__(self, patch: pytest.MonkeyPatch, capture: pytest.CaptureFixture[str]) -> None:
        self._patch = patch
        self._capture = capture
        self.clock = FakeClock()
        self.main = Fragile()
        self.store = FullStore()
        self.stdin: Any = None
        """What a command reads instead of what it is given."""
        self.manager = self.open()
        patch.setattr(main, "Session", self._session)

    def open(self, **resilience: Any) -> Any:
        """Open the manager that commands are given from now on."""
        settings = {
            "backend": "main",
            "fallback": "store",
            "audit": "none",
            "principal": "tester",
            "cache": {"policy": "none"},
            "resilience": {"keep_copy": True} | resilience,
        }
        backends = {"main": self.main, "store": self.store}
        self.manager = strongroom.open(
            settings, clock=self.clock, backends=backends, wall_clock=lambda: int(self.clock.time() * 1e9)
        )
        return self.manager

    def _session(self, options: Any) -> Session:
        bench = self

        class OneManager(Session):
            """A session whose manager is the bench's."""

            @contextmanager
            def open(self, configuration: Any = None) -> Iterator[Any]:
                self.fallback = "store"
                yield bench.manager

        return OneManager(options)

    def __call__(self, *arguments: str, stdin: str = "") -> Finished:
        """Run a command to its end."""
        self._patch.setattr(sys, "stdin", self.stdin or io.TextIOWrapper(io.BytesIO(stdin.encode())))
        self._capture.readouterr()
        status = main.main([*arguments])
        written = self._capture.readouterr()
        return Finished(status, written.out, written.err)


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Bench]:
    """The command over one manager that is open through the test."""
    made = Bench(monkeypatch, capsys)
    yield made
    made.manager.close()
