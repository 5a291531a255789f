"""The rotators against a real server: what each step does to whom, once or twice, and what it leaves alone."""

from __future__ import annotations

import json

from collections.abc import Callable
from typing import Any

import pytest

from pgrotation import FIRST, accepts, login, new_users
from postgres import PASSWORD, Database
from strongroom.contracts import (
    ApplyRequest,
    FinishRequest,
    GenerateRequest,
    Rotator,
    UndoRequest,
    VerifyCandidateRequest,
)
from strongroom.errors import (
    AccessDeniedError,
    AuthenticationError,
    CandidateRefusedError,
    ConfigurationError,
    InvalidValueError,
    RotationError,
)
from strongroom.model import SecretName, SecretValue
from strongroom.testing import report_of
from strongroom_rotate_postgres.rotators import AlternatingRotator, SingleRotator
from strongroom_rotate_postgres.settings import AlternatingSettings, PostgresSettings

NAME = SecretName("db/orders")
ADMIN = "ops/postgres"


class Secrets:
    """The other secrets, and who has asked for them."""

    def __init__(self, **values: str) -> None:
        self.values = {ADMIN: login("postgres", PASSWORD)} | values
        self.asked: list[str] = []

    def __call__(self, name: str) -> SecretValue:
        self.asked.append(name)
        return SecretValue(self.values[name])


class Steps:
    """Calls a rotator's methods as the core does."""

    def __init__(self, rotator: Rotator, secrets: Secrets | None = None) -> None:
        self.rotator = rotator
        self.secrets = secrets or Secrets()
        self.confirmed = 0

    def confirm(self) -> None:
        self.confirmed += 1

    def generate(self, current: str, attempt: int = 1) -> str:
        request = GenerateRequest(name=NAME, current=SecretValue(current), attempt=attempt, read_secret=self.secrets)
        return self.rotator.generate(request).value.reveal_text()

    def apply(self, candidate: str, current: str, confirm: Callable[[], None] | None = None) -> None:
        self.rotator.apply(
            ApplyRequest(
                name=NAME,
                candidate=SecretValue(candidate),
                current=SecretValue(current),
                read_secret=self.secrets,
                confirm=confirm or self.confirm,
            )
        )

    def verify(self, candidate: str) -> None:
        self.rotator.verify(
            VerifyCandidateRequest(name=NAME, candidate=SecretValue(candidate), read_secret=self.secrets)
        )

    def finish(self, current: str, former: str) -> None:
        self.rotator.finish(
            FinishRequest(
                name=NAME,
                current=SecretValue(current),
                former=SecretValue(former),
                read_secret=self.secrets,
                confirm=self.confirm,
            )
        )

    def undo(self, candidate: str, current: str) -> None:
        self.rotator.undo(
            UndoRequest(
                name=NAME,
                candidate=SecretValue(candidate),
                current=SecretValue(current),
                read_secret=self.secrets,
                confirm=self.confirm,
            )
        )


def place(server: Database, **more: Any) -> dict[str, Any]:
    return {"host": "127.0.0.1", "port": server.port, "admin_secret": ADMIN} | more


def alternating(server: Database, users: list[str], secrets: Secrets | None = None, **more: Any) -> Steps:
    return Steps(AlternatingRotator(AlternatingSettings(users=tuple(users), **place(server, **more))), secrets)


def single(server: Database, users: list[str], **more: Any) -> Steps:
    return Steps(SingleRotator(PostgresSettings(users=tuple(users), **place(server, **more))))


def facts(server: Database, user: str) -> list[Any]:
    """Return all that the server knows of a user but its password."""
    return server.query(f"SELECT to_jsonb(a) - 'rolpassword' FROM pg_authid a WHERE rolname = '{user}'")


