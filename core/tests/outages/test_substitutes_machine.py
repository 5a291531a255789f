"""Random reads, writes, outages and waits against a small model: every answer is right, and marked as what it is."""

from __future__ import annotations

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

import strongroom

from strongroom import Freshness, SecretManager
from strongroom.builtin.memory import MemoryBackend
from strongroom.contracts import DeleteRequest, WriteRequest
from strongroom.errors import BackendUnavailableError, SecretNotFoundError
from strongroom.model import SecretName, SecretValue
from strongroom.testing import FakeClock, FaultyBackend

NAMES = ("a/x", "a/b/x", "db/now")
COPY_AGE, TTL, MAX_STALE = 500.0, 50.0, 100.0
names = st.sampled_from(NAMES)


class Kept(MemoryBackend):
    """A store that is still there when a manager has been closed."""

    def close(self) -> None:
        """Keep everything."""


class Outages(RuleBasedStateMachine):
    """One manager, its backend that others change as well, and a store that outlives the manager."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = FakeClock()
        self.backend = FaultyBackend(Kept())
        self.store = Kept()
        # What the backend has had: by name, each text and from when up to when it was the current one.
        self.held: dict[str, list[tuple[str | None, float]]] = {name: [(None, 0.0)] for name in NAMES}
        # What this manager has seen last: when it saw that there is none, or when it wrote itself.
        self.not_before: dict[str, float] = dict.fromkeys(NAMES, 0.0)
        self.down_since = 0.0
        self.number = 0
        self.manager = self.opened()
        for name in NAMES:
            self.manager.set(name, "v0")
            self.held[name].append(("v0", self.clock.time()))
            self.not_before[name] = self.clock.time()

    def opened(self) -> SecretManager:
        return strongroom.open(
            {
                "audit": "none",
                "backend": "main",
                "fallback": "store",
                "cache": {"ttl": f"{TTL:g}s", "max_stale": f"{MAX_STALE:g}s", "jitter": 0, "negative_ttl": "0s"},
                "resilience": {
                    "failures": 1,
                    "keep_copy": True,
                    "copy_max_age": f"{COPY_AGE:g}s",
                    "queue_writes": False,
                    "names": {"db/**": {"max_stale": "0s"}},
                },
            },
            clock=self.clock,
            wall_clock=lambda: int(self.clock.time() * 1e9),
            backends={"main": self.backend, "store": self.store},
        )

    @property
    def is_down(self) -> bool:
        return self.backend.error is not None

    def value_at(self, name: str, when: float) -> set[str | None]:
        """Return what the backend may have answered at a time; of changes at one moment nobody knows the order."""
        history = self.held[name]
        earlier = [text for text, since in history if since < when - 1e-6]
        at_once = {text for text, since in history if abs(since - when) <= 1e-6}
        return at_once | set(earlier[-1:])

    def check(self, name: str, secret: Any) -> None:
        now = self.clock.time()
        if secret.freshness is Freshness.FRESH:
            assert not self.is_down
            assert secret.reveal_text() == self.held[name][-1][0]
            return
        age = secret.age
        if secret.freshness is Freshness.CACHED:
            return
        # Whatever stands in was the backend's answer that long ago, and no later answer of its says otherwise.
        assert self.is_down
        assert name != "db/now"
        assert secret.reveal_text() in self.value_at(name, now - age)
        assert age >= now - self.down_since - 1e-6
        assert now - age >= self.not_before[name] - 1e-6
        assert age <= (TTL + MAX_STALE if secret.freshness is Freshness.STALE else COPY_AGE) + 1e-6

    @rule(name=names)
    def read(self, name: str) -> None:
        try:
            self.check(name, self.manager.get(name))
        except SecretNotFoundError:
            assert not self.is_down
            assert self.held[name][-1][0] is None
            self.not_before[name] = self.clock.time()
        except BackendUnavailableError:
            assert self.is_down

    @rule()
    def read_all(self) -> None:
        batch = self.manager.get_many(NAMES)
        for name, secret in batch.found.items():
            self.check(name, secret)
        for name, error in batch.errors.items():
            assert isinstance(error, BackendUnavailableError if self.is_down else SecretNotFoundError)
            if not self.is_down:
                self.not_before[name] = self.clock.time()

    @rule(name=names)
    def refresh(self, name: str) -> None:
        try:
            assert self.manager.refresh(name).freshness is Freshness.FRESH
        except SecretNotFoundError:
            self.not_before[name] = self.clock.time()
        except BackendUnavailableError:
            assert self.is_down

    @precondition(lambda self: not self.is_down)
    @rule(name=names, gone=st.booleans(), ours=st.booleans())
    def change(self, name: str, gone: bool, ours: bool) -> None:
        self.number += 1
        text = None if gone else f"v{self.number}"
        if ours:
            self.not_before[name] = self.clock.time()
            self.manager.delete(name) if text is None else self.manager.set(name, text)
        elif text is None:
            self.backend.wrapped.delete(DeleteRequest(name=SecretName(name)))
        else:
            self.backend.wrapped.write(WriteRequest(name=SecretName(name), value=SecretValue(text)))
        self.held[name].append((text, self.clock.time()))

    @rule(seconds=st.sampled_from([0.5, 6.0, 49.0, 51.0, 120.0, 400.0]))
    def wait(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @rule(seconds=st.sampled_from([0.0, 51.0, 200.0]))
    def fail(self, seconds: float) -> None:
        """Begin an outage, let each name's answer in the cache grow old, and read what stands in for it."""
        self.read_each()
        self.manager.flush()
        if not self.is_down:
            self.down_since = self.clock.time()
        self.backend.error = BackendUnavailableError("no answer", code="timeout")
        for pause in (seconds, 0.5):
            self.clock.advance(pause)
            self.read_each()

    @rule()
    def mend(self) -> None:
        self.backend.error = None
        # Longer than the time between two probes, so that the next read is one.
        self.clock.advance(6.0)
        self.read_each()

    def read_each(self) -> None:
        for name in NAMES:
            self.read(name)

    @precondition(lambda self: not self.is_down)
    @rule(name=names)
    def vanish(self, name: str) -> None:
        """Let somebody else delete a secret, and see it gone."""
        self.change(name, gone=True, ours=False)
        self.clock.advance(51.0)
        self.read(name)

    @rule()
    def start_again(self) -> None:
        self.manager.close()
        self.manager = self.opened()

    @rule()
    def flush(self) -> None:
        self.manager.flush()

    @invariant()
    def every_read_is_counted(self) -> None:
        stats = self.manager.stats()
        served = stats.hits + stats.negative_hits + stats.stale_hits + stats.fallback_hits
        assert stats.reads == served + stats.misses + stats.errors

    def teardown(self) -> None:
        self.manager.close()


TestOutages = Outages.TestCase
TestOutages.settings = settings(max_examples=100, stateful_step_count=30, deadline=None)
