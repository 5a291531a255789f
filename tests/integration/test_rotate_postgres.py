"""Rotations of real PostgreSQL users by real managers: under load, and refused by the server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import strongroom

from pgload import NAME, readers, rotate_often
from pgrotation import RefusingProxy, accepts, administrator, login, new_users, rule
from postgres import PASSWORD, Database, database
from strongroom.errors import RotationError

THREADS = 8


@pytest.fixture(scope="module")
def postgres() -> Iterator[Database]:
    with database() as started, administrator():
        yield started


def stored(store: Path, table: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Return a configuration with an encrypted store of the test's own."""
    local = {"type": "local", "path": str(store / "secrets.db"), "master_key": {"file": str(store / "master.key")}}
    return {"audit": "none", "backend": "local", "backends": {"local": local}, "rotation": {"db/*": table}} | more


class TestUnderLoad:
    """A value works for (users - 1) * overlap after another one has replaced it."""

    @pytest.mark.parametrize(
        ("count", "overlap", "times"), [(2, "2s", 5), (6, "200ms", 60)], ids=["two users", "six users"]
    )
    def test_no_login_fails(self, postgres: Database, store: Path, count: int, overlap: str, times: int) -> None:
        users = new_users(postgres, count)
        config = stored(store, rule(postgres, users, overlap=overlap))
        cached = {"policy": "ttl", "ttl": "250ms"}
        with strongroom.open(config | {"cache": cached}) as one, strongroom.open(config | {"cache": cached}) as other:
            one.set(NAME, login(users[0]))
            # Those of the other manager learn of a new value only when their cached one has run out.
            with readers([one, other], postgres, THREADS) as threads:
                rotate_often(one, times)
        assert [failure for thread in threads for failure in thread.failures] == []
        assert {user for thread in threads for user in thread.logins} == set(users)
        assert min(sum(thread.logins.values()) for thread in threads) > times / 2

    def test_a_value_works_until_its_users_turn_comes_again(self, postgres: Database) -> None:
        users = new_users(postgres, 3)
        config = {"audit": "none", "backend": "m", "backends": {"m": {"type": "memory"}}}
        with strongroom.open(config | {"rotation": {"db/*": rule(postgres, users)}}) as manager:
            values = [login(users[0])]
            manager.set(NAME, values[0])
            for _ in range(5):
                manager.rotate(NAME)
                values.append(manager.get(NAME).reveal_text())
                working = [accepts(postgres, value) for value in values]
                assert working == [False] * (len(values) - 3) + [True] * min(3, len(values))


class TestRefused:
    @pytest.fixture
    def users(self, postgres: Database) -> list[str]:
        return new_users(postgres, 2)

    def opened(self, postgres: Database, users: list[str], port: int) -> strongroom.SecretManager:
        table = rule(postgres, users, port=port, sslmode="disable")
        memory = {"type": "memory"}
        return strongroom.open(
            {"audit": "none", "backend": "m", "backends": {"m": memory}, "rotation": {"db/*": table}}
        )

    def test_a_candidate_that_the_server_refuses_twice_is_replaced(self, postgres: Database, users: list[str]) -> None:
        with RefusingProxy(postgres.port, 2) as proxy, self.opened(postgres, users, proxy.port) as manager:
            manager.set(NAME, login(users[0]))
            assert manager.rotate(NAME).is_complete
            assert accepts(postgres, manager.get(NAME).reveal())
            assert len(proxy.changes) == 3

    def test_a_server_that_refuses_them_all_is_left_as_it_was(self, postgres: Database, users: list[str]) -> None:
        # Three candidates, each twice; what locks the next user out is no candidate, and is taken.
        with RefusingProxy(postgres.port, 6) as proxy, self.opened(postgres, users, proxy.port) as manager:
            manager.set(NAME, login(users[0]))
            with pytest.raises(RotationError, match="refused 3 candidates") as caught:
                manager.rotate(NAME)
            assert caught.value.code == "rotation_failed"
            assert manager.get(NAME).reveal_text() == login(users[0])
            assert accepts(postgres, login(users[0]))
            assert manager.rotate(NAME).is_complete


def test_the_administrators_password_may_be_a_secret_that_is_rotated_itself(postgres: Database) -> None:
    users, admins = new_users(postgres, 2), new_users(postgres, 2, "SUPERUSER")
    admin = rule(postgres, admins)
    app = {key: value for key, value in rule(postgres, users).items() if not key.startswith("admin")}
    config = {
        "audit": "none",
        "backend": "m",
        "backends": {"m": {"type": "memory"}},
        "rotation": {"ops/postgres": admin, "db/*": app | {"admin_secret": "ops/postgres"}},
    }
    with strongroom.open(config) as manager:
        manager.set("ops/postgres", login(admins[0]))
        manager.set(NAME, login(users[0]))
        for _ in range(3):
            manager.rotate("ops/postgres")
            manager.rotate(NAME)
            assert accepts(postgres, manager.get("ops/postgres").reveal())
            assert accepts(postgres, manager.get(NAME).reveal())


def test_no_value_is_in_the_servers_log_or_the_audit_trail(tmp_path: Path) -> None:
    trail = tmp_path / "audit.jsonl"
    with database("log_statement=all", "log_min_duration_statement=0", "log_connections=on") as talkative:
        users = ["app_a", "app_b"]
        for user in users:
            talkative.query(f"CREATE ROLE {user} LOGIN PASSWORD 'first'")
        with administrator():
            config = {
                "audit": [{"type": "jsonl", "path": str(trail)}],
                "backend": "m",
                "backends": {"m": {"type": "memory"}},
                "rotation": {"db/*": rule(talkative, users)},
            }
            with strongroom.open(config) as manager:
                manager.set(NAME, login("app_a", "first"))
                manager.rotate(NAME)
                password = manager.get(NAME, field="password").reveal_text()
        ((log,),) = talkative.query("SELECT pg_read_file(current_setting('data_directory') || '/../server.log')")
    assert "ALTER ROLE" in log, "the test would prove nothing"
    assert password not in log
    assert PASSWORD not in log
    assert password not in trail.read_text()