class TestAlternating:
    def test_the_candidate_is_of_the_next_user_and_the_first_comes_after_the_last(self, server: Database) -> None:
        users = new_users(server, 3)
        steps = alternating(server, users)
        value, seen = login(users[0], port=5432), []
        for _ in range(4):
            value = steps.generate(value)
            seen.append(json.loads(value)["username"])
            assert json.loads(value)["port"] == 5432
        assert seen == [*users[1:], *users[:2]]
        assert all(accepts(server, login(user)) for user in users), "generating has changed something"

    def test_applying_changes_the_candidates_user_only(self, server: Database) -> None:
        users = new_users(server, 2)
        steps = alternating(server, users)
        current = login(users[0])
        candidate = steps.generate(current)
        steps.apply(candidate, current)
        steps.apply(candidate, current)
        steps.verify(candidate)
        assert steps.confirmed == 2
        assert accepts(server, candidate)
        assert accepts(server, current)
        assert not accepts(server, login(users[1]))

    def test_nothing_of_a_user_changes_but_its_password(self, server: Database) -> None:
        users = new_users(server, 2, "VALID UNTIL '2999-01-01' CONNECTION LIMIT 7 NOINHERIT")
        steps = alternating(server, users, retire_former=True)
        before = [facts(server, user) for user in users]
        current = login(users[0])
        candidate = steps.generate(current)
        steps.apply(candidate, current)
        steps.finish(candidate, current)
        steps.undo(candidate, current)
        assert [facts(server, user) for user in users] == before

    def test_the_server_gets_a_verifier_of_the_password_only(self, server: Database) -> None:
        users = new_users(server, 2)
        steps = alternating(server, users)
        candidate = steps.generate(login(users[0]))
        steps.apply(candidate, login(users[0]))
        ((stored,),) = server.query(f"SELECT rolpassword FROM pg_authid WHERE rolname = '{users[1]}'")
        assert stored.startswith("SCRAM-SHA-256$4096:")

    def test_names_of_users_may_be_anything(self, server: Database) -> None:
        plain, odd = new_users(server, 1)[0], 'o"dd; DROP ROLE x -- %s ü'
        server.query(f"""CREATE ROLE "{odd.replace('"', '""')}" LOGIN""")
        steps = alternating(server, [plain, odd])
        candidate = steps.generate(login(plain))
        steps.apply(candidate, login(plain))
        steps.verify(candidate)
        server.query(f"""DROP ROLE "{odd.replace('"', '""')}" """)

    def test_nothing_changes_if_the_rotation_is_lost_before_the_change(self, server: Database) -> None:
        users = new_users(server, 2)
        steps = alternating(server, users)

        def lost() -> None:
            raise RotationError("somebody else leads it", code="rotation_lost")

        with pytest.raises(RotationError, match="somebody else"):
            steps.apply(steps.generate(login(users[0])), login(users[0]), lost)
        assert accepts(server, login(users[1]))

    def test_a_candidate_of_the_current_user_is_refused(self, server: Database) -> None:
        users = new_users(server, 2)
        with pytest.raises(InvalidValueError, match="user of the current value"):
            alternating(server, users).apply(login(users[0], "another-password"), login(users[0]))
        assert accepts(server, login(users[0]))

    def test_a_password_that_does_not_work_is_refused(self, server: Database) -> None:
        users = new_users(server, 2)
        with pytest.raises(CandidateRefusedError):
            alternating(server, users).verify(login(users[1], "another-password"))

    def test_finishing_leaves_the_former_user_as_it_is(self, server: Database) -> None:
        users = new_users(server, 2)
        steps = alternating(server, users)
        steps.finish(login(users[1]), login(users[0]))
        assert accepts(server, login(users[0]))
        assert steps.secrets.asked == []

    def test_finishing_retires_the_former_user_if_asked_to(self, server: Database) -> None:
        users = new_users(server, 2)
        steps = alternating(server, users, retire_former=True)
        for _ in range(2):
            steps.finish(login(users[1]), login(users[0]))
        assert not accepts(server, login(users[0]))
        assert accepts(server, login(users[1]))
        assert steps.confirmed == 2

    def test_a_user_that_is_gone_neither_keeps_a_rotation_from_its_end_nor_from_being_undone(
        self, server: Database
    ) -> None:
        users = new_users(server, 2)
        steps = alternating(server, users, retire_former=True)
        server.query(f"DROP ROLE {users[0]}")
        steps.finish(login(users[1]), login(users[0]))
        steps.undo(login(users[0]), login(users[1]))
        assert accepts(server, login(users[1]))

    @pytest.mark.parametrize("former", ["{}", login("postgres", PASSWORD)])
    def test_finishing_touches_nobody_who_is_not_among_the_users(self, server: Database, former: str) -> None:
        users = new_users(server, 2)
        steps = alternating(server, users, retire_former=True)
        steps.finish(login(users[1]), former)
        steps.finish(login(users[1]), login(users[1]))
        assert steps.confirmed == 0
        assert accepts(server, login(users[1]))

    @pytest.mark.parametrize("applied", [False, True])
    def test_undoing_lets_the_candidate_in_no_more_and_the_current_value_still(
        self, server: Database, applied: bool
    ) -> None:
        users = new_users(server, 2)
        steps = alternating(server, users)
        current = login(users[0])
        candidate = steps.generate(current)
        if applied:
            steps.apply(candidate, current)
        for _ in range(2):
            steps.undo(candidate, current)
        assert not accepts(server, candidate)
        assert accepts(server, current)

    def test_undoing_lets_in_what_was_written_by_hand_for_the_candidates_user(self, server: Database) -> None:
        users = new_users(server, 2)
        steps = alternating(server, users)
        candidate = steps.generate(login(users[0]))
        steps.apply(candidate, login(users[0]))
        steps.undo(candidate, login(users[1], "written by hand"))
        assert accepts(server, login(users[1], "written by hand"))

    def test_undoing_touches_nobody_else_for_a_value_written_by_hand(self, server: Database) -> None:
        users = new_users(server, 2)
        steps = alternating(server, users)
        candidate = steps.generate(login(users[0]))
        for by_hand in ("nonsense", login("postgres", "written by hand")):
            steps.undo(candidate, by_hand)
        assert accepts(server, login("postgres", PASSWORD))
        assert not accepts(server, candidate)


