"""Ctrl-C in the middle of a request: it comes through, and brings no value with it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from awsbackends import opened, read, write
from awsclient import REGION
from fakeaws import FakeSecretsManager
from strongroom.testing import assert_hidden, report_of
from strongroom_aws.backend import AwsBackend

VALUE = "Zq7-Wm4x-Kp9v-Ru2j"


@pytest.mark.parametrize("event", ["before-call", "before-send", "before-parse", "after-call"])
@pytest.mark.parametrize("act", [read, lambda backend: write(backend, value=VALUE)], ids=["read", "write"])
@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_it_comes_through_without_the_frames_that_hold_values(
    aws: FakeSecretsManager, event: str, act: Callable[[AwsBackend], object], kind: type[BaseException]
) -> None:
    def interrupt(**more: Any) -> None:  # noqa: ARG001  # as botocore calls it
        try:
            raise ValueError(VALUE)
        except ValueError:
            raise kind("now")  # noqa: B904  # in the midst of another error, as it may come

    aws.client().create_secret(Name="app/key", SecretString=VALUE)
    with opened(aws.url) as backend:
        client = backend._asker.clients.get(REGION)  # noqa: SLF001  # there is no other way into a call of botocore's
        client.meta.events.register(f"{event}.secrets-manager", interrupt)
        with pytest.raises(kind, match="now") as caught:
            act(backend)
        client.meta.events.unregister(f"{event}.secrets-manager", interrupt)
        for package in ("botocore", "strongroom_aws"):
            assert_hidden(VALUE, report_of(caught.value, package), "the interruption")
        assert read(backend) == VALUE
