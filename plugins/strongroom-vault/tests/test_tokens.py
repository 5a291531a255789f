"""How often there is a login, what a refusal leads to, and what becomes of the token in the end."""

from __future__ import annotations

import threading
import time

from collections.abc import Iterator

import pytest

from fakes import Answer, FakeVault, Sent
from logins import APPROLE, DENIED, REFUSED, WRONG, Given, Tokens, granted, keeper_of, read
from strongroom.errors import AuthenticationError, BackendUnavailableError, ClosedError, StrongroomError
from strongroom.testing import assert_hidden, in_forked_child, in_threads, marker_value, report_of
from strongroom_vault.faults import refusal, token_refused
from strongroom_vault.replies import RefusedError
from strongroom_vault.settings import AuthSettings
from strongroom_vault.tokens import TokenKeeper


@pytest.fixture
def tokens(vault: FakeVault) -> Tokens:
    return Tokens(vault)


@pytest.fixture
def keeper(vault: FakeVault, tokens: Tokens) -> Iterator[TokenKeeper]:
    with_login = keeper_of(vault)
    yield with_login
    with_login.close()


class TestEconomy:
    def test_nothing_is_sent_before_a_token_is_needed(self, vault: FakeVault, keeper: TokenKeeper) -> None:
        assert vault.requests == []
        assert keeper.facts() == (("logins", "0"), ("renewals", "0"))

    def test_a_hundred_reads_take_one_login_and_a_hundred_requests(self, vault: FakeVault, keeper: TokenKeeper) -> None:
        for number in range(100):
            read(keeper, f"name-{number}")
        assert len(vault.requests) == 101
        assert len(vault.sent("POST", "/v1/auth/approle/login")) == 1

    def test_twenty_threads_that_start_at_once_take_one_login(self, tokens: Tokens, keeper: TokenKeeper) -> None:
        assert len({read(keeper).data["data"]["value"] for _ in in_threads(20, lambda _: read(keeper))}) == 1
        assert tokens.logins == 1

    def test_threads_that_wait_for_one_login_all_have_its_error(self, vault: FakeVault) -> None:
        vault.answer("POST", "/v1/auth/approle/login", 400, WRONG, delay=0.3)
        keeper = keeper_of(vault)

        def failure(_: int) -> str:
            with pytest.raises(AuthenticationError) as caught:
                keeper.current()
            return str(caught.value)

        assert len(set(in_threads(10, failure))) == 1
        assert len(vault.requests) == 1

    def test_a_refused_login_is_not_repeated_at_once(self, vault: FakeVault) -> None:
        vault.answer("POST", "/v1/auth/approle/login", 400, WRONG)
        keeper = keeper_of(vault)
        for _ in range(20):
            with pytest.raises(AuthenticationError, match="operator must issue a new one"):
                keeper.current()
        assert len(vault.requests) == 1
        assert ("last_login_error", "authentication_failed") in keeper.facts()

    def test_a_refused_login_is_tried_again_after_a_while(self, vault: FakeVault) -> None:
        vault.answer("POST", "/v1/auth/approle/login", 200, granted("late"))
        vault.answer("POST", "/v1/auth/approle/login", 400, WRONG, times=1)
        keeper = keeper_of(vault)
        with pytest.raises(AuthenticationError):
            keeper.current()
        time.sleep(1.05)
        assert keeper.current() == "late"

    def test_credentials_that_have_changed_are_shown_at_once(self, vault: FakeVault) -> None:
        def judged(sent: Sent) -> Answer:
            return Answer(200, granted("new")) if sent.json["secret_id"] == "right" else Answer(400, WRONG)

        vault.handle("POST", "/v1/auth/approle/login", judged)
        secret = Given("wrong")
        keeper = keeper_of(vault, APPROLE.replace(secret_id=secret))
        with pytest.raises(AuthenticationError):
            keeper.current()
        secret.text = "right"
        assert keeper.current() == "new"

    def test_an_outage_during_the_login_is_an_outage(self, vault: FakeVault, keeper: TokenKeeper) -> None:
        vault.down()
        with pytest.raises(BackendUnavailableError):
            read(keeper)
        vault.up()
        assert read(keeper).status == 200

    def test_monitoring_is_told_of_the_token_and_by_what_its_login_is_found(self, keeper: TokenKeeper) -> None:
        keeper.current()
        facts = dict(keeper.facts())
        assert 3590 < int(facts.pop("token_seconds_left")) <= 3600
        assert facts == {
            "logins": "1",
            "renewals": "0",
            "token": "logged in",
            "token_renewable": "yes",
            "login_request": "request-of-the-login",
        }


