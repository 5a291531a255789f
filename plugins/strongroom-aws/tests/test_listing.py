"""Listing names."""

from __future__ import annotations

from secrets import token_hex
from typing import Any

import pytest

from awsbackends import managed, opened
from awsclient import REGION
from fakeaws import FakeSecretsManager
from moto_server import Emulator
from strongroom.contracts import ListRequest
from strongroom.errors import AccessDeniedError, BackendError, BackendUnavailableError
from strongroom_aws.backend import AwsBackend


def listed(backend: AwsBackend, prefix: str = "") -> list[str]:
    return list(backend.list(ListRequest(prefix=prefix)).names)


def made(aws: FakeSecretsManager, *names: str) -> None:
    client = aws.client()
    for name in names:
        client.create_secret(Name=name, SecretString="x")


class TestEmulator:
    def test_more_than_a_page_is_listed_whole(self, emulator: Emulator) -> None:
        client, prefix = emulator.client(), f"{token_hex(4)}/"
        # Not in the order of their text, and with neighbours that only contain the prefix.
        names = [f"app/{number * 7 % 250:03}" for number in range(250)]
        for name in names:
            client.create_secret(Name=f"{prefix}{name}", SecretString="x")
        for name in (f"other/{prefix}app/000", f"{prefix}apple", f"{prefix}app", f"x{prefix}app/1"):
            client.create_secret(Name=name, SecretString="x")
        with opened(emulator.url, prefix=prefix) as backend:
            assert listed(backend, "app") == sorted(names)
            assert listed(backend) == sorted([*names, "apple", "app"])
            assert listed(backend, "app") == listed(backend, "app")

    def test_a_prefetch_by_pattern_reads_all(self, emulator: Emulator) -> None:
        client, prefix = emulator.client(), f"{token_hex(4)}/"
        names = [f"db/{number:03}" for number in range(130)]
        for name in [*names, "dbx/1", "app/db/1"]:
            client.create_secret(Name=f"{prefix}{name}", SecretString=name)
        with managed(emulator.url, prefix=prefix) as manager:
            batch = manager.prefetch("db/**")
        assert batch.errors == {}
        assert {name: secret.reveal_text() for name, secret in batch.found.items()} == {name: name for name in names}

    def test_what_is_deleted_is_not_listed(self, emulator: Emulator) -> None:
        client, prefix = emulator.client(), f"{token_hex(4)}/"
        for name in ("a", "b", "c"):
            client.create_secret(Name=f"{prefix}{name}", SecretString="x")
        client.delete_secret(SecretId=f"{prefix}a")
        client.delete_secret(SecretId=f"{prefix}b", ForceDeleteWithoutRecovery=True)
        with opened(emulator.url, prefix=prefix) as backend:
            assert listed(backend) == ["c"]


class TestPages:
    """Against the fake, which throttles and makes pages as it is told."""

    def test_a_throttled_page_is_asked_for_again_by_itself(self, aws: FakeSecretsManager, backend: AwsBackend) -> None:
        names = [f"app/{number:03}" for number in range(250)]
        made(aws, *names)
        aws.before("ListSecrets", lambda _: aws.fail("ListSecrets", "ThrottlingException", times=2))
        # The first page is being answered when the throttling begins, and must not be refused itself.
        start = len(aws.requests)
        assert listed(backend) == names
        tokens = [request.parameters.get("NextToken") for request in aws.requests[start:]]
        assert len(tokens) == 5
        assert tokens[0] is None
        assert tokens[1] == tokens[2] == tokens[3]
        assert None not in tokens[1:]

    def test_a_page_that_cannot_be_had_fails_the_whole_listing(
        self, aws: FakeSecretsManager, backend: AwsBackend
    ) -> None:
        made(aws, *(f"app/{number:03}" for number in range(150)))
        aws.before("ListSecrets", lambda _: aws.fail("ListSecrets", "ThrottlingException", times=None))
        with pytest.raises(BackendUnavailableError) as caught:
            listed(backend)
        assert caught.value.code == "rate_limited"
        assert aws.counts["ListSecrets"] == 4

    def test_an_empty_page_is_not_the_end(self, aws: FakeSecretsManager, backend: AwsBackend) -> None:
        made(aws, "a", "b")
        aws.operations.empty_pages = 1
        assert listed(backend) == ["a", "b"]

    def test_a_page_that_repeats_is_an_error(self, aws: FakeSecretsManager, backend: AwsBackend) -> None:
        answers = iter("121")

        def again(region: str, asked: dict[str, Any]) -> dict[str, Any]:
            return {"SecretList": [], "NextToken": next(answers)}

        aws.operations.ListSecrets = again
        with pytest.raises(BackendError, match="same page"):
            listed(backend)

    def test_a_token_that_is_refused_fails_the_listing(self, aws: FakeSecretsManager, backend: AwsBackend) -> None:
        made(aws, *(f"app/{number:03}" for number in range(150)))
        aws.before("ListSecrets", lambda _: aws.fail("ListSecrets", "InvalidNextTokenException"))
        with pytest.raises(BackendError, match="InvalidNextTokenException"):
            listed(backend)

    def test_a_name_on_two_pages_is_listed_once(self, aws: FakeSecretsManager, backend: AwsBackend) -> None:
        """The service may change its list between two pages."""
        pages = {None: (["a", "b"], "1"), "1": (["b", "c"], None)}

        def answer(region: str, asked: dict[str, Any]) -> dict[str, Any]:
            names, token = pages[asked.get("NextToken")]
            return {"SecretList": [{"Name": name, "ARN": name} for name in names], "NextToken": token or ""}

        aws.operations.ListSecrets = answer
        assert listed(backend) == ["a", "b", "c"]

    def test_the_request_is_that_of_the_last_page(self, aws: FakeSecretsManager, backend: AwsBackend) -> None:
        made(aws, *(f"app/{number:03}" for number in range(101)))
        first = backend.list(ListRequest(prefix="app")).request_id
        assert first
        assert backend.list(ListRequest(prefix="app")).request_id != first

    def test_a_denied_listing_is_denied(self, aws: FakeSecretsManager, backend: AwsBackend) -> None:
        aws.deny("ListSecrets")
        with pytest.raises(AccessDeniedError):
            listed(backend)


