"""What the checks of a backend share: the fixtures that an author overrides, and short calls."""

from __future__ import annotations

import secrets

from collections.abc import Callable
from typing import ClassVar

import pytest

from strongroom.contracts import (
    Backend,
    Capability,
    DeleteRequest,
    DeleteResult,
    ListRequest,
    ReadRequest,
    ReadResult,
    VersionsRequest,
    WriteRequest,
    WriteResult,
)
from strongroom.errors import SecretDeletedError, SecretNotFoundError
from strongroom.model import Absent, SecretName, SecretValue, SecretVersion
from strongroom.resilience.guarded import GuardedBackend
from strongroom.testing.doubles import FaultyBackend
from strongroom.testing.promises import must_override

Seed = Callable[[str, str | bytes], SecretName]
"""Puts a secret under a name and returns the name in its canonical form."""


class BackendKit:
    """Fixtures and attributes of ``BackendContract``; see there which to override.

    Attributes:
        capabilities: What the backend's specification declares.
        holds_binary: Whether it can keep bytes that are not text.
        recovers_versions: Whether a backend that is ``Recoverable`` brings back and destroys
            single versions; else it knows only the secret as a whole.
        writes_over_deleted: Whether a name that was deleted can be written again at once; else
            that is refused as ``deletion_scheduled`` until the secret is brought back.
        credentials: What the tests open it with, so that it can be looked for
            where it must not show.
    """

    capabilities: ClassVar[frozenset[Capability]] = frozenset()
    holds_binary: ClassVar[bool] = True
    recovers_versions: ClassVar[bool] = True
    writes_over_deleted: ClassVar[bool] = True
    credentials: ClassVar[tuple[str, ...]] = ()

    @pytest.fixture
    def backend(self) -> Backend:
        """Return the backend under test; every author overrides this."""
        # Not an abstract method, which would keep pytest from making the class: it tells an author what is missing.
        must_override(self, "the fixture `backend`", "it returns the backend under test, a new one for each check")

    @pytest.fixture
    def seed(self, backend: Backend) -> Seed:
        """Return a function that puts a secret there; override it for a backend that cannot write."""
        if Capability.WRITE not in self.capabilities:
            # As above: only the author knows how to put a secret into a store that strongroom cannot write to.
            must_override(
                self,
                "the fixture `seed`, since it does not state WRITE",
                "it returns a function of name and content that puts a secret there by other means",
            )

        def put(name: str, content: str | bytes) -> SecretName:
            write(backend, name, content)
            return SecretName(name)

        return put

    @pytest.fixture
    def reopen(self) -> Callable[[], Backend]:
        """Return a function that opens the backend's storage once more; override it if that outlives the backend.

        What it opens, it must also close in the end.
        """
        # A backend that keeps everything in its process has nothing to open again.
        pytest.skip("the test class does not override the fixture `reopen`, which opens the storage once more")

    @pytest.fixture
    def folder(self) -> str:
        """Return the folder that one check works in, another each time: servers may be shared."""
        return f"kit{secrets.token_hex(5)}"

    @pytest.fixture
    def failing(self, backend: Backend) -> Backend:
        """Return a backend whose every call fails with an exception of a foreign library.

        Override it with a backend that has lost its server, and the checks see
        how yours translates that.
        """
        return FaultyBackend(backend, error=ConnectionResetError("the far end hung up"))

    @pytest.fixture
    def spy(self, backend: Backend) -> FaultyBackend:
        """Return the backend with its calls counted."""
        return FaultyBackend(backend)

    @pytest.fixture
    def guard(self, spy: FaultyBackend) -> GuardedBackend:
        """Return the backend as the core calls it."""
        return self.guarded(spy)

    def guarded(self, backend: Backend) -> GuardedBackend:
        """Return a backend with the core's guard around it."""
        return GuardedBackend(backend, name="under-test", type="test", capabilities=self.capabilities)

    def need(self, *capabilities: Capability) -> None:
        """Skip a check that needs more than the backend declares."""
        for capability in capabilities:
            if capability not in self.capabilities:
                # What a backend does not offer there is nothing to check of.
                pytest.skip(f"the backend does not declare {capability.name}")

    def need_missing(self, capability: Capability) -> None:
        """Skip a check of what happens without a capability."""
        if capability in self.capabilities:
            # What is refused without the capability is checked of those that have not got it.
            pytest.skip(f"the backend declares {capability.name}, and this is about backends that do not")

    def need_binary(self) -> None:
        """Skip a check that needs bytes that are not text."""
        if not self.holds_binary:
            # Environment variables, say, hold text only, and refusing bytes is checked elsewhere.
            pytest.skip("the test class states holds_binary = False")

    def refused_over_deleted(self, backend: Backend, name: str, expect_version: Absent | None = None) -> bool:
        """Check that a name which was deleted is not written, where the class states that; tell whether it does."""
        if self.writes_over_deleted:
            return False
        with pytest.raises(SecretDeletedError) as caught:
            write(backend, name, "written over what was deleted", expect_version=expect_version)
        assert caught.value.code == "deletion_scheduled"
        with pytest.raises(SecretNotFoundError):
            read(backend, name)
        return True


def read(backend: Backend, name: str, version: str | None = None) -> ReadResult:
    """Read one secret."""
    return backend.read(ReadRequest(name=SecretName(name), version=version))


def text_of(backend: Backend, name: str, version: str | None = None) -> str:
    """Read one secret's text."""
    return read(backend, name, version).value.reveal_text()


def write(backend: Backend, name: str, content: str | bytes, expect_version: str | Absent | None = None) -> WriteResult:
    """Write one secret."""
    return backend.write(WriteRequest(name=SecretName(name), value=SecretValue(content), expect_version=expect_version))


def delete(backend: Backend, name: str) -> DeleteResult:
    """Delete one secret."""
    return backend.delete(DeleteRequest(name=SecretName(name)))


def new_token() -> str:
    """Return a UUID that no other write has."""
    text = secrets.token_hex(16)
    return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-8{text[17:20]}-{text[20:]}"


def names_below(backend: Backend, prefix: str) -> list[str]:
    """List the names below a prefix, in the backend's order."""
    return list(backend.list(ListRequest(prefix=prefix)).names)


def versions_of(backend: Backend, name: str) -> list[SecretVersion]:
    """List a secret's versions, in the backend's order."""
    return list(backend.versions(VersionsRequest(name=SecretName(name))).versions)