class TestUseLimits:
    def test_making_sure_of_a_token_takes_no_use(self, vault: FakeVault) -> None:
        tokens = Tokens(vault, num_uses=1)
        keeper = keeper_of(vault)
        for _ in range(3):
            keeper.ensure()
        assert read(keeper).status == 200
        assert tokens.logins == 1

    def test_twenty_reads_with_tokens_of_five_uses_take_four_logins(self, vault: FakeVault) -> None:
        tokens = Tokens(vault, num_uses=5)
        keeper = keeper_of(vault)
        for _ in range(20):
            assert read(keeper).status == 200
        assert tokens.logins == 4
        assert vault.sent("GET") == [sent for sent in vault.requests if sent.method == "GET"][:20]

    def test_the_same_holds_for_threads(self, vault: FakeVault) -> None:
        tokens = Tokens(vault, num_uses=5)
        keeper = keeper_of(vault)
        assert [reply.status for reply in in_threads(20, lambda _: read(keeper))] == [200] * 20
        assert tokens.logins == 4

    def test_uses_that_the_server_counts_and_we_do_not_are_no_error(self, vault: FakeVault) -> None:
        tokens = Tokens(vault, num_uses=5)
        keeper = keeper_of(vault)
        read(keeper)
        tokens.left["token-1"] = 0
        assert read(keeper).data["data"]["value"] == "token-2"

    def test_a_token_with_few_uses_is_not_renewed(self, vault: FakeVault) -> None:
        Tokens(vault, num_uses=5, ttl=1)
        keeper = keeper_of(vault)
        read(keeper)
        assert keeper.due() == float("inf")


class TestRefusals:
    def test_a_dead_token_is_cured_by_one_login(self, tokens: Tokens, keeper: TokenKeeper) -> None:
        read(keeper)
        tokens.left.clear()
        assert read(keeper).data["data"]["value"] == "token-2"
        assert tokens.logins == 2

    def test_threads_whose_token_died_share_one_login(self, tokens: Tokens, keeper: TokenKeeper) -> None:
        read(keeper)
        tokens.left.clear()
        assert {reply.data["data"]["value"] for reply in in_threads(20, lambda _: read(keeper))} == {"token-2"}
        assert tokens.logins == 2

    def test_a_token_that_dies_time_and_again_is_cured_each_time(self, tokens: Tokens, keeper: TokenKeeper) -> None:
        for _ in range(5):
            read(keeper)
            tokens.left.clear()
        assert tokens.logins == 5

    def test_a_denial_leads_to_no_login(self, vault: FakeVault, tokens: Tokens, keeper: TokenKeeper) -> None:
        with pytest.raises(RefusedError) as caught:
            read(keeper, "denied")
        assert refusal(caught.value.reply, "reading").code == "denied"
        assert [sent.method for sent in vault.requests] == ["POST", "GET"]

    def test_where_the_texts_are_alike_a_denial_costs_one_login_a_minute(
        self, vault: FakeVault, tokens: Tokens, keeper: TokenKeeper
    ) -> None:
        vault.answer("GET", "/v1/secret/data/denied", 403, REFUSED)
        read(keeper)
        for name in ("denied-1", "denied-2", "denied-3"):
            with pytest.raises(RefusedError) as caught:
                read(keeper, name)
            assert refusal(caught.value.reply, "reading").code == "denied"
        assert tokens.logins == 2
        assert len(vault.sent("GET", "/v1/secret/data/denied")) == 4
        assert read(keeper).data["data"]["value"] == "token-2"

    def test_a_denied_name_costs_no_token_if_there_cannot_be_another(
        self, vault: FakeVault, tokens: Tokens, keeper: TokenKeeper
    ) -> None:
        vault.answer("GET", "/v1/secret/data/denied", 403, REFUSED)
        read(keeper)
        vault.answer("POST", "/v1/auth/approle/login", 400, WRONG)
        with pytest.raises(AuthenticationError):
            read(keeper, "denied")
        assert read(keeper).data["data"]["value"] == "token-1"

    def test_newer_servers_texts_are_understood(self, tokens: Tokens, keeper: TokenKeeper, vault: FakeVault) -> None:
        newer = {"errors": ["2 errors occurred:\n\t* permission denied\n\t* invalid token\n\n"]}
        read(keeper)
        vault.answer("GET", "/v1/secret/data/name", 403, newer, times=1)
        assert read(keeper).data["data"]["value"] == "token-2"


