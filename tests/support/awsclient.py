"""Plain boto3 clients for tests: no code of ours is on their way to the server, and no setting of the process."""

from __future__ import annotations

import functools
import os

from collections.abc import Callable
from typing import Any

import pytest

ACCESS_KEY = "AKIASTRONGROOMTESTED"
SECRET_KEY = "the-key-of-a-test"
REGION = "eu-central-1"
FIXED = {
    "profile": (None, None, None, None),
    "config_file": (None, None, os.devnull, None),
    "credentials_file": (None, None, os.devnull, None),
    "ca_bundle": (None, None, None, None),
}
"""What a session takes from nowhere, whatever a test puts into the environment for the code of ours."""


def plain_client(url: str, service: str, region: str, *, verify: str | None = None, **credentials: Any) -> Any:
    """Return a boto3 client that sends to a URL, once for each call: it never tries again by itself.

    Args:
        url: The endpoint.
        service: Such as ``secretsmanager`` or ``sts``.
        region: The region that requests are signed for.
        verify: The file of certificates to trust, for a URL with TLS.
        credentials: ``aws_access_key_id``, ``aws_secret_access_key`` and ``aws_session_token`` instead of the
            key of tests.
    """
    boto3 = pytest.importorskip("boto3", reason="needs boto3")
    from botocore.config import Config
    from botocore.session import Session

    session = Session(session_vars=FIXED)
    session.register_component("data_loader", _loader())
    keys = {"aws_access_key_id": ACCESS_KEY, "aws_secret_access_key": SECRET_KEY, **credentials}
    once = Config(
        retries={"total_max_attempts": 1},
        connect_timeout=5,
        read_timeout=20,
        proxies={},
        use_fips_endpoint=False,
        use_dualstack_endpoint=False,
    )
    made = boto3.Session(botocore_session=session)
    return made.client(service, region_name=region, endpoint_url=url, config=once, verify=verify, **keys)


def error_code(call: Callable[..., Any], **parameters: Any) -> str:
    """Return the code of the error that a client's call must end with."""
    from botocore.exceptions import ClientError

    with pytest.raises(ClientError) as caught:
        call(**parameters)
    return str(caught.value.response["Error"]["Code"])


@functools.cache
def _loader() -> Any:
    """Return one reader of service descriptions for all clients: it takes longer than all the rest."""
    from botocore.session import Session

    return Session(session_vars=FIXED).get_component("data_loader")