class TestSingle:
    def test_the_user_stays_and_the_password_changes(self, server: Database) -> None:
        (user,) = new_users(server, 1)
        steps = single(server, [user])
        current = login(user)
        candidate = steps.generate(current)
        assert json.loads(candidate) | {"password": FIRST} == json.loads(current)
        for _ in range(2):
            steps.apply(candidate, current)
        steps.verify(candidate)
        steps.finish(candidate, current)
        assert not accepts(server, current)
        assert accepts(server, candidate)

    @pytest.mark.parametrize("applied", [False, True])
    def test_undoing_lets_the_current_value_in_again(self, server: Database, applied: bool) -> None:
        (user,) = new_users(server, 1)
        steps = single(server, [user])
        candidate = steps.generate(login(user))
        if applied:
            steps.apply(candidate, login(user))
        for _ in range(2):
            steps.undo(candidate, login(user))
        assert accepts(server, login(user))
        assert not accepts(server, candidate)

    def test_undoing_serves_a_value_written_by_hand_for_another_of_its_users(self, server: Database) -> None:
        users = new_users(server, 2)
        steps = single(server, users)
        candidate = steps.generate(login(users[0]))
        steps.apply(candidate, login(users[0]))
        steps.undo(candidate, login(users[1], "written by hand"))
        assert accepts(server, login(users[1], "written by hand"))
        assert not accepts(server, candidate)