class TestConfiguredTokens:
    def test_it_is_shown_without_any_other_request(self, vault: FakeVault, tokens: Tokens) -> None:
        tokens.left["mine"] = 100
        keeper = keeper_of(vault, AuthSettings(token=Given("mine\n")))
        assert read(keeper).data["data"]["value"] == "mine"
        keeper.close()
        assert len(vault.requests) == 1
        assert keeper.logins == 0

    def test_a_refused_one_is_looked_for_once_more(self, vault: FakeVault, tokens: Tokens) -> None:
        source = Given("old")
        keeper = keeper_of(vault, AuthSettings(token=source))
        tokens.left["new"] = 100
        source.text = "new"
        assert read(keeper).data["data"]["value"] == "new"

    def test_one_that_stays_refused_is_bad_credentials(self, vault: FakeVault, tokens: Tokens) -> None:
        keeper = keeper_of(vault, AuthSettings(token=Given("bad")))
        with pytest.raises(RefusedError) as caught:
            read(keeper)
        assert token_refused(caught.value.reply)
        assert refusal(caught.value.reply, "reading").code == "authentication_failed"
        assert len(vault.requests) == 1

    def test_it_is_renewed_if_that_is_asked_for(self, vault: FakeVault) -> None:
        vault.answer("POST", "/v1/auth/token/renew-self", 200, granted("mine", ttl=1))
        keeper = keeper_of(vault, AuthSettings(token=Given("mine"), renew=True))
        assert keeper.current() == "mine"
        wait_for(lambda: keeper.renewals >= 2)
        keeper.close()
        assert vault.sent("POST", "/v1/auth/token/revoke-self") == []

    def test_one_that_cannot_be_renewed_is_left_alone(self, vault: FakeVault) -> None:
        vault.answer("POST", "/v1/auth/token/renew-self", 400, {"errors": ["lease is not renewable"]})
        keeper = keeper_of(vault, AuthSettings(token=Given("root"), renew=True))
        keeper.current()
        wait_for(lambda: len(vault.requests) == 1)
        wait_for(lambda: keeper.due() == float("inf"))
        assert keeper.current() == "root"
        assert ("token_renewable", "no") in keeper.facts()


