"""Whatever is done in whatever order, the store agrees with a dictionary."""

from __future__ import annotations

import tempfile

from pathlib import Path

import pytest

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from strongroom.contracts import (
    DeleteRequest,
    KeySource,
    ListRequest,
    LoadStateRequest,
    ReadRequest,
    RekeyRequest,
    SaveStateRequest,
    VerifyRequest,
    VersionsRequest,
    WriteRequest,
)
from strongroom.errors import SecretDeletedError, SecretNotFoundError, VersionConflictError
from strongroom.model import ABSENT, SecretName, SecretValue
from strongroom_local.backend import LocalBackend
from strongroom_local.creation import create_store
from strongroom_local.plugin import LocalSettings

NAMES = st.sampled_from(["a", "a/b", "a/b/c", "ab", "é/ü", "z" * 500, "with blank/inside", "0"])
VALUES = st.one_of(st.text(max_size=40), st.binary(max_size=40), st.just("x" * 6000))
KEEP = 3


class Key(KeySource):
    def read(self) -> SecretValue:
        return SecretValue("MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=")

    def describe(self) -> str:
        return "the test's key"


class StoreMachine(RuleBasedStateMachine):
    """Does the same to a store and to a model of it."""

    def __init__(self) -> None:
        super().__init__()
        self._place = tempfile.TemporaryDirectory()
        path = str(Path(self._place.name) / "secrets.db")
        self._settings = LocalSettings(path=path, master_key=Key(), keep_versions=KEEP)
        create_store(self._settings)
        self.backend = LocalBackend.open(self._settings)
        self.live: dict[str, dict[int, SecretValue]] = {}
        self.last: dict[str, int] = {}
        self.states: dict[str, bytes] = {}

    @rule(name=NAMES, content=VALUES)
    def write(self, name: str, content: str | bytes) -> None:
        version = self.last.get(name, 0) + 1
        result = self.backend.write(WriteRequest(name=SecretName(name), value=SecretValue(content)))
        assert result.version == str(version)
        versions = self.live.get(name, {}) | {version: SecretValue(content)}
        self.live[name] = dict(sorted(versions.items())[-KEEP:])
        self.last[name] = version

    @rule(name=NAMES, content=VALUES, offset=st.integers(-1, 1))
    def write_if(self, name: str, content: str | bytes, offset: int) -> None:
        """Write with an expectation that is right only sometimes."""
        expected = str(self.last.get(name, 0) + offset) if offset else ABSENT
        right = name not in self.live if expected is ABSENT else False
        request = WriteRequest(name=SecretName(name), value=SecretValue(content), expect_version=expected)
        if right:
            self.backend.write(request)
            self.last[name] = self.last.get(name, 0) + 1
            self.live[name] = {self.last[name]: SecretValue(content)}
        else:
            with pytest.raises(VersionConflictError):
                self.backend.write(request)

    @rule(name=NAMES)
    def delete(self, name: str) -> None:
        result = self.backend.delete(DeleteRequest(name=SecretName(name)))
        assert result.existed == (name in self.live)
        self.live.pop(name, None)

    @rule(name=NAMES)
    def read(self, name: str) -> None:
        request = ReadRequest(name=SecretName(name))
        if name in self.live:
            result = self.backend.read(request)
            assert result.version == str(self.last[name])
            assert result.value == self.live[name][self.last[name]]
            return
        with pytest.raises(SecretNotFoundError) as caught:
            self.backend.read(request)
        assert isinstance(caught.value, SecretDeletedError) == (name in self.last)

    @precondition(lambda self: self.live)
    @rule(data=st.data())
    def read_version(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.live)))
        versions = self.backend.versions(VersionsRequest(name=SecretName(name))).versions
        assert [version.version for version in versions] == [str(number) for number in self.live[name]]
        for number, value in self.live[name].items():
            assert self.backend.read(ReadRequest(name=SecretName(name), version=str(number))).value == value

    @rule(key=NAMES, state=st.one_of(st.binary(max_size=40), st.just(b"x" * 6000)))
    def save_state(self, key: str, state: bytes) -> None:
        self.backend.save_state(SaveStateRequest(key=key, state=state))
        self.states[key] = state

    @rule(key=NAMES)
    def load_state(self, key: str) -> None:
        assert self.backend.load_state(LoadStateRequest(key=key)).state == self.states.get(key)

    @rule(reencrypt=st.booleans())
    def rekey(self, reencrypt: bool) -> None:
        self.backend.rekey(RekeyRequest(reencrypt=reencrypt))

    @rule()
    def reopen(self) -> None:
        self.backend.close()
        self.backend = LocalBackend.open(self._settings)

    @rule(prefix=st.sampled_from(["", "a", "a/b", "é", "nothing"]))
    def list(self, prefix: str) -> None:
        names = sorted(name for name in self.live if not prefix or name.startswith(prefix + "/"))
        assert list(self.backend.list(ListRequest(prefix=prefix)).names) == names

    @invariant()
    def verifies(self) -> None:
        result = self.backend.verify(VerifyRequest())
        assert result.problems == ()
        assert result.secrets == len(self.live)
        assert result.records == sum(map(len, self.live.values()))

    def teardown(self) -> None:
        self.backend.close()
        self._place.cleanup()


TestStore = StoreMachine.TestCase
TestStore.settings = settings(
    max_examples=15, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
)
