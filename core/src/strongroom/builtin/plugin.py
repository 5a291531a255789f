"""The hooks of what the core itself offers: the same way in as for any other distribution."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from strongroom.builtin.settings import MemorySettings, NoneSettings, TtlSettings
from strongroom.contracts.backend import Backend, BackendSpec, Capability
from strongroom.contracts.cache import CachePolicy, CachePolicySpec
from strongroom.contracts.rotation import Rotator, RotatorSpec
from strongroom.hookspecs import hookimpl

if TYPE_CHECKING:
    from strongroom.builtin.rotator_settings import PasswordSettings, RandomSettings, UuidSettings


@hookimpl
def strongroom_backends() -> Iterator[BackendSpec]:
    """Offer the backend in memory."""
    yield BackendSpec(
        name="memory",
        summary="Secrets kept in this process only, for tests and examples.",
        settings=MemorySettings,
        open=_open_memory,
        capabilities=frozenset(Capability),
    )


@hookimpl
def strongroom_cache_policies() -> Iterator[CachePolicySpec]:
    """Offer the default cache policy, and one that caches nothing."""
    yield CachePolicySpec(
        name="ttl",
        summary="Answers serve for a fixed time with jitter.",
        settings=TtlSettings,
        open=_open_ttl,
    )
    yield CachePolicySpec(
        name="none",
        summary="Nothing is cached.",
        settings=NoneSettings,
        open=_open_none,
    )


def _open_memory(settings: MemorySettings) -> Backend:
    from strongroom.builtin.memory import MemoryBackend

    return MemoryBackend(settings)


def _open_ttl(settings: TtlSettings) -> CachePolicy:
    from strongroom.builtin.policies import TtlPolicy

    return TtlPolicy(settings)


def _open_none(settings: NoneSettings) -> CachePolicy:
    from strongroom.builtin.policies import NonePolicy

    return NonePolicy(settings)


@hookimpl
def strongroom_rotators() -> Iterator[RotatorSpec]:
    """Offer rotators of secrets that nothing depends on but their readers."""
    # Imported here: hardly a command rotates.
    from strongroom.builtin.rotator_settings import PasswordSettings, RandomSettings, UuidSettings

    yield RotatorSpec(
        name="random",
        summary="Random bytes, or text that stands for them.",
        settings=RandomSettings,
        open=_open_random,
        dependent=False,
    )
    yield RotatorSpec(
        name="password",
        summary="A password by rules.",
        settings=PasswordSettings,
        open=_open_password,
        dependent=False,
    )
    yield RotatorSpec(
        name="uuid",
        summary="A random UUID.",
        settings=UuidSettings,
        open=_open_uuid,
        dependent=False,
    )


def _open_random(settings: RandomSettings) -> Rotator:
    from strongroom.builtin.rotators import random_rotator

    return random_rotator(settings)


def _open_password(settings: PasswordSettings) -> Rotator:
    from strongroom.builtin.rotators import password_rotator

    return password_rotator(settings)


def _open_uuid(settings: UuidSettings) -> Rotator:
    from strongroom.builtin.rotators import uuid_rotator

    return uuid_rotator(settings)
