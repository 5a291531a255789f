"""The hooks of what the core itself offers: the same way in as for any other distribution."""

from __future__ import annotations

from collections.abc import Iterator

from strongroom.builtin.settings import MemorySettings, NoneSettings, RandomSettings, TtlSettings
from strongroom.contracts.backend import Backend, BackendSpec, Capability
from strongroom.contracts.cache import CachePolicy, CachePolicySpec
from strongroom.contracts.rotation import Rotator, RotatorSpec
from strongroom.hookspecs import hookimpl


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
    yield RotatorSpec(
        name="random",
        summary="Random bytes, or text that stands for them.",
        settings=RandomSettings,
        open=_open_random,
        dependent=False,
    )


def _open_random(settings: RandomSettings) -> Rotator:
    from strongroom.builtin.rotators import RandomRotator

    return RandomRotator(settings)
