"""The policy keeps the contract, in each of its modes."""

from __future__ import annotations

import pytest

from strongroom.testing import CachePolicyContract, PluginContract
from strongroom_cache_refresh.policy import RefreshPolicy
from strongroom_cache_refresh.settings import RefreshSettings


class TestPlugin(PluginContract):
    module = "strongroom_cache_refresh.plugin"
    heavy = ("strongroom_cache_refresh.policy", "strongroom_cache_refresh.learning")


class TestDefaults(CachePolicyContract):
    @pytest.fixture
    def policy(self) -> RefreshPolicy:
        return RefreshPolicy(RefreshSettings())


class TestEverything(CachePolicyContract):
    @pytest.fixture
    def policy(self) -> RefreshPolicy:
        return RefreshPolicy(
            RefreshSettings(
                ttls={"a/**": 10.0},
                stale_while_revalidate=30.0,
                max_stale=600.0,
                adaptive=True,
                keep=("**",),
                no_cache=("n/**",),
            )
        )


class TestOff(CachePolicyContract):
    @pytest.fixture
    def policy(self) -> RefreshPolicy:
        return RefreshPolicy(RefreshSettings(ttl=0.0, negative_ttl=0.0))
