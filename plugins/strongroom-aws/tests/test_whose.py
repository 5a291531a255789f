"""What a write that waits is bound to: region, endpoint, prefix and account, and when the account is known."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from awsbackends import list_names, opened, read, read_many, write
from awsclient import REGION
from fakeaws import FakeSecretsManager
from strongroom.contracts import StagesRequest
from strongroom.errors import AuthenticationError, SecretNotFoundError
from strongroom.model import SecretName
from strongroom_aws.backend import AwsBackend
from strongroom_aws.settings import AwsSettings

ACCOUNT, OTHER_ACCOUNT = "123456789012", "210987654321"
NAME = "app/key"


@pytest.fixture
def stored(aws: FakeSecretsManager) -> FakeSecretsManager:
    aws.client().create_secret(Name=NAME, SecretString="found")
    aws.requests.clear()
    return aws


@pytest.fixture
def keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], object]:
    """A function that writes another access key into the file with credentials."""
    path = tmp_path / "credentials"
    for variable in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(variable)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(path))
    return lambda key: path.write_text(
        f"[default]\naws_access_key_id = {key}\naws_secret_access_key = s\naws_session_token = t\n"
    )


def target(**settings: Any) -> str | None:
    """Return what a backend with such settings says before anything has been asked."""
    backend = AwsBackend.open(AwsSettings(**{"region": REGION} | settings))
    try:
        return backend.target()
    finally:
        backend.close()


class TestBeforeAnyAnswer:
    def test_it_is_known_only_if_the_settings_tell_the_account(self) -> None:
        assert target() is None
        assert target(profile=None, prefix="app/") is None
        by_account = target(account=ACCOUNT)
        assert by_account is not None
        assert ACCOUNT in by_account
        assert target(role_arn=f"arn:aws:iam::{ACCOUNT}:role/r") == by_account

    def test_it_tells_regions_accounts_prefixes_endpoints_and_aliases_apart(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        arn = f"arn:aws:secretsmanager:{REGION}:{OTHER_ACCOUNT}:secret:x-123456"
        others: list[dict[str, Any]] = [
            {},
            {"region": "us-east-1"},
            {"account": OTHER_ACCOUNT},
            {"prefix": "app/"},
            {"endpoint": "http://127.0.0.1:4566"},
            {"endpoint": "http://127.0.0.1:4567"},
            {"arns": {"a": arn}},
            {"arns": {"b": arn}},
        ]
        found = [target(**{"account": ACCOUNT} | other) for other in others]
        # One from a variable leads somewhere else, too.
        monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:4566")
        assert len(set(found)) == len(found)
        assert target(account=ACCOUNT) == found[4]


class TestLearning:
    @pytest.mark.parametrize(
        "ask",
        [
            read,
            write,
            list_names,
            lambda backend: read_many(backend, NAME, "app/missing"),
            lambda backend: backend.stages(StagesRequest(name=SecretName(NAME))),
        ],
        ids=["read", "write", "list", "batch", "look"],
    )
    def test_any_answer_about_a_secret_tells_the_account(self, ask: Any, stored: FakeSecretsManager) -> None:
        with opened(stored.url) as backend:
            assert backend.target() is None
            ask(backend)
            assert backend.target() == target(endpoint=stored.url, account=ACCOUNT)

    def test_that_there_is_no_secret_tells_nothing(self, stored: FakeSecretsManager) -> None:
        with opened(stored.url) as backend:
            with pytest.raises(SecretNotFoundError):
                read(backend, "app/missing")
            assert backend.target() is None

    def test_an_alias_may_be_of_another_account_and_tells_nothing(self, stored: FakeSecretsManager) -> None:
        arn = stored.client().describe_secret(SecretId=NAME)["ARN"]
        with opened(stored.url, arns={"shared": arn}) as backend:
            read(backend, "shared")
            assert backend.target() is None
            read(backend)
            assert backend.target() is not None

    def test_nothing_is_asked_for_it(self, stored: FakeSecretsManager) -> None:
        with opened(stored.url) as backend:
            backend.target()
            read(backend)
            backend.target()
        assert [request.operation for request in stored.requests] == ["GetSecretValue"]


class TestOtherCredentials:
    """Keys that have run out, and are replaced by those of another account."""

    @pytest.fixture
    def changing(self, stored: FakeSecretsManager, keys: Any, monkeypatch: pytest.MonkeyPatch) -> FakeSecretsManager:
        """A service at which the key AKIASECOND is of another account; AKIAFIRST has just run out, once it was used."""
        honest = stored.sts.caller
        monkeypatch.setattr(
            stored.sts,
            "caller",
            lambda key: honest(key).replace(ACCOUNT, OTHER_ACCOUNT) if key == "AKIASECOND" else honest(key),
        )
        keys("AKIAFIRST")
        return stored

    def replaced(self, service: FakeSecretsManager, keys: Any, key: str) -> None:
        keys(key)
        service.expired.add("AKIAFIRST")

    def test_a_read_with_them_tells_the_other_account(self, changing: FakeSecretsManager, keys: Any) -> None:
        with opened(changing.url) as backend:
            read(backend)
            assert backend.target() == target(endpoint=changing.url, account=ACCOUNT)
            self.replaced(changing, keys, "AKIASECOND")
            for secret in changing.store.regions[REGION].values():
                secret.arn = secret.arn.replace(ACCOUNT, OTHER_ACCOUNT)
            read(backend)
            assert backend.target() == target(endpoint=changing.url, account=OTHER_ACCOUNT)

    def test_a_change_that_was_begun_in_one_account_is_not_made_in_another(
        self, changing: FakeSecretsManager, keys: Any
    ) -> None:
        with opened(changing.url) as backend:
            read(backend)
            self.replaced(changing, keys, "AKIASECOND")
            with pytest.raises(AuthenticationError, match=f"{OTHER_ACCOUNT}, not {ACCOUNT}"):
                write(backend, value="new")
            assert read(backend) == "found"
            # Whoever writes once more means the account that the keys are of now.
            write(backend, value="new")
            assert read(backend) == "new"

    def test_nor_if_nobody_tells_whose_the_new_keys_are(self, changing: FakeSecretsManager, keys: Any) -> None:
        with opened(changing.url) as backend:
            read(backend)
            self.replaced(changing, keys, "AKIASECOND")
            changing.fail("GetCallerIdentity", "AccessDenied", 403)
            with pytest.raises(AuthenticationError, match="nobody can tell whose"):
                write(backend, value="new")
            assert backend.target() is None

    def test_with_new_keys_of_the_same_account_it_is_made(self, changing: FakeSecretsManager, keys: Any) -> None:
        with opened(changing.url) as backend:
            read(backend)
            self.replaced(changing, keys, "AKIATHIRD")
            write(backend, value="new")
            assert read(backend) == "new"
            assert backend.target() == target(endpoint=changing.url, account=ACCOUNT)
