"""Credentials: where they are found, what happens when they run out, whose they are, and that they show nowhere."""

from __future__ import annotations

import logging
import re
import time

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from awsbackends import Waits, managed, opened, read, write
from awskeys import Changing, Literal
from fakeaws import FakeSecretsManager
from fakemetadata import FakeMetadata
from strongroom.errors import (
    AuthenticationError,
    BackendUnavailableError,
    ConfigurationError,
    StrongroomError,
)
from strongroom.testing import assert_hidden, leaks_in, marker_value, report_of
from strongroom_aws.clients import LOOK_AGAIN

ACCOUNT, OTHER_ACCOUNT = "123456789012", "210987654321"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/reader"


@pytest.fixture
def stored(aws: FakeSecretsManager) -> FakeSecretsManager:
    aws.client().create_secret(Name="app/key", SecretString="found")
    aws.requests.clear()
    return aws


@pytest.fixture
def without_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """Write the files of the AWS tools: configuration, and credentials."""

    def write_both(configuration: str, credentials: str = "") -> None:
        for variable, content in (("CONFIG", configuration), ("SHARED_CREDENTIALS", credentials)):
            path = tmp_path / variable
            path.write_text(content)
            monkeypatch.setenv(f"AWS_{variable}_FILE", str(path))

    return write_both


@pytest.fixture
def metadata(monkeypatch: pytest.MonkeyPatch, without_keys: None) -> Iterator[FakeMetadata]:
    with FakeMetadata() as started:
        yield started


@pytest.fixture
def elsewhere(stored: FakeSecretsManager, monkeypatch: pytest.MonkeyPatch) -> str:
    """The service under a URL that is not this machine's, through a proxy that leads to it."""
    monkeypatch.setenv("HTTP_PROXY", stored.url)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    return "http://aws.example.com"


def used_key(aws: FakeSecretsManager) -> str:
    return aws.sent("GetSecretValue")[-1].access_key


