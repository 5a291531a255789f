"""Logging in with an identity of AWS IAM."""

from __future__ import annotations

import base64
import json

from typing import Any, Final
from urllib.parse import quote

import hvac

from strongroom.errors import ConfigurationError, StrongroomError
from strongroom.telemetry import quiet
from strongroom_vault.asking import bare
from strongroom_vault.login.grants import Grant, Login, granted, mount_of
from strongroom_vault.settings import AuthSettings

_BODY: Final = "Action=GetCallerIdentity&Version=2011-06-15"
_CONTENT_TYPE: Final = "application/x-www-form-urlencoded; charset=utf-8"
_GLOBAL: Final = "https://sts.amazonaws.com/"
_GLOBAL_REGION: Final = "us-east-1"
_HINT: Final = "check the role's principals, the region and STS endpoint that the method expects, and auth.header"
_NO_CREDENTIALS: Final = "set AWS_PROFILE, AWS_ROLE_ARN or AWS_ACCESS_KEY_ID, or run where a role is attached"


class AWSLogin(Login):
    """Signs a request to AWS that says who we are, for the server to send.

    The credentials are found as every AWS tool finds them.

    Args:
        auth: What the configuration says.
    """

    def __init__(self, auth: AuthSettings) -> None:
        self._auth = auth

    def grant(self, client: hvac.Client) -> Grant:
        """Log in."""
        # hvac's own aws.iam_login signs for one region and one endpoint only.
        return granted(
            "the login with AWS IAM",
            lambda: client.adapter.login(
                f"/v1/auth/{quote(mount_of(self._auth))}/login",
                use_token=False,
                json=signed_identity(self._auth),
            ),
            hint=_HINT,
        )


def signed_identity(auth: AuthSettings) -> dict[str, str]:
    """Return the fields of a login: a signed ``GetCallerIdentity``, which the server sends to STS.

    Without a region it is the global STS, signed for ``us-east-1``.

    Args:
        auth: Its ``region``, ``sts_endpoint``, ``header`` and ``role`` count.

    Raises:
        ConfigurationError: botocore is missing, or there are no credentials for AWS.
    """
    try:
        import botocore.exceptions
        import botocore.session
    except ImportError as error:
        raise ConfigurationError(
            "logging in with AWS IAM needs botocore", hint="pip install 'strongroom-vault[aws]'"
        ) from error
    failure: StrongroomError
    try:
        # Finding credentials asks others, and may be done in the token's own thread, where the core is not around it.
        with quiet():
            request = _signed(botocore.session.get_session(), auth)
    except botocore.exceptions.BotoCoreError as error:
        failure = ConfigurationError(f"AWS gives no credentials: {type(error).__name__}", hint=_NO_CREDENTIALS)
        failure.__cause__ = error
    else:
        return _fields(request, auth.role)
    # Outside the handler, and without frames: theirs may hold a key.
    raise bare(failure)


def _signed(session: Any, auth: AuthSettings) -> Any:
    from botocore.auth import SigV4Auth
    from botocore.awsrequest import AWSRequest

    credentials = session.get_credentials()
    if credentials is None:
        raise ConfigurationError("there are no AWS credentials", hint=_NO_CREDENTIALS)
    region = auth.region or _GLOBAL_REGION
    headers = {"Content-Type": _CONTENT_TYPE}
    if auth.header:
        headers["X-Vault-AWS-IAM-Server-ID"] = auth.header
    request = AWSRequest(method="POST", url=_endpoint(session, auth), data=_BODY, headers=headers)
    SigV4Auth(credentials.get_frozen_credentials(), "sts", region).add_auth(request)
    return request


def _endpoint(session: Any, auth: AuthSettings) -> str:
    if auth.sts_endpoint:
        return auth.sts_endpoint.rstrip("/") + "/"
    if auth.region is None:
        return _GLOBAL
    from botocore.config import Config

    # China and others have names of their own, which botocore knows. What its own settings say is no matter here.
    session.set_config_variable("sts_regional_endpoints", "regional")
    known = Config(ignore_configured_endpoint_urls=True)
    found = session.create_client("sts", region_name=auth.region, config=known).meta.endpoint_url
    return str(found).rstrip("/") + "/"


def _fields(request: Any, role: str | None) -> dict[str, str]:
    headers = {name: [value] for name, value in request.headers.items()}
    fields = {
        "iam_http_request_method": "POST",
        "iam_request_url": _base64(request.url),
        "iam_request_body": _base64(_BODY),
        "iam_request_headers": _base64(json.dumps(headers)),
    }
    return fields | ({"role": role} if role else {})


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
