"""The backend keeps its contract against the emulator, and its plugin that of one."""

from __future__ import annotations

import secrets

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing

import pytest

from awsclient import ACCESS_KEY, SECRET_KEY
from awswriting import UNPACED
from fakeaws import FakeSecretsManager
from moto_server import Emulator
from openbao import free_port
from strongroom.contracts import Capability
from strongroom.testing import BackendContract, PluginContract
from strongroom_aws.backend import AwsBackend
from strongroom_aws.settings import AwsSettings

REGION = "eu-central-1"
MANY = 100_000
"""Versions: threads that are busy for as long as a check takes write more than the service keeps."""


class TestPlugin(PluginContract):
    module = "strongroom_aws.plugin"
    heavy = ("boto3", "botocore", "urllib3", "strongroom_aws.backend", "strongroom_aws.rules")


class Contract(BackendContract):
    """What is the same however the backend is configured, and whatever it speaks to."""

    capabilities = frozenset(Capability)
    credentials = (ACCESS_KEY, SECRET_KEY)
    recovers_versions = False

    @pytest.fixture
    def settings(self, url: str) -> AwsSettings:
        """Return the settings of the backend under test, below a prefix of its own."""
        return AwsSettings(region=REGION, endpoint=url, prefix=f"kit-{secrets.token_hex(4)}/", recovery_window=0)

    @pytest.fixture
    def backend(self, settings: AwsSettings) -> Iterator[AwsBackend]:
        backend = AwsBackend.open(settings)
        yield backend
        backend.close()

    @pytest.fixture
    def reopen(self, settings: AwsSettings) -> Iterator[Callable[[], AwsBackend]]:
        with ExitStack() as stack:
            yield lambda: stack.enter_context(closing(AwsBackend.open(settings)))

    @pytest.fixture
    def failing(self, settings: AwsSettings) -> Iterator[AwsBackend]:
        nobody = f"http://127.0.0.1:{free_port()}"
        backend = AwsBackend.open(settings.replace(endpoint=nobody, attempts=1))
        yield backend
        backend.close()


class TestEmulator(Contract):
    """Deletions are at once, so a name is free again."""

    @pytest.fixture
    def url(self, emulator: Emulator) -> str:
        return emulator.url

    def test_of_many_that_stage_at_once_one_wins(self) -> None:  # type: ignore[override]  # it needs nothing
        """Left to the fake."""
        pytest.skip("the emulator lets AWSPENDING be taken from wherever it is; the service does not")

    def test_what_was_deleted_comes_back_exactly(self) -> None:  # type: ignore[override]  # it needs nothing
        """Left to those that schedule."""
        pytest.skip("only a deletion that is scheduled can be taken back, and here they are at once")

    def test_a_deleted_version_can_be_destroyed(self) -> None:  # type: ignore[override]  # it needs nothing
        """As above."""
        pytest.skip("only a deletion that is scheduled leaves something to destroy, and here they are at once")


class TestRestoring(Contract):
    """Deletions are scheduled, and a write brings back what it writes over."""

    @pytest.fixture
    def url(self, aws: FakeSecretsManager) -> str:
        # The emulator lets a scheduled secret be written to; the service does not.
        aws.operations.version_limit = MANY
        return aws.url

    @pytest.fixture
    def settings(self, url: str) -> AwsSettings:
        return AwsSettings(
            region=REGION, endpoint=url, recovery_window=7 * 86_400.0, on_deleted="restore", rates=UNPACED
        )


class TestRefusing(Contract):
    """Deletions are scheduled, and their names are not free before they are brought back or destroyed."""

    writes_over_deleted = False

    @pytest.fixture
    def url(self, aws: FakeSecretsManager) -> str:
        # As above.
        aws.operations.version_limit = MANY
        return aws.url

    @pytest.fixture
    def settings(self, url: str) -> AwsSettings:
        return AwsSettings(region=REGION, endpoint=url, rates=UNPACED)