class TestOwnerThread:
    def test_it_renews_in_time(self, vault: FakeVault) -> None:
        tokens = Tokens(vault, ttl=1)
        vault.answer("POST", "/v1/auth/token/renew-self", 200, granted("token-1", ttl=1))
        keeper = keeper_of(vault)
        keeper.current()
        wait_for(lambda: keeper.renewals >= 3)
        keeper.close()
        assert tokens.logins == 1
        assert {sent.headers["x-vault-token"] for sent in vault.sent("POST", "/v1/auth/token/renew")} == {"token-1"}

    def test_a_token_is_kept_through_an_outage(self, vault: FakeVault) -> None:
        tokens = Tokens(vault, ttl=3)
        vault.answer("POST", "/v1/auth/token/renew-self", 200, granted("token-1", ttl=3))
        keeper = keeper_of(vault)
        keeper.current()
        time.sleep(1.4)
        vault.down()
        time.sleep(1.0)
        vault.up()
        wait_for(lambda: keeper.renewals >= 1)
        assert read(keeper).data["data"]["value"] == "token-1"
        assert tokens.logins == 1
        keeper.close()

    def test_it_logs_in_before_the_end_of_a_token_that_cannot_be_renewed(self, vault: FakeVault) -> None:
        tokens = Tokens(vault, ttl=1, renewable=False, token_type="batch")
        keeper = keeper_of(vault)
        first = keeper.current()
        wait_for(lambda: keeper.current() != first)
        assert keeper.tenure()[1] > 0.5
        assert tokens.logins == 2

    def test_a_renewal_that_hangs_does_not_hold_up_a_reader(self, vault: FakeVault) -> None:
        Tokens(vault, ttl=1)
        vault.answer("POST", "/v1/auth/token/renew-self", 200, granted("token-1", ttl=1), delay=2.0)
        keeper = keeper_of(vault)
        keeper.current()
        wait_for(lambda: vault.sent("POST", "/v1/auth/token/renew-self") != [])
        before = time.monotonic()
        assert keeper.current() == "token-1"
        assert time.monotonic() - before < 0.2

    def test_it_ends_with_the_keeper(self, vault: FakeVault, keeper: TokenKeeper) -> None:
        keeper.current()
        owner = next(thread for thread in threading.enumerate() if thread is keeper._thread)
        keeper.close()
        owner.join(5)
        assert not owner.is_alive()


class TestClosing:
    def test_the_token_is_given_back(self, vault: FakeVault, keeper: TokenKeeper) -> None:
        keeper.current()
        keeper.close()
        keeper.close()
        (revoked,) = vault.sent("POST", "/v1/auth/token/revoke-self")
        assert revoked.headers["x-vault-token"] == "token-1"

    def test_not_if_it_was_never_needed(self, vault: FakeVault, keeper: TokenKeeper) -> None:
        keeper.close()
        assert vault.requests == []

    def test_not_if_it_is_not_to_be(self, vault: FakeVault, tokens: Tokens) -> None:
        keeper = keeper_of(vault, APPROLE.replace(revoke=False))
        keeper.current()
        keeper.close()
        assert vault.sent("POST", "/v1/auth/token/revoke-self") == []

    def test_not_if_it_is_a_batch_token(self, vault: FakeVault) -> None:
        Tokens(vault, token_type="batch", renewable=False)
        keeper = keeper_of(vault)
        keeper.current()
        keeper.close()
        assert vault.sent("POST", "/v1/auth/token/revoke-self") == []

    def test_not_if_something_that_was_leased_under_it_is_to_live_on(
        self, vault: FakeVault, keeper: TokenKeeper
    ) -> None:
        keeper.current()
        keeper.keep()
        keeper.close()
        assert vault.sent("POST", "/v1/auth/token/revoke-self") == []

    @pytest.mark.parametrize("status", [400, 403, 500])
    def test_a_failure_is_ignored(self, vault: FakeVault, keeper: TokenKeeper, status: int) -> None:
        vault.answer("POST", "/v1/auth/token/revoke-self", status, REFUSED)
        keeper.current()
        keeper.close()

    def test_a_server_that_hangs_holds_up_the_end_for_a_short_time_only(
        self, vault: FakeVault, keeper: TokenKeeper
    ) -> None:
        vault.answer("POST", "/v1/auth/token/revoke-self", 204, delay=20.0)
        keeper.current()
        before = time.monotonic()
        keeper.close()
        assert time.monotonic() - before < 5

    def test_afterwards_there_is_no_login(self, vault: FakeVault, keeper: TokenKeeper) -> None:
        keeper.close()
        with pytest.raises(ClosedError):
            keeper.current()
        assert vault.requests == []

    def test_a_token_that_comes_too_late_is_given_back_at_once(self, vault: FakeVault) -> None:
        vault.answer("POST", "/v1/auth/approle/login", 200, granted("late"), delay=0.5)
        vault.answer("POST", "/v1/auth/token/revoke-self", 204)
        keeper = keeper_of(vault)

        def refused() -> None:
            with pytest.raises(ClosedError):
                keeper.current()

        reader = threading.Thread(target=refused)
        reader.start()
        wait_for(lambda: vault.requests != [])
        keeper.close()
        reader.join(5)
        assert [sent.headers["x-vault-token"] for sent in vault.sent("POST", "/v1/auth/token/revoke-self")] == ["late"]