class TestFound:
    def test_the_keys_of_the_settings_come_before_all_others(self, stored: FakeSecretsManager) -> None:
        keys = {"access_key_id": Literal("AKIAMINE"), "secret_access_key": Literal("s\n")}
        with opened(stored.url, **keys, session_token=Literal("t")) as backend:
            assert read(backend) == "found"
        assert used_key(stored) == "AKIAMINE"
        assert stored.requests[-1].token == "t"

    def test_a_final_line_feed_belongs_to_no_key(self, stored: FakeSecretsManager) -> None:
        keys = {"access_key_id": Literal("AKIAMINE\n"), "secret_access_key": Literal("s\r\n")}
        with opened(stored.url, **keys) as backend:
            assert read(backend) == "found"
        assert used_key(stored) == "AKIAMINE"

    def test_an_empty_key_is_a_configuration_error(self, stored: FakeSecretsManager) -> None:
        keys = {"access_key_id": Literal("AKIAMINE"), "secret_access_key": Literal("\n")}
        with opened(stored.url, **keys) as backend, pytest.raises(ConfigurationError, match="empty"):
            read(backend)
        assert stored.requests == []

    @pytest.mark.parametrize(
        ("setting", "variables", "key"),
        [
            (None, {}, "AKIADEFAULT"),
            (None, {"AWS_PROFILE": "ops"}, "AKIAOPS"),
            ("ops", {}, "AKIAOPS"),
            ("dev", {"AWS_PROFILE": "ops"}, "AKIADEV"),
            (None, {"AWS_ACCESS_KEY_ID": "AKIAENV", "AWS_SECRET_ACCESS_KEY": "s", "AWS_PROFILE": "ops"}, "AKIAENV"),
            ("dev", {"AWS_ACCESS_KEY_ID": "AKIAENV", "AWS_SECRET_ACCESS_KEY": "s"}, "AKIADEV"),
        ],
    )
    def test_a_profile_that_the_settings_name_comes_before_the_variables(
        self,
        stored: FakeSecretsManager,
        without_keys: None,
        files: Any,
        monkeypatch: pytest.MonkeyPatch,
        setting: str | None,
        variables: dict[str, str],
        key: str,
    ) -> None:
        files(
            "[profile dev]\naws_access_key_id = AKIADEV\naws_secret_access_key = s\n",
            "".join(
                f"[{name}]\naws_access_key_id = AKIA{name.upper()}\naws_secret_access_key = s\n"
                for name in ("default", "ops")
            ),
        )
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        with opened(stored.url, profile=setting) as backend:
            assert read(backend) == "found"
        assert used_key(stored) == key

    def test_a_profile_that_is_not_there_is_a_configuration_error(self, stored: FakeSecretsManager) -> None:
        with opened(stored.url, profile="gone") as backend, pytest.raises(ConfigurationError, match="gone"):
            read(backend)
        assert stored.requests == []

    def test_a_program_of_the_profile_gives_them(
        self, stored: FakeSecretsManager, without_keys: None, files: Any, tmp_path: Path
    ) -> None:
        (tmp_path / "keys.json").write_text('{"Version": 1, "AccessKeyId": "AKIAPROGRAM", "SecretAccessKey": "s"}')
        files(f"[default]\ncredential_process = cat {tmp_path}/keys.json\n")
        with opened(stored.url) as backend:
            assert read(backend) == "found"
        assert used_key(stored) == "AKIAPROGRAM"

    def test_a_program_that_fails_is_no_outage(
        self, stored: FakeSecretsManager, without_keys: None, files: Any
    ) -> None:
        files("[default]\ncredential_process = false\n")
        with opened(stored.url) as backend, pytest.raises(AuthenticationError, match="credential_process"):
            read(backend)

    def test_a_single_sign_on_that_has_ended_is_no_outage(
        self,
        stored: FakeSecretsManager,
        without_keys: None,
        files: Any,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setenv("HOME", str(tmp_path))
        files(
            "[default]\nsso_session = us\nsso_account_id = 123456789012\nsso_role_name = reader\n"
            "[sso-session us]\nsso_region = us-east-1\nsso_start_url = https://us.example.com/start\n"
        )
        with opened(stored.url) as backend, pytest.raises(AuthenticationError, match="could not be had"):
            read(backend)

    def test_a_token_file_of_the_variables_that_is_gone_is_no_outage(
        self, stored: FakeSecretsManager, without_keys: None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("AWS_ROLE_ARN", ROLE)
        monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", "/gone/token")
        with opened(stored.url) as backend, pytest.raises(AuthenticationError, match="/gone/token"):
            read(backend)

    def test_a_container_gives_them_even_beside_a_local_endpoint(
        self, stored: FakeSecretsManager, metadata: FakeMetadata, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        metadata.container_token = "of-the-container"
        for name, value in metadata.container.items():
            monkeypatch.setenv(name, value)
        with opened(stored.url) as backend:
            assert [read(backend) for _ in range(3)] == ["found"] * 3
        assert used_key(stored) == "ASIAMETA000000000001"
        assert dict(metadata.requests) == {"container": 1}

    def test_a_machine_is_asked_for_its_role_unless_the_service_is_on_this_one(
        self, stored: FakeSecretsManager, metadata: FakeMetadata, elsewhere: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name, value in metadata.machine.items():
            monkeypatch.setenv(name, value)
        with opened(stored.url) as backend, pytest.raises(AuthenticationError, match="no AWS credentials"):
            read(backend)
        assert not metadata.requests
        with opened(elsewhere) as backend:
            assert read(backend) == "found"
        assert used_key(stored) == "ASIAMETA000000000001"
        assert dict(metadata.requests) == {"token": 1, "role": 1, "credentials": 1}

    def test_a_machine_that_does_not_answer_when_keys_are_renewed_spoils_nothing_while_they_are_good(
        self, stored: FakeSecretsManager, metadata: FakeMetadata, elsewhere: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name, value in metadata.machine.items():
            monkeypatch.setenv(name, value)
        metadata.lifetime = 300
        with opened(elsewhere) as backend:
            assert read(backend) == "found"
            metadata.down()
            assert [read(backend) for _ in range(5)] == ["found"] * 5
            metadata.up()


class TestRunOut:
    def test_one_renewal_and_one_repeat_bring_the_answer(self, stored: FakeSecretsManager) -> None:
        key, secret = Changing("AKIA"), Changing("s")
        stored.expired.add("AKIA1")
        with opened(stored.url, access_key_id=key, secret_access_key=secret) as backend:
            assert read(backend) == "found"
        assert [request.access_key for request in stored.sent("GetSecretValue")] == ["AKIA1", "AKIA2"]
        assert secret.looks == 2

    @pytest.mark.parametrize("code", ["ExpiredTokenException", "ExpiredToken", "RequestExpired"])
    def test_if_that_does_not_help_it_is_an_authentication_error_and_no_outage(
        self, stored: FakeSecretsManager, code: str
    ) -> None:
        stored.fail("GetSecretValue", code, times=None)
        with opened(stored.url) as backend, pytest.raises(AuthenticationError, match=code):
            read(backend)
        assert dict(stored.counts) == {"GetSecretValue": 2}

    @pytest.mark.parametrize("code", ["UnrecognizedClientException", "InvalidSignatureException"])
    def test_keys_that_are_not_known_are_not_tried_again(self, stored: FakeSecretsManager, code: str) -> None:
        stored.fail("GetSecretValue", code, times=None)
        with opened(stored.url) as backend, pytest.raises(AuthenticationError, match=code):
            read(backend)
        assert dict(stored.counts) == {"GetSecretValue": 1}

    def test_a_key_that_was_replaced_is_found_by_the_next_request(self, stored: FakeSecretsManager) -> None:
        stored.unknown.add("AKIA1")
        keys = {"access_key_id": Changing("AKIA"), "secret_access_key": Literal("s")}
        with opened(stored.url, **keys) as backend:
            with pytest.raises(AuthenticationError):
                read(backend)
            assert read(backend) == "found"
        assert [request.access_key for request in stored.requests] == ["AKIA1", "AKIA2"]

    def test_twenty_threads_renew_a_role_once(self, stored: FakeSecretsManager) -> None:
        with opened(stored.url, role_arn=ROLE) as backend, ThreadPoolExecutor(20) as pool:
            assert read(backend) == "found"
            stored.expired.add("ASIAFAKE000000000001")
            stored.delay("AssumeRole", 0.2)
            assert set(pool.map(lambda _: read(backend), range(20))) == {"found"}
        assert stored.counts["AssumeRole"] == 2

    def test_a_file_that_somebody_renews_is_read_again(
        self, stored: FakeSecretsManager, without_keys: None, files: Any
    ) -> None:
        with_key = "[default]\naws_access_key_id = {}\naws_secret_access_key = s\naws_session_token = t\n"
        files("", with_key.format("AKIAFIRST"))
        with opened(stored.url) as backend:
            read(backend)
            files("", with_key.format("AKIASECOND"))
            assert read(backend) == "found"
            assert used_key(stored) == "AKIAFIRST"
            stored.expired.add("AKIAFIRST")
            assert read(backend) == "found"
            assert used_key(stored) == "AKIASECOND"

    def test_a_write_is_repeated_with_the_same_token(self, stored: FakeSecretsManager) -> None:
        with opened(stored.url) as backend:
            stored.fail("PutSecretValue", "ExpiredTokenException")
            write(backend, value="new")
            assert read(backend) == "new"
        first, second = stored.sent("PutSecretValue")
        assert first.parameters["ClientRequestToken"] == second.parameters["ClientRequestToken"]

    def test_a_program_that_gives_keys_which_have_run_out_is_no_outage(
        self, stored: FakeSecretsManager, without_keys: None, files: Any, tmp_path: Path
    ) -> None:
        (tmp_path / "keys.json").write_text(
            '{"Version": 1, "AccessKeyId": "A", "SecretAccessKey": "s", "SessionToken": "t",'
            ' "Expiration": "2020-01-01T00:00:00Z"}'
        )
        files(f"[default]\ncredential_process = cat {tmp_path}/keys.json\n")
        with opened(stored.url) as backend, pytest.raises(AuthenticationError):
            read(backend)


class TestAccount:
    def test_the_right_one_is_asked_for_once_and_again_after_a_renewal(self, stored: FakeSecretsManager) -> None:
        with opened(stored.url, account=ACCOUNT) as backend, ThreadPoolExecutor(20) as pool:
            assert set(pool.map(lambda _: read(backend), range(60))) == {"found"}
            assert stored.requests[0].operation == "GetCallerIdentity"
            assert stored.counts["GetCallerIdentity"] == 1
            stored.fail("GetSecretValue", "ExpiredTokenException")
            assert read(backend) == "found"
            assert stored.counts["GetCallerIdentity"] == 2

    def test_with_another_one_nothing_is_read_or_written(self, stored: FakeSecretsManager) -> None:
        with opened(stored.url, account=OTHER_ACCOUNT) as backend:
            for attempt in (read, write, read):
                with pytest.raises(ConfigurationError) as caught:
                    attempt(backend)
                assert ACCOUNT in str(caught.value)
                assert OTHER_ACCOUNT in str(caught.value)
        assert dict(stored.counts) == {"GetCallerIdentity": 1}

    def test_once_they_are_of_the_right_one_it_is_read(
        self, stored: FakeSecretsManager, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        honest = stored.sts.caller
        monkeypatch.setattr(
            stored.sts,
            "caller",
            lambda key: honest(key).replace(ACCOUNT, OTHER_ACCOUNT) if key == "AKIA1" else honest(key),
        )
        keys = {"access_key_id": Changing("AKIA"), "secret_access_key": Literal("s")}
        with opened(stored.url, account=ACCOUNT, **keys) as backend:
            with pytest.raises(ConfigurationError):
                read(backend)
            monkeypatch.setattr("time.monotonic", lambda now=time.monotonic: now() + LOOK_AGAIN)
            assert read(backend) == "found"

    def test_a_role_of_the_account_proves_it_by_itself(self, stored: FakeSecretsManager) -> None:
        with opened(stored.url, account=ACCOUNT, role_arn=ROLE) as backend:
            assert read(backend) == "found"
        assert dict(stored.counts) == {"AssumeRole": 1, "GetSecretValue": 1}

    def test_keys_that_have_run_out_are_renewed_for_the_question_as_well(self, stored: FakeSecretsManager) -> None:
        stored.expired.add("AKIA1")
        keys = {"access_key_id": Changing("AKIA"), "secret_access_key": Literal("s")}
        with opened(stored.url, account=ACCOUNT, **keys) as backend:
            assert read(backend) == "found"
        assert [request.access_key for request in stored.requests] == ["AKIA1", "AKIA2", "AKIA2"]

    def test_sts_without_an_answer_is_an_outage_and_nothing_is_read(self, stored: FakeSecretsManager) -> None:
        stored.fail("GetCallerIdentity", "ServiceUnavailable", 503, times=None)
        with opened(stored.url, Waits(), account=ACCOUNT, attempts=2) as backend:
            with pytest.raises(BackendUnavailableError):
                read(backend)
            assert dict(stored.counts) == {"GetCallerIdentity": 2}
            stored.heal()
            assert read(backend) == "found"


class TestHidden:
    """The parts of a key that are secret, at level DEBUG of all loggers and in all that errors show."""

    @pytest.fixture
    def secret(self) -> str:
        # A header has no other characters.
        return re.sub(r"[^A-Za-z0-9]", "", marker_value())

    @pytest.fixture
    def log(self, caplog: pytest.LogCaptureFixture) -> Callable[[], str]:
        caplog.set_level(logging.DEBUG)
        for name in ("botocore", "boto3", "urllib3", "strongroom"):
            caplog.set_level(logging.DEBUG, name)
        return lambda: "\n".join(
            [caplog.text] + [f"{record.__dict__!r} {record.getMessage()}" for record in caplog.records]
        )

    @pytest.fixture
    def keys(self, secret: str) -> dict[str, Any]:
        return {
            "access_key_id": Literal("AKIAMINE"),
            "secret_access_key": Literal(secret),
            "session_token": Literal("token" + secret),
        }

    @pytest.mark.parametrize(
        ("operation", "code"),
        [
            (None, None),
            ("GetSecretValue", "UnrecognizedClientException"),
            ("GetSecretValue", "ExpiredTokenException"),
            ("GetSecretValue", "AccessDeniedException"),
            ("GetSecretValue", "InternalServiceError"),
            ("AssumeRole", "AccessDenied"),
            ("AssumeRole", "ServiceUnavailable"),
        ],
    )
    def test_a_key_of_the_settings_and_what_sts_gives_show_nowhere(
        self,
        stored: FakeSecretsManager,
        secret: str,
        keys: dict[str, Any],
        log: Callable[[], str],
        operation: str | None,
        code: str | None,
    ) -> None:
        if operation is not None:
            stored.fail(operation, str(code), times=None)
        with opened(stored.url, role_arn=ROLE, attempts=1, **keys) as backend:
            shown = repr(backend)
            try:
                write(backend, value="x")
                read(backend)
                assert operation is None
            except StrongroomError as error:
                shown += report_of(error, "strongroom_aws") + report_of(error, "botocore")
            shown += repr(vars(backend)) + str(backend.health())
        issued = stored.sts.issued["ASIAFAKE000000000001"] if stored.sts.issued else None
        for marker in [secret, *([issued.secret_key, issued.token] if issued else [])]:
            assert_hidden(marker, log(), "the log")
            assert_hidden(marker, shown, "what is shown")

    def test_a_renewal_that_fails_shows_nothing_in_the_log(
        self, stored: FakeSecretsManager, secret: str, keys: dict[str, Any], log: Callable[[], str], caplog: Any
    ) -> None:
        stored.sts.lifetime = 0.5
        with opened(stored.url, role_arn=ROLE, **keys) as backend:
            read(backend)
            time.sleep(0.5)
            stored.sts.issued["ASIAFAKE000000000001"].expires += 600
            stored.fail("AssumeRole", "AccessDenied", times=None)
            assert read(backend) == "found"
        assert_hidden(secret, log(), "the log")
        # A handler may write down the local variables of a traceback's frames.
        assert not [record for record in caplog.records if record.exc_info]

    def test_a_manager_that_is_asked_for_its_health_shows_no_key(
        self, stored: FakeSecretsManager, secret: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", secret)
        with managed(stored.url) as manager:
            assert manager.get("app/key").reveal_text() == "found"
            assert not leaks_in(f"{manager.health()!r} {manager!r} {manager.stats()!r}", secret)

    def test_a_key_that_no_header_can_hold_shows_nowhere(
        self, stored: FakeSecretsManager, secret: str, log: Callable[[], str]
    ) -> None:
        keys = {"access_key_id": Literal("AKIA"), "secret_access_key": Literal("s")}
        keys["session_token"] = Literal(f"{secret}\nx")
        with opened(stored.url, attempts=1, **keys) as backend, pytest.raises(StrongroomError) as caught:
            read(backend)
        assert isinstance(caught.value, ConfigurationError)
        assert_hidden(secret, log() + report_of(caught.value, "strongroom_aws"), "it")
