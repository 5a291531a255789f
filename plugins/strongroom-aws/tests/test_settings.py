"""Which settings go together, and that what does not is said in words before anything is sent."""

from __future__ import annotations

import json
import subprocess
import sys

from pathlib import Path
from typing import Any

import pytest

import strongroom

from awsclient import REGION
from awskeys import Literal
from strongroom.errors import ConfigurationError
from strongroom_aws.settings import AwsSettings, RateSettings, RotationSettings

KEY = Literal("x")
ROLE = "arn:aws:iam::123456789012:role/reader"
ARN = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:app/key-AbCdEf"
DAY, HOUR = 86_400.0, 3_600.0

GOOD: list[dict[str, Any]] = [
    {},
    {"access_key_id": KEY, "secret_access_key": KEY},
    {"access_key_id": KEY, "secret_access_key": KEY, "session_token": KEY, "role_arn": ROLE},
    {"profile": "ops", "role_arn": ROLE, "external_id": "x:/1", "session_name": "me@host", "session_duration": 900.0},
    {"role_arn": "arn:aws-cn:iam::123456789012:role/path/reader", "session_duration": 43_200.0},
    {"role_arn": ROLE, "account": "123456789012"},
    {"role_arn": ROLE, "web_identity_token_file": "/token", "session_name": "me"},
    {"region": "us-gov-west-1", "replicate": ("us-gov-east-1",)},
    {"endpoint": "http://127.0.0.1:4566", "sts_endpoint": "https://sts.example.com/path"},
    {"endpoint": "http://[::1]:4566/"},
    {"fips": True, "dual_stack": True},
    {"fips": False, "endpoint": "https://vpce.example.com"},
    {"recovery_window": 0.0},
    {"recovery_window": 7 * DAY},
    {"rotation_enabled": ("db/**",), "rotation": RotationSettings(every=4 * HOUR, window=HOUR)},
    {"rotation_enabled": ("db/**",), "rotation": RotationSettings(schedule="cron(0 8 1 * ? *)", lambda_arn="f")},
    {"arns": {"shared/key": ARN}},
]

