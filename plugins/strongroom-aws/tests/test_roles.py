"""Roles: taken on at STS, renewed in time, and what happens if that fails."""

from __future__ import annotations

import logging
import re
import time

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from hypothesis import given, settings
from hypothesis import strategies as st

from awsbackends import Waits, opened, read
from awsclient import ACCESS_KEY
from fakeaws import FakeSecretsManager
from strongroom.errors import AuthenticationError, BackendUnavailableError
from strongroom.testing import FakeClock, report_of
from strongroom_aws.lasting import PAUSE, TRUSTED, Lasting
from strongroom_aws.roles import session_name
from strongroom_aws.settings import AwsSettings

ROLE = "arn:aws:iam::123456789012:role/reader"


@pytest.fixture
def stored(aws: FakeSecretsManager) -> FakeSecretsManager:
    aws.client().create_secret(Name="a", SecretString="found")
    aws.requests.clear()
    return aws


@pytest.fixture
def identity(tmp_path: Path) -> Path:
    path = tmp_path / "token"
    path.write_text("first\n")
    return path


class TestTakingOn:
    def test_sts_is_asked_once_for_many_reads_and_its_keys_are_used(self, stored: FakeSecretsManager) -> None:
        with opened(
            stored.url, role_arn=ROLE, external_id="x-1", session_name="me", session_duration=1800.0
        ) as backend:
            assert [read(backend, "a") for _ in range(5)] == ["found"] * 5
        (asked,) = stored.sent("AssumeRole")
        assert asked.access_key == ACCESS_KEY
        assert {
            key: asked.parameters[key] for key in ("RoleArn", "RoleSessionName", "ExternalId", "DurationSeconds")
        } == {
            "RoleArn": ROLE,
            "RoleSessionName": "me",
            "ExternalId": "x-1",
            "DurationSeconds": "1800",
        }
        assert {request.access_key for request in stored.sent("GetSecretValue")} == {"ASIAFAKE000000000001"}

    @pytest.mark.parametrize("duration", [900.0, 1200.0, 3600.0, None])
    def test_a_session_is_used_until_shortly_before_its_end_however_short_it_is(
        self, stored: FakeSecretsManager, duration: float | None
    ) -> None:
        with opened(stored.url, role_arn=ROLE, session_duration=duration) as backend:
            for _ in range(3):
                read(backend, "a")
        assert stored.counts["AssumeRole"] == 1

    def test_many_threads_take_it_on_once(self, stored: FakeSecretsManager) -> None:
        stored.delay("AssumeRole", 0.2)
        with opened(stored.url, role_arn=ROLE) as backend, ThreadPoolExecutor(20) as pool:
            assert set(pool.map(lambda _: read(backend, "a"), range(60))) == {"found"}
        assert stored.counts["AssumeRole"] == 1

    def test_all_reads_succeed_while_keys_live_for_two_seconds(self, stored: FakeSecretsManager) -> None:
        stored.sts.lifetime = 2
        with opened(stored.url, role_arn=ROLE) as backend:
            for _ in range(6):
                assert read(backend, "a") == "found"
                time.sleep(0.5)
        assert 2 <= stored.counts["AssumeRole"] <= 4

    def test_a_web_identity_is_read_anew_each_time_and_needs_no_other_credentials(
        self, stored: FakeSecretsManager, identity: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.delenv(name)
        stored.sts.lifetime = 1
        with opened(stored.url, role_arn=ROLE, web_identity_token_file=str(identity)) as backend:
            assert read(backend, "a") == "found"
            identity.write_text("second")
            time.sleep(1)
            assert read(backend, "a") == "found"
        asked = stored.sent("AssumeRoleWithWebIdentity")
        assert [request.parameters["WebIdentityToken"] for request in asked] == ["first", "second"]
        assert not {request.access_key for request in asked} - {""}

    @pytest.mark.parametrize("content", [None, "", "\n", "käse", "abc\n"])
    def test_a_token_that_cannot_be_read_is_no_outage(
        self, stored: FakeSecretsManager, identity: Path, content: str | None
    ) -> None:
        identity.unlink() if content is None else identity.write_text(content)
        with (
            opened(stored.url, role_arn=ROLE, web_identity_token_file=str(identity)) as backend,
            pytest.raises(AuthenticationError, match=re.escape(str(identity))),
        ):
            read(backend, "a")
        assert stored.requests == []

    def test_a_role_of_the_profile_comes_before_that_of_the_settings(
        self, stored: FakeSecretsManager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "config").write_text(
            "[default]\nrole_arn = arn:aws:iam::123456789012:role/first\nsource_profile = base\n"
            "[profile base]\naws_access_key_id = AKIABASE\naws_secret_access_key = b\n"
        )
        monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.delenv(name)
        with opened(stored.url, role_arn=ROLE) as backend:
            assert read(backend, "a") == "found"
        first, second = stored.sent("AssumeRole")
        assert (first.access_key, first.parameters["RoleArn"]) == ("AKIABASE", "arn:aws:iam::123456789012:role/first")
        assert (second.access_key, second.parameters["RoleArn"]) == ("ASIAFAKE000000000001", ROLE)

    def test_without_credentials_to_take_it_on_with_nothing_is_sent(
        self, stored: FakeSecretsManager, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.delenv(name)
        with opened(stored.url, role_arn=ROLE) as backend, pytest.raises(AuthenticationError, match="no AWS credent"):
            read(backend, "a")
        assert stored.requests == []


class TestRefused:
    def test_a_role_that_may_not_be_taken_on_is_no_outage_and_is_asked_for_once(
        self, stored: FakeSecretsManager
    ) -> None:
        stored.sts.refused_roles.add(ROLE)
        with opened(stored.url, role_arn=ROLE) as backend, pytest.raises(AuthenticationError, match="AccessDenied"):
            read(backend, "a")
        assert dict(stored.counts) == {"AssumeRole": 1}

    def test_twenty_threads_that_wait_for_it_ask_no_more_than_once_or_twice(self, stored: FakeSecretsManager) -> None:
        stored.sts.refused_roles.add(ROLE)
        stored.delay("AssumeRole", 0.3)

        def work(_: int) -> str:
            with pytest.raises(AuthenticationError, match="AccessDenied") as caught:
                read(backend, "a")
            return report_of(caught.value, "strongroom_aws")

        with opened(stored.url, role_arn=ROLE) as backend, ThreadPoolExecutor(20) as pool:
            list(pool.map(work, range(20)))
            assert stored.counts["AssumeRole"] <= 2
            # Who comes later does not get what others met before.
            stored.sts.refused_roles.clear()
            assert read(backend, "a") == "found"

    def test_keys_to_take_it_on_with_that_have_run_out_cause_no_storm(self, stored: FakeSecretsManager) -> None:
        stored.expired.add(ACCESS_KEY)
        stored.delay("AssumeRole", 0.1)

        def work(_: int) -> None:
            with pytest.raises(AuthenticationError, match="ExpiredToken"):
                read(backend, "a")

        with opened(stored.url, role_arn=ROLE) as backend, ThreadPoolExecutor(20) as pool:
            list(pool.map(work, range(20)))
        assert stored.counts["AssumeRole"] <= 6

    def test_a_code_that_would_mean_something_of_a_secret_means_nothing_of_one_when_sts_says_it(
        self, stored: FakeSecretsManager
    ) -> None:
        stored.fail("AssumeRole", "ResourceNotFoundException", times=None)
        with opened(stored.url, role_arn=ROLE) as backend, pytest.raises(AuthenticationError):
            read(backend, "a")

    @pytest.mark.parametrize(
        ("code", "status"),
        [("Throttling", 400), ("ServiceUnavailable", 503), ("InternalFailure", 500), ("IDPCommunicationError", 400)],
    )
    def test_sts_without_an_answer_is_an_outage_and_asked_as_often_as_we_say(
        self, stored: FakeSecretsManager, code: str, status: int
    ) -> None:
        stored.fail("AssumeRole", code, status, times=None)
        with (
            opened(stored.url, role_arn=ROLE, attempts=3, waits=Waits()) as backend,
            pytest.raises(BackendUnavailableError),
        ):
            read(backend, "a")
        assert dict(stored.counts) == {"AssumeRole": 3}

    def test_sts_that_cannot_be_reached_is_an_outage_which_names_it(self, stored: FakeSecretsManager) -> None:
        nobody = "http://localhost:1"
        with (
            opened(stored.url, role_arn=ROLE, sts_endpoint=nobody, attempts=1) as backend,
            pytest.raises(
                BackendUnavailableError,
                match=r"^what gives out the AWS credentials could not be reached at localhost:1 for reading a",
            ) as caught,
        ):
            read(backend, "a")
        assert caught.value.code == "connection_refused"
        assert stored.requests == []

    def test_retries_of_the_environment_are_not_added_to_ours(
        self, stored: FakeSecretsManager, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("AWS_MAX_ATTEMPTS", "7")
        monkeypatch.setenv("AWS_RETRY_MODE", "adaptive")
        stored.fail("AssumeRole", "InternalFailure", times=None)
        with (
            opened(stored.url, role_arn=ROLE, attempts=2, waits=Waits()) as backend,
            pytest.raises(BackendUnavailableError),
        ):
            read(backend, "a")
        stored.heal()
        stored.fail("GetSecretValue", "InternalServiceError", times=None)
        with opened(stored.url, attempts=2, waits=Waits()) as backend, pytest.raises(BackendUnavailableError):
            read(backend, "a")
        assert dict(stored.counts) == {"AssumeRole": 2, "GetSecretValue": 2}


class TestRenewal:
    """What happens when a session is to be renewed."""

    @staticmethod
    def due(stored: FakeSecretsManager) -> None:
        """Have the first keys run out by what STS has said, although the service still takes them."""
        time.sleep(0.5)
        stored.sts.issued["ASIAFAKE000000000001"].expires += 600

    @pytest.fixture(autouse=True)
    def _short(self, stored: FakeSecretsManager) -> None:
        stored.sts.lifetime = 0.5

    @pytest.mark.parametrize("code", ["InternalFailure", "AccessDenied"])
    def test_keys_that_are_still_good_are_used_on_and_the_log_says_so(
        self, stored: FakeSecretsManager, caplog: pytest.LogCaptureFixture, code: str
    ) -> None:
        with opened(stored.url, role_arn=ROLE) as backend:
            read(backend, "a")
            self.due(stored)
            stored.fail("AssumeRole", code, times=None)
            assert [read(backend, "a") for _ in range(5)] == ["found"] * 5
        # Not with every request, either.
        assert stored.counts["AssumeRole"] == 2
        (said,) = [record for record in caplog.records if record.name == "strongroom.aws"]
        assert code in said.getMessage()

    def test_keys_that_have_run_out_meanwhile_end_in_what_sts_says(self, stored: FakeSecretsManager) -> None:
        with opened(stored.url, role_arn=ROLE, attempts=1) as backend:
            read(backend, "a")
            self.due(stored)
            stored.fail("AssumeRole", "AccessDenied", 403, times=None)
            stored.expired.add("ASIAFAKE000000000001")
            with pytest.raises(AuthenticationError, match="AccessDenied"):
                read(backend, "a")
            stored.heal()
            stored.fail("AssumeRole", "InternalFailure", times=None)
            with pytest.raises(BackendUnavailableError):
                read(backend, "a")
            stored.heal()
            assert read(backend, "a") == "found"


class Source:
    """Gives out keys, or fails."""

    def __init__(self) -> None:
        self.asked = 0
        self.failing = False

    def get_frozen_credentials(self) -> Any:
        self.asked += 1
        if self.failing:
            raise OSError("no answer")
        return f"keys {self.asked}"


class TestLasting:
    @pytest.fixture
    def clock(self) -> FakeClock:
        return FakeClock()

    @pytest.fixture
    def source(self) -> Source:
        return Source()

    @pytest.fixture
    def lasting(self, clock: FakeClock, source: Source) -> Lasting:
        return Lasting(lambda: source, "test", clock.monotonic)

    def test_a_first_failure_is_one(self, lasting: Lasting, source: Source) -> None:
        source.failing = True
        with pytest.raises(OSError, match="no answer"):
            lasting.get_frozen_credentials()
        source.failing = False
        assert lasting.get_frozen_credentials() == "keys 2"

    def test_after_a_failure_the_source_has_a_pause(
        self, lasting: Lasting, source: Source, clock: FakeClock, caplog: pytest.LogCaptureFixture
    ) -> None:
        assert lasting.get_frozen_credentials() == "keys 1"
        source.failing = True
        for _ in range(3):
            assert lasting.get_frozen_credentials() == "keys 1"
        assert source.asked == 2
        source.failing = False
        clock.advance(PAUSE)
        assert lasting.get_frozen_credentials() == "keys 3"
        assert [record.levelno for record in caplog.records] == [logging.WARNING]

    def test_a_handler_of_a_signal_that_comes_amidst_gets_the_keys_at_hand(
        self, lasting: Lasting, source: Source, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        lasting.get_frozen_credentials()
        seen: list[Any] = []
        monkeypatch.setattr(
            source, "get_frozen_credentials", lambda: seen.append(lasting.get_frozen_credentials()) or "new"
        )
        assert lasting.get_frozen_credentials() == "new"
        assert seen == ["keys 1"]

    @pytest.mark.parametrize(("age", "waits"), [(TRUSTED - 1, False), (TRUSTED + 1, True)])
    def test_others_wait_for_a_renewal_only_if_the_keys_are_not_known_to_be_good(
        self,
        lasting: Lasting,
        source: Source,
        clock: FakeClock,
        monkeypatch: pytest.MonkeyPatch,
        age: float,
        waits: bool,
    ) -> None:
        lasting.get_frozen_credentials()
        clock.advance(age)
        with ThreadPoolExecutor(1) as pool:

            def slow() -> str:
                other = pool.submit(lasting.get_frozen_credentials)
                time.sleep(0.1)
                assert other.done() is not waits
                others.append(other)
                return "new"

            others: list[Any] = []
            monkeypatch.setattr(source, "get_frozen_credentials", slow)
            assert lasting.get_frozen_credentials() == "new"
            monkeypatch.setattr(source, "get_frozen_credentials", lambda: "new")
            assert others[0].result(5) == ("new" if waits else "keys 1")


class TestSessionName:
    @pytest.fixture
    def nobody(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
            monkeypatch.delenv(name, raising=False)

    def test_that_of_the_settings_is_taken(self) -> None:
        assert session_name(AwsSettings(role_arn=ROLE, session_name="me")) == "me"

    @settings(max_examples=50)
    @given(user=st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1))
    def test_any_users_name_makes_one_that_sts_takes(self, user: str) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("LOGNAME", user)
            assert re.fullmatch(r"[a-zA-Z0-9_+=,.@-]{2,64}", session_name(AwsSettings(role_arn=ROLE)))

    def test_a_user_without_a_name_is_none_in_the_sessions_either(
        self, nobody: None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("os.getuid", lambda: 4_000_123)
        assert session_name(AwsSettings(role_arn=ROLE)) == "strongroom"