class TestNames:
    def test_the_prefix_is_exact(self, aws: FakeSecretsManager) -> None:
        made(aws, "app/prod/a", "app/prod/db/b", "app/production/c", "app/prod", "app/PROD/d", "prod/e", "x/app/prod/f")
        for prefix, names in {
            "app/prod/": ["a", "db/b"],
            # Without the slash the rest of a name begins with one, and is none; that of another one does not.
            "app/prod": ["uction/c"],
            "app/": ["PROD/d", "prod", "prod/a", "prod/db/b", "production/c"],
        }.items():
            with opened(aws.url, prefix=prefix) as backend:
                assert listed(backend) == names

    def test_a_folder_is_one_of_whole_segments_below_the_prefix(self, aws: FakeSecretsManager) -> None:
        made(aws, "app/db", "app/db/a", "app/db/b/c", "app/dbx", "app/dbx/a", "db/z")
        with opened(aws.url, prefix="app/") as backend:
            assert listed(backend, "db") == ["db/a", "db/b/c"]
            assert listed(backend, "db/b") == ["db/b/c"]
        assert [request.parameters["Filters"] for request in aws.sent("ListSecrets")] == [
            [{"Key": "name", "Values": [f"app/{folder}/"]}] for folder in ("db", "db/b")
        ]

    def test_a_filter_that_lets_too_much_through_is_not_relied_on(
        self, aws: FakeSecretsManager, backend: AwsBackend
    ) -> None:
        made(aws, "db/a", "DB/b", "x/db/a", "dbx/a")
        plain = aws.operations.ListSecrets
        aws.operations.ListSecrets = lambda region, asked: plain(region, asked | {"Filters": []})
        assert listed(backend, "db") == ["db/a"]

    def test_what_is_scheduled_for_deletion_is_left_out_even_if_it_is_listed(
        self, aws: FakeSecretsManager, backend: AwsBackend
    ) -> None:
        """The service's list may lag; what it says of a secret counts."""
        made(aws, "a", "b")
        aws.client().delete_secret(SecretId="a", RecoveryWindowInDays=7)
        plain = aws.operations.ListSecrets
        aws.operations.ListSecrets = lambda region, asked: plain(region, asked | {"IncludePlannedDeletion": True})
        assert listed(backend) == ["b"]

    def test_names_that_nobody_can_ask_for_are_left_out(self, aws: FakeSecretsManager, backend: AwsBackend) -> None:
        made(aws, "a", "/a", "b//c", "d/", "e/./f", "..", "g/../h")
        assert listed(backend) == ["a"]

    def test_a_name_that_stands_for_an_arn_hides_the_secret_of_that_name(self, aws: FakeSecretsManager) -> None:
        """Whoever read it would get the other one."""
        made(aws, "shared", "own")
        arn = f"arn:aws:secretsmanager:{REGION}:999999999999:secret:theirs-abcdef"
        with opened(aws.url, arns={"shared": arn}) as backend:
            assert listed(backend) == ["own"]

    @pytest.mark.parametrize("folder", ["ä", "a%", "with blank", "!db", "x" * 512])
    def test_a_folder_that_no_name_can_be_in_takes_no_request(
        self, aws: FakeSecretsManager, backend: AwsBackend, folder: str
    ) -> None:
        assert listed(backend, folder) == []
        assert aws.requests == []
