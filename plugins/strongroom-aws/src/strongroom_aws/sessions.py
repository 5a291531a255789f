"""Sessions of botocore: with which credentials the service is asked, and the clients that ask it."""

from __future__ import annotations

from typing import Any, Final

import boto3

from botocore.config import Config
from botocore.credentials import CredentialProvider, CredentialResolver, Credentials
from botocore.loaders import Loader
from botocore.session import Session

from strongroom_aws.place import Place
from strongroom_aws.settings import AwsSettings

# The service's description takes some time to read, and never changes: it is kept for the next client, in a forked
# child as well.
_LOADER: Final = Loader()
_METADATA: Final = "iam-role"
"""What botocore calls the provider that asks the machine's metadata service."""


def new_session(settings: AwsSettings, place: Place) -> Session:
    """Make a session with the credentials that the settings name, or those that the default chain finds.

    Args:
        settings: The backend's settings.
        place: Where the service is.

    Raises:
        ConfigurationError: A secret that the settings name is not there.
        botocore.exceptions.BotoCoreError: botocore cannot make one.
    """
    session = Session(profile=settings.profile)
    session.register_component("data_loader", _LOADER)
    session.set_config_variable("region", place.region)
    session.set_default_client_config(_config(settings))
    if settings.access_key_id is not None:
        session.register_component("credential_provider", CredentialResolver([_Given(settings)]))
    elif place.is_local:
        # An emulator on this machine: nothing goes to the network to find out what the machine is in the cloud.
        session.get_component("credential_provider").remove(_METADATA)
    return session


def new_client(session: Session, settings: AwsSettings, place: Place, region: str) -> Any:
    """Make a client for the service in a region.

    Args:
        session: From :func:`new_session`.
        settings: The backend's settings.
        place: Where the service is.
        region: The region to ask.

    Raises:
        botocore.exceptions.BotoCoreError: botocore cannot make one.
    """
    own = Config(use_dualstack_endpoint=settings.dual_stack) if settings.dual_stack is not None else None
    return boto3.Session(botocore_session=session).client(
        "secretsmanager",
        region_name=region,
        endpoint_url=place.endpoint_of(settings, region),
        verify=settings.ca_file,
        config=own,
    )


def _config(settings: AwsSettings) -> Config:
    """Return what holds for every client, for those that get credentials as well: only we send again."""
    return Config(
        connect_timeout=settings.connect_timeout,
        read_timeout=settings.read_timeout,
        max_pool_connections=settings.connections,
        retries={"total_max_attempts": 1, "mode": "standard"},
        tcp_keepalive=True,
        use_fips_endpoint=settings.fips,
    )


class _Given(CredentialProvider):  # type: ignore[misc]  # botocore has no types
    """The access key of the settings, read anew for each session."""

    METHOD = "strongroom-settings"

    def __init__(self, settings: AwsSettings) -> None:
        super().__init__()
        self._settings = settings

    def load(self) -> Credentials:
        """Return it."""
        key, secret, token = (
            source.read().reveal_text() if source is not None else None
            for source in (
                self._settings.access_key_id,
                self._settings.secret_access_key,
                self._settings.session_token,
            )
        )
        return Credentials(key, secret, token, method=self.METHOD)