class TestForks:
    def test_a_child_logs_in_for_itself_and_leaves_the_parents_token_alone(
        self, vault: FakeVault, tokens: Tokens, keeper: TokenKeeper
    ) -> None:
        read(keeper)

        def child() -> str:
            keeper.after_fork()
            keeper._transport.after_fork()
            token = read(keeper).data["data"]["value"]
            keeper.close()
            return f"{token} {keeper.logins}"

        assert in_forked_child(child) == "token-2 1"
        assert read(keeper).data["data"]["value"] == "token-1"
        assert [s.headers["x-vault-token"] for s in vault.sent("POST", "/v1/auth/token/revoke-self")] == ["token-2"]

    def test_a_child_that_needs_no_token_gives_none_back(self, vault: FakeVault, keeper: TokenKeeper) -> None:
        keeper.current()

        def child() -> str:
            keeper.after_fork()
            keeper.close()
            return "closed"

        assert in_forked_child(child) == "closed"
        assert vault.sent("POST", "/v1/auth/token/revoke-self") == []

    def test_a_fork_during_a_login_does_not_hang_the_child(self, vault: FakeVault) -> None:
        vault.answer("POST", "/v1/auth/approle/login", 200, granted("of-the-parent"), delay=1.0, times=1)
        keeper = keeper_of(vault)
        reader = threading.Thread(target=keeper.current)
        reader.start()
        wait_for(lambda: vault.requests != [])
        vault.answer("POST", "/v1/auth/approle/login", 200, granted("of-the-child"), times=1)

        def child() -> str:
            keeper.after_fork()
            keeper._transport.after_fork()
            return keeper.current()

        assert in_forked_child(child) == "of-the-child"
        reader.join(5)
        assert keeper.current() == "of-the-parent"


class TestSignals:
    def test_a_reader_that_interrupts_a_login_of_its_own_thread_does_not_hang(self, vault: FakeVault) -> None:
        keeper = keeper_of(vault)
        inner: list[str] = []

        class Interrupted(Given):
            def read(self):  # type: ignore[no-untyped-def]
                if not inner:
                    inner.append("")
                    inner.append(keeper.current())
                return super().read()

        keeper._login._role_id = Interrupted("role")
        Tokens(vault)
        assert keeper.current() in {"token-1", "token-2"}
        assert inner == ["", "token-1"]


class TestSecrecy:
    @pytest.mark.parametrize("status", [400, 403, 500, 503])
    def test_no_error_of_a_login_shows_what_was_sent(self, vault: FakeVault, status: int) -> None:
        marker = marker_value().replace("é", "e")
        vault.handle("POST", "/v1/auth/approle/login", lambda s: Answer(status, {"errors": [s.body.decode()]}))
        keeper = keeper_of(vault, APPROLE.replace(role_id=Given(marker), secret_id=Given(marker)))
        with pytest.raises(StrongroomError) as caught:
            keeper.current()
        assert_hidden(marker, report_of(caught.value, "strongroom_vault"), "the error")

    def test_neither_the_keeper_nor_what_it_tells_shows_the_token(self, vault: FakeVault, caplog) -> None:
        marker = marker_value().replace("é", "e")
        vault.answer("POST", "/v1/auth/approle/login", 200, granted(marker))
        vault.answer("GET", "/", 403, DENIED)
        caplog.set_level("DEBUG")
        keeper = keeper_of(vault)
        with pytest.raises(RefusedError) as caught:
            read(keeper)
        assert_hidden(marker, repr(keeper.facts()) + repr(keeper) + repr(vars(keeper)), "the keeper")
        assert_hidden(marker, repr(caught.value) + caplog.text, "the log")


def wait_for(holds) -> None:  # type: ignore[no-untyped-def]
    """Wait until something holds, for at most ten seconds."""
    end = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.01)
