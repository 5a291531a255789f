"""The hook: what this distribution offers."""

from __future__ import annotations

from collections.abc import Iterator

from strongroom.contracts import CachePolicy, CachePolicySpec
from strongroom.hookspecs import hookimpl
from strongroom_cache_refresh.settings import RefreshSettings


@hookimpl
def strongroom_cache_policies() -> Iterator[CachePolicySpec]:
    """Offer the policy that refreshes what is in use."""
    yield CachePolicySpec(
        name="refresh",
        summary="Answers in use are fetched anew before they expire; times follow names or what is learned.",
        settings=RefreshSettings,
        open=_open,
    )


def _open(settings: RefreshSettings) -> CachePolicy:
    from strongroom_cache_refresh.policy import RefreshPolicy

    return RefreshPolicy(settings)
