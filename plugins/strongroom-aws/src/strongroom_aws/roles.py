"""Roles of the settings, taken on at STS."""

from __future__ import annotations

import getpass
import re

from datetime import UTC, datetime
from typing import Any, Final

from botocore.credentials import (
    AssumeRoleCredentialFetcher,
    AssumeRoleWithWebIdentityCredentialFetcher,
    BaseAssumeRoleCredentialFetcher,
    CredentialProvider,
    CredentialResolver,
    RefreshableCredentials,
)
from botocore.exceptions import NoCredentialsError
from botocore.session import Session

from strongroom_aws.chain import token_in
from strongroom_aws.lasting import Lasting
from strongroom_aws.settings import AwsSettings

_LONGEST_NAME: Final = 64
_SPELLED_OTHERWISE: Final = re.compile(r"[^\w+=,.@-]", re.ASCII)
# How long before its end a session is renewed, and from when on a request waits for that: what botocore does for
# sessions of an hour. Shorter ones have less, or each request would renew them.
_EARLY: Final = 900
_LATE: Final = 600


class RoleProvider(CredentialProvider):  # type: ignore[misc]  # botocore has no types
    """Takes on the role of the settings, and takes it on again before it runs out.

    Args:
        session: Makes the client for STS.
        settings: The backend's settings, with ``role_arn``.
        base: Finds the credentials to take it on with.
    """

    METHOD = "strongroom-role"

    def __init__(self, session: Session, settings: AwsSettings, base: CredentialResolver) -> None:
        super().__init__(session)
        self._settings = settings
        self._base = base

    def load(self) -> Lasting:
        """Return the role's credentials; STS is asked when they are first used."""
        return Lasting(self._taken_on, self.METHOD)

    def _taken_on(self) -> RefreshableCredentials:
        """Take the role on.

        Raises:
            NoCredentialsError: There is nothing to take it on with.
        """
        fetch = self._fetcher().fetch_credentials
        keys = fetch()
        lasts = (datetime.fromisoformat(keys["expiry_time"]) - datetime.now(UTC)).total_seconds()
        return RefreshableCredentials.create_from_metadata(
            keys,
            refresh_using=fetch,
            method=self.METHOD,
            advisory_timeout=min(_EARLY, lasts / 3),
            mandatory_timeout=min(_LATE, lasts / 6),
        )

    def _fetcher(self) -> BaseAssumeRoleCredentialFetcher:
        settings = self._settings
        asked: dict[str, Any] = {"RoleSessionName": session_name(settings)}
        if settings.session_duration is not None:
            asked["DurationSeconds"] = int(settings.session_duration)
        if settings.web_identity_token_file is not None:
            path = settings.web_identity_token_file
            return AssumeRoleWithWebIdentityCredentialFetcher(
                self.session.create_client, lambda: token_in(path), settings.role_arn, extra_args=asked
            )
        if settings.external_id is not None:
            asked["ExternalId"] = settings.external_id
        source = self._base.load_credentials()
        if source is None:
            raise NoCredentialsError
        return AssumeRoleCredentialFetcher(self.session.create_client, source, settings.role_arn, extra_args=asked)


def session_name(settings: AwsSettings) -> str:
    """Return what a role's session is called, as far as STS can spell it."""
    if settings.session_name is not None:
        return settings.session_name
    try:
        user = getpass.getuser()
    except (KeyError, OSError, ImportError):
        # A container may run as a number that no user has.
        return "strongroom"
    return _SPELLED_OTHERWISE.sub("-", f"strongroom-{user}")[:_LONGEST_NAME]