BAD: list[tuple[dict[str, Any], str]] = [
    ({"access_key_id": KEY}, "go together"),
    ({"secret_access_key": KEY}, "go together"),
    ({"session_token": KEY}, "session_token needs"),
    ({"access_key_id": KEY, "secret_access_key": KEY, "profile": "ops"}, "exclude each other"),
    ({"web_identity_token_file": "/token"}, "needs role_arn"),
    (
        {"web_identity_token_file": "/t", "role_arn": ROLE, "access_key_id": KEY, "secret_access_key": KEY},
        "exclude each other",
    ),
    ({"external_id": "x"}, "external_id needs"),
    ({"external_id": "x", "role_arn": ROLE, "web_identity_token_file": "/t"}, "external_id needs"),
    ({"external_id": ""}, "external_id needs"),
    ({"role_arn": ROLE, "external_id": "x"}, "2 to 1224"),
    ({"role_arn": ROLE, "external_id": "x y"}, "2 to 1224"),
    ({"role_arn": ROLE, "external_id": ""}, "2 to 1224"),
    ({"profile": ""}, "not be empty"),
    ({"session_name": "me"}, "session_name needs"),
    ({"session_duration": 900.0}, "session_duration needs"),
    ({"role_arn": ROLE, "session_duration": 899.0}, "15m to 12h"),
    ({"role_arn": ROLE, "session_duration": 43_201.0}, "15m to 12h"),
    ({"role_arn": ROLE, "session_name": "m"}, "session_name must"),
    ({"role_arn": ROLE, "session_name": "m" * 65}, "session_name must"),
    ({"role_arn": ROLE, "session_name": "my name"}, "session_name must"),
    ({"role_arn": "reader"}, "role's ARN"),
    ({"role_arn": "arn:aws:iam::123456789012:user/me"}, "role's ARN"),
    ({"account": "12345"}, "twelve digits"),
    ({"account": "1234 5678 9012"}, "twelve digits"),
    ({"account": "١٢٣٤٥٦٧٨٩٠١٢"}, "twelve digits"),
    ({"role_arn": ROLE, "account": "210987654321"}, "role of the account"),
    ({"region": "Frankfurt"}, "no region"),
    ({"region": "eu-central-１"}, "no region"),  # noqa: RUF001  # that is the point
    ({"replicas": ("us",)}, "no region"),
    ({"region": REGION, "replicas": (REGION,)}, "the region itself"),
    ({"replicate": ("us-east-1", "us-east-1")}, "twice"),
    ({"endpoint": "aws.example.com"}, "must be a URL"),
    ({"endpoint": "https://user:password@aws.example.com"}, "must be a URL"),
    ({"endpoint": "http://[::1"}, "must be a URL"),
    ({"endpoint": "http://localhost:99999"}, "must be a URL"),
    ({"endpoint": "http://localhost:port"}, "must be a URL"),
    ({"endpoint": "https://aws.example.com?x=1"}, "must be a URL"),
    ({"endpoint": ""}, "must be a URL"),
    ({"sts_endpoint": "ftp://sts.example.com"}, "must be a URL"),
    ({"replica_endpoints": {"us-east-1": "x"}}, "must be a URL"),
    ({"replica_endpoints": {"us-east-1": "https://x.example.com"}}, "none of the replicas"),
    (
        {"replicate": ("us-east-1",), "replicas": (), "replica_endpoints": {"us-east-1": "https://x.example.com"}},
        "none of the replicas",
    ),
    ({"fips": True, "endpoint": "https://vpce.example.com"}, "fips excludes"),
    ({"dual_stack": True, "endpoint": "https://vpce.example.com"}, "dual_stack excludes"),
    ({"fips": True, "replica_endpoints": {"us-east-1": "https://vpce.example.com"}}, "fips excludes"),
    ({"recovery_window": 6 * DAY}, "recovery_window"),
    ({"recovery_window": 31 * DAY}, "recovery_window"),
    ({"recovery_window": 7.5 * DAY}, "recovery_window"),
    ({"on_deleted": "destroy"}, "on_deleted"),
    ({"attempts": 0}, "attempts"),
    ({"connections": 0}, "connections"),
    ({"connect_timeout": 0.0}, "time limits"),
    ({"timeout": 10.0}, "timeout must be at least"),
    ({"rates": RateSettings(read=0.0)}, "rates"),
    ({"prefix": "app prod/"}, "prefix"),
    ({"prefix": "p" * 512}, "prefix"),
    ({"arns": {"shared/key": "app/key"}}, "full ARN"),
    ({"arns": {"shared/key": ARN[:-7]}}, "full ARN"),
    ({"rotation": RotationSettings(every=DAY)}, "needs rotation_enabled"),
    ({"rotation_enabled": ("db/**",), "rotation": RotationSettings(every=DAY, schedule="rate(1 day)")}, "exclude"),
    ({"rotation_enabled": ("db/**",), "rotation": RotationSettings(every=3 * HOUR)}, "whole hours"),
    ({"rotation_enabled": ("db/**",), "rotation": RotationSettings(every=1001 * DAY)}, "whole days"),
    ({"rotation_enabled": ("db/**",), "rotation": RotationSettings(schedule="daily")}, "schedule must"),
    ({"rotation_enabled": ("db/**",), "rotation": RotationSettings(lambda_arn="f")}, "lambda_arn needs"),
    ({"rotation_enabled": ("db/**",), "rotation": RotationSettings(every=DAY, window=1.5 * HOUR)}, "window"),
]


@pytest.mark.parametrize("settings", GOOD)
def test_these_go_together(settings: dict[str, Any]) -> None:
    assert AwsSettings(**settings).problems() == []


@pytest.mark.parametrize(("settings", "said"), BAD)
def test_these_are_refused_in_words(settings: dict[str, Any], said: str) -> None:
    assert [problem for problem in AwsSettings(**settings).problems() if said in problem]


def test_a_configuration_has_them_as_it_has_those_of_other_backends() -> None:
    backend = {"type": "aws", "region": REGION, "role_arn": ROLE, "session_duration": "1m", "recovery_window": "6d"}
    with (
        pytest.raises(ConfigurationError, match=r"recovery_window(.|\n)*15m to 12h|15m to 12h(.|\n)*recovery_window"),
        strongroom.open({"backend": "aws", "audit": "none", "backends": {"aws": backend}}) as manager,
    ):
        manager.get("app/key")


def test_a_key_that_stands_in_the_configuration_shows_in_no_repr() -> None:
    settings = AwsSettings(access_key_id=KEY, secret_access_key=Literal("the-secret-key"))
    assert "the-secret-key" not in f"{settings!r} {settings}"


def test_a_default_is_shown_as_the_file_would_take_it(tmp_path: Path) -> None:
    (tmp_path / "strongroom.toml").write_text('audit = "none"\n[backends.aws]\ntype = "aws"\n')
    done = subprocess.run(
        [sys.executable, "-m", "strongroom", "config", "--json"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    shown = {line["setting"]: line["value"] for line in json.loads(done.stdout)["settings"]}
    assert shown["backends.aws.recovery_window"] == "2592000s"
    assert AwsSettings(recovery_window=2_592_000.0) == AwsSettings()
