"""Whose credentials they are."""

from __future__ import annotations

from typing import Any

from botocore.session import Session

from strongroom.errors import ConfigurationError
from strongroom_aws.settings import AwsSettings


def strange_account(session: Session, settings: AwsSettings) -> str | None:
    """Return the account that the credentials are of if it is not the one of the settings; ``None`` if all is well.

    STS is asked once, and not at all if the settings name no account, or a role of that very account: nobody
    else can give that.

    Args:
        session: A session with the credentials.
        settings: The backend's settings.

    Raises:
        botocore.exceptions.BotoCoreError: There are no credentials, or STS does not answer.
        botocore.exceptions.ClientError: STS refuses.
    """
    if settings.account is None or settings.role_arn is not None:
        return None
    account = account_of(session)
    return None if account == settings.account else account


def check_renewed(session: Session, settings: AwsSettings, found: Any) -> None:
    """Look whose credentials are that a session has got in place of its first ones, before they are used.

    Args:
        session: The session.
        settings: The backend's settings.
        found: The credentials.

    Raises:
        ConfigurationError: They are of another account than the settings say.
        botocore.exceptions.BotoCoreError: STS does not answer.
        botocore.exceptions.ClientError: STS refuses.
    """
    if settings.account is None:
        return
    account = account_of(
        session,
        aws_access_key_id=found.access_key,
        aws_secret_access_key=found.secret_key,
        aws_session_token=found.token,
    )
    if account != settings.account:
        raise wrong_account(account, settings)


def account_of(session: Session, **keys: Any) -> str:
    """Return the account that credentials are of; STS is asked.

    Args:
        session: A session with the credentials.
        **keys: Other ones, as botocore names them.

    Raises:
        botocore.exceptions.BotoCoreError: There are no credentials, or STS does not answer.
        botocore.exceptions.ClientError: STS refuses.
    """
    client = session.create_client("sts", **keys)
    try:
        return str(client.get_caller_identity()["Account"])
    finally:
        client.close()


def wrong_account(account: str, settings: AwsSettings) -> ConfigurationError:
    """Return the error for credentials of another account."""
    return ConfigurationError(
        f"the AWS credentials are of the account {account}, and `account` asks for {settings.account}:"
        " nothing was read or written",
        hint="use credentials of that account, or a role in it; `aws sts get-caller-identity` tells whose they are",
    )