@pytest.mark.parametrize("make", [alternating, single])
class TestBoth:
    @pytest.mark.parametrize(
        "current", [login("postgres", PASSWORD), login("somebody"), "no object", '{"username": 1}']
    )
    def test_a_value_of_nobody_among_the_users_is_refused(
        self, server: Database, make: Callable[..., Steps], current: str
    ) -> None:
        """Who may write the secret must not be able to change the password of any user at will."""
        steps = make(server, new_users(server, 2))
        with pytest.raises(InvalidValueError) as caught:
            steps.generate(current)
        assert caught.value.hint
        with pytest.raises(InvalidValueError):
            steps.apply(current, login("x"))
        assert accepts(server, login("postgres", PASSWORD))

    @pytest.mark.parametrize(
        ("options", "problem"),
        [("NOLOGIN", "log in at all"), ("VALID UNTIL '2001-01-01'", "run out")],
    )
    def test_a_user_that_could_not_log_in_is_found_before_anything_is_pending(
        self, server: Database, make: Callable[..., Steps], options: str, problem: str
    ) -> None:
        users = new_users(server, 2)
        for user in users:
            server.query(f"ALTER ROLE {user} {options}")
        with pytest.raises(ConfigurationError, match=problem):
            make(server, users).generate(login(users[0]))

    def test_a_user_that_is_not_there_is_found(self, server: Database, make: Callable[..., Steps]) -> None:
        with pytest.raises(ConfigurationError, match="has no user"):
            make(server, ["nobody_there", "nobody_there_either"]).generate(login("nobody_there"))

    def test_users_have_to_be_members_of_the_role(self, server: Database, make: Callable[..., Steps]) -> None:
        users = new_users(server, 2)
        steps = make(server, users, role="pg_monitor")
        with pytest.raises(ConfigurationError, match="member of pg_monitor"):
            steps.generate(login(users[0]))
        for user in users:
            server.query(f"GRANT pg_monitor TO {user}")
        steps.apply(steps.generate(login(users[0])), login("x"))

    def test_a_role_that_is_not_there_is_found(self, server: Database, make: Callable[..., Steps]) -> None:
        users = new_users(server, 2)
        with pytest.raises(ConfigurationError, match="member of nobody_there"):
            make(server, users, role="nobody_there").generate(login(users[0]))

    def test_an_administrator_with_the_wrong_password_is_told_so(
        self, server: Database, make: Callable[..., Steps]
    ) -> None:
        users = new_users(server, 2)
        steps = make(server, users)
        steps.secrets.values[ADMIN] = login("postgres", "canary-51")
        with pytest.raises(AuthenticationError, match="administrator postgres") as caught:
            steps.generate(login(users[0]))
        assert "canary-51" not in str(caught.value)

    def test_an_administrator_without_the_right_is_told_so(self, server: Database, make: Callable[..., Steps]) -> None:
        users, (weak,) = new_users(server, 2), new_users(server, 1)
        steps = make(server, users)
        candidate = steps.generate(login(users[0]))
        steps.secrets.values[ADMIN] = login(weak)
        with pytest.raises(AccessDeniedError, match="CREATEROLE"):
            steps.apply(candidate, login("x"))

    def test_an_administrator_that_is_no_superuser_is_enough(
        self, server: Database, make: Callable[..., Steps]
    ) -> None:
        users, (admin,) = new_users(server, 2), new_users(server, 1, "CREATEROLE")
        for user in users:
            server.query(f"GRANT {user} TO {admin} WITH ADMIN OPTION")
        steps = make(server, users)
        steps.secrets.values[ADMIN] = login(admin)
        candidate = steps.generate(login(users[0]))
        steps.apply(candidate, login("x"))
        steps.verify(candidate)

    def test_the_server_may_be_given_as_a_connection_string(self, server: Database, make: Callable[..., Steps]) -> None:
        users = new_users(server, 2)
        dsn = f"postgresql://127.0.0.1:{server.port}/template1?application_name=mine"
        steps = make(server, users, host=None, port=None, dsn=dsn)
        candidate = steps.generate(login(users[0]))
        steps.apply(candidate, login("x"))
        steps.verify(candidate)

    @pytest.mark.parametrize(
        "dsn", ["postgresql://admin:canary-52@h/db", "host=h password=canary-52", "canary-52 = ' "]
    )
    def test_a_connection_string_with_a_password_is_refused_and_not_shown(
        self, server: Database, make: Callable[..., Steps], dsn: str
    ) -> None:
        with pytest.raises(ConfigurationError, match="dsn") as caught:
            make(server, ["a", "b"], host=None, port=None, dsn=dsn)
        assert "canary-52" not in str(caught.value)
        assert caught.value.__context__ is None
        assert "canary-52" not in report_of(caught.value, "strongroom_rotate_postgres")

    def test_the_candidate_is_tried_in_its_own_database_whatever_the_connection_string_says(
        self, server: Database, make: Callable[..., Steps]
    ) -> None:
        users = new_users(server, 2)
        dsn = f"host=127.0.0.1 port={server.port} dbname=postgres"
        steps = make(server, users, host=None, port=None, dsn=dsn, login_dbname="nothing_there")
        candidate = steps.generate(login(users[0]))
        steps.apply(candidate, login("x"))
        with pytest.raises(ConfigurationError, match="no such role or database"):
            steps.verify(candidate)

    def test_the_candidate_can_be_tried_in_a_database_of_its_own(
        self, server: Database, make: Callable[..., Steps]
    ) -> None:
        users = new_users(server, 2)
        steps = make(server, users, login_dbname="nothing_there")
        candidate = steps.generate(login(users[0]))
        steps.apply(candidate, login("x"))
        with pytest.raises(ConfigurationError, match="no such role or database"):
            steps.verify(candidate)
        make(server, users, login_dbname="template1").verify(candidate)
