"""A thousand rotations of real PostgreSQL users while eight threads log in with what they read.

``STRONGROOM_CHAOS_SECONDS`` is for how long the chaos runs go on: a thousand belong to the ten minutes that they have
in an environment of their own.
"""

from __future__ import annotations

import os

import pytest

import strongroom

from pgload import NAME, readers, rotate_often
from pgrotation import administrator, login, new_users, rule
from postgres import database

SECONDS = float(os.environ.get("STRONGROOM_CHAOS_SECONDS", "60"))
USERS = 6
THREADS = 8
LONG = 300.0


@pytest.mark.timeout(0)
@pytest.mark.skipif(SECONDS < LONG, reason="only for the environment chaos: integration has sixty rotations")
def test_a_thousand_rotations_let_no_login_fail() -> None:
    times = round(1000 * SECONDS / 600)
    with database("max_connections=200") as postgres, administrator():
        users = new_users(postgres, USERS)
        config = {
            "audit": "none",
            "backend": "memory",
            "backends": {"memory": {"type": "memory", "keep_versions": 5}},
            "rotation": {"db/*": rule(postgres, users, overlap="200ms")},
        }
        with strongroom.open(config) as manager:
            manager.set(NAME, login(users[0]))
            with readers([manager], postgres, THREADS) as threads:
                rotate_often(manager, times)
            assert int(manager.get(NAME).version) > times
    logins = sum(sum(thread.logins.values()) for thread in threads)
    print(f"{times} rotations, {logins} logins")
    assert [failure for thread in threads for failure in thread.failures] == []
    assert {user for thread in threads for user in thread.logins} == set(users)
    assert logins > times
