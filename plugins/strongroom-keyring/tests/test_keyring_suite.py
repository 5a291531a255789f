"""keyring's own tests for backends."""

from __future__ import annotations

from keyring.testing.backend import BackendBasicTests

import strongroom

from strongroom_keyring import StrongroomKeyring


class TestKeyring(BackendBasicTests):
    def init_keyring(self) -> StrongroomKeyring:
        config = {"audit": "none", "backend": "main", "backends": {"main": {"type": "memory"}}}
        self.manager = strongroom.open(config)
        return StrongroomKeyring.using(self.manager)

    def cleanup(self) -> None:
        super().cleanup()
        self.manager.close()
