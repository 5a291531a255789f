"""Where the service is: region and endpoint from settings, variables and profiles, and nothing else is contacted."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import time

from pathlib import Path
from typing import Any

import pytest

from awsbackends import opened, read
from awsclient import ACCESS_KEY, SECRET_KEY
from fakeaws import FakeSecretsManager
from fakemetadata import FakeMetadata
from strongroom.errors import BackendUnavailableError, ConfigurationError
from strongroom_aws.clients import Clients
from strongroom_aws.place import resolve
from strongroom_aws.sessions import new_session
from strongroom_aws.settings import AwsSettings

ENDPOINT = "http://127.0.0.1:4566"


@pytest.fixture
def profiles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file with profiles."""
    path = tmp_path / "aws-config"
    monkeypatch.setenv("AWS_CONFIG_FILE", str(path))
    path.write_text("[default]\nregion = eu-west-1\n[profile ops]\nregion = eu-west-2\n")
    return path


def asked_url(settings: AwsSettings, region: str | None = None) -> str:
    place = resolve(settings)
    return str(Clients(settings, place).get(region or place.region).meta.endpoint_url)


class TestRegion:
    @pytest.mark.parametrize(
        ("setting", "variables", "region", "said_by"),
        [
            ("us-east-1", {"AWS_REGION": "us-west-1"}, "us-east-1", "the settings"),
            (None, {"AWS_REGION": "us-west-1"}, "us-west-1", "AWS_REGION"),
            (None, {"AWS_DEFAULT_REGION": "us-west-2"}, "us-west-2", "AWS_DEFAULT_REGION"),
            (None, {"AWS_REGION": "us-west-1", "AWS_DEFAULT_REGION": "us-west-1"}, "us-west-1", "AWS_REGION"),
            (
                None,
                {"AWS_REGION": "us-west-1", "AWS_DEFAULT_REGION": "us-west-2"},
                "us-west-1",
                "AWS_REGION (AWS_DEFAULT_REGION says us-west-2)",
            ),
            (None, {"AWS_REGION": "", "AWS_DEFAULT_REGION": "us-west-2"}, "us-west-2", "AWS_DEFAULT_REGION"),
            (None, {}, "eu-west-1", "the profile"),
            (None, {"AWS_PROFILE": "ops"}, "eu-west-2", "the profile"),
        ],
    )
    def test_it_comes_from_the_first_that_names_one(
        self,
        profiles: Path,
        monkeypatch: pytest.MonkeyPatch,
        setting: str | None,
        variables: dict[str, str],
        region: str,
        said_by: str,
    ) -> None:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        place = resolve(AwsSettings(region=setting))
        assert (place.region, place.said_by) == (region, said_by)

    def test_the_profile_of_the_settings_is_asked_before_that_of_the_variable(
        self, profiles: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("AWS_PROFILE", "default")
        assert resolve(AwsSettings(profile="ops")).region == "eu-west-2"

    def test_a_region_that_is_named_elsewhere_costs_no_look_at_the_files(self, profiles: Path) -> None:
        profiles.write_text("no such syntax")
        assert resolve(AwsSettings(), {"AWS_REGION": "us-west-1"}).region == "us-west-1"

    @pytest.mark.parametrize("region", ["EU-CENTRAL-1", "local", "aws-global", "eu central", "../x"])
    def test_what_is_no_region_is_refused_wherever_it_comes_from(
        self, profiles: Path, monkeypatch: pytest.MonkeyPatch, region: str
    ) -> None:
        profiles.write_text(f"[default]\nregion = {region}\n")
        with pytest.raises(ConfigurationError, match="the profile, is no AWS region"):
            resolve(AwsSettings())
        monkeypatch.setenv("AWS_REGION", region)
        with pytest.raises(ConfigurationError, match="AWS_REGION, is no AWS region"):
            resolve(AwsSettings())

    @pytest.mark.parametrize("endpoint", [None, ENDPOINT])
    def test_without_one_opening_fails_and_says_what_to_set(self, endpoint: str | None) -> None:
        with pytest.raises(ConfigurationError) as caught:
            resolve(AwsSettings(endpoint=endpoint))
        for word in ("region", "AWS_REGION", "AWS_DEFAULT_REGION", "profile"):
            assert word in f"{caught.value} {caught.value.hint}"

    @pytest.mark.parametrize("content", ["[default]\n", "no such syntax"])
    def test_a_profile_that_is_not_there_or_a_broken_file_is_a_configuration_error(
        self, profiles: Path, content: str
    ) -> None:
        profiles.write_text(content)
        with pytest.raises(ConfigurationError):
            resolve(AwsSettings(profile="ops"))

    def test_a_replica_in_the_region_itself_is_refused_wherever_the_region_comes_from(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("AWS_REGION", "us-west-1")
        with pytest.raises(ConfigurationError, match="AWS_REGION"):
            resolve(AwsSettings(replicas=("us-west-1",)))


class TestEndpoint:
    ALL = ("setting", "AWS_ENDPOINT_URL_SECRETS_MANAGER", "AWS_ENDPOINT_URL", "services", "profile")

    @pytest.mark.parametrize("first", range(len(ALL)))
    def test_the_first_that_gives_one_decides(
        self, profiles: Path, monkeypatch: pytest.MonkeyPatch, first: int
    ) -> None:
        given = dict(zip(self.ALL, (f"http://127.0.0.1:{port}" for port in range(1001, 1006)), strict=True))
        here = {kind: url for kind, url in given.items() if kind in self.ALL[first:]}
        lines = ["[default]", "region = eu-west-1"]
        if "services" in here:
            lines += ["services = mine"]
        lines += [f"endpoint_url = {here['profile']}"]
        if "services" in here:
            lines += ["[services mine]", "secrets_manager =", f"  endpoint_url = {here['services']}"]
        profiles.write_text("\n".join(lines) + "\n")
        for name in self.ALL[1:3]:
            if name in here:
                monkeypatch.setenv(name, here[name])
        assert asked_url(AwsSettings(endpoint=here.get("setting"))) == given[self.ALL[first]]

    def test_configured_ones_can_be_ignored_but_not_that_of_the_settings(
        self, profiles: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        profiles.write_text("[default]\nregion = eu-west-1\nendpoint_url = http://127.0.0.1:1\n")
        monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:2")
        monkeypatch.setenv("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "true")
        assert asked_url(AwsSettings()) == "https://secretsmanager.eu-west-1.amazonaws.com"
        assert asked_url(AwsSettings(endpoint=ENDPOINT)) == ENDPOINT
        assert not resolve(AwsSettings()).is_local

    @pytest.mark.parametrize(
        ("settings", "variables", "url"),
        [
            ({}, {}, "https://sts.eu-west-1.amazonaws.com"),
            ({"sts_endpoint": ENDPOINT}, {"AWS_ENDPOINT_URL_STS": "http://127.0.0.1:1"}, ENDPOINT),
            ({}, {"AWS_ENDPOINT_URL_STS": "http://127.0.0.1:1", "AWS_ENDPOINT_URL": ENDPOINT}, "http://127.0.0.1:1"),
            ({}, {"AWS_ENDPOINT_URL": ENDPOINT}, ENDPOINT),
            ({"endpoint": ENDPOINT}, {}, ENDPOINT),
            ({"endpoint": ENDPOINT}, {"AWS_ENDPOINT_URL": "http://127.0.0.1:1"}, "http://127.0.0.1:1"),
            ({"endpoint": "https://vpce-1.example.com"}, {}, "https://sts.eu-west-1.amazonaws.com"),
            ({"fips": True}, {}, "https://sts-fips.eu-west-1.amazonaws.com"),
            ({"dual_stack": True}, {}, "https://sts.eu-west-1.api.aws"),
        ],
    )
    def test_that_of_sts(
        self, monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any], variables: dict[str, str], url: str
    ) -> None:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        configured = AwsSettings(region="eu-west-1", **settings)
        session = new_session(configured, resolve(configured))
        assert session.create_client("sts").meta.endpoint_url == url

    @pytest.mark.parametrize(
        ("settings", "variables", "host"),
        [
            ({}, {}, "secretsmanager.{}.amazonaws.com"),
            ({"fips": True}, {}, "secretsmanager-fips.{}.amazonaws.com"),
            ({"dual_stack": True}, {}, "secretsmanager.{}.api.aws"),
            ({"fips": True, "dual_stack": True}, {}, "secretsmanager-fips.{}.api.aws"),
            ({}, {"AWS_USE_FIPS_ENDPOINT": "true"}, "secretsmanager-fips.{}.amazonaws.com"),
            ({}, {"AWS_USE_DUALSTACK_ENDPOINT": "true"}, "secretsmanager.{}.api.aws"),
            (
                {"fips": False, "dual_stack": False},
                {"AWS_USE_FIPS_ENDPOINT": "true", "AWS_USE_DUALSTACK_ENDPOINT": "true"},
                "secretsmanager.{}.amazonaws.com",
            ),
        ],
    )
    def test_fips_and_dual_stack_hold_for_the_region_and_its_replicas(
        self, monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any], variables: dict[str, str], host: str
    ) -> None:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        configured = AwsSettings(region="us-east-1", replicas=("us-west-2",), **settings)
        clients = Clients(configured, resolve(configured))
        for region in ("us-east-1", "us-west-2"):
            assert clients.get(region).meta.endpoint_url == "https://" + host.format(region)

    def test_a_replica_may_have_an_endpoint_of_its_own(self) -> None:
        settings = AwsSettings(
            region="us-east-1",
            endpoint="https://one.example.com",
            replicas=("us-west-2", "eu-west-1"),
            replica_endpoints={"us-west-2": "https://two.example.com"},
        )
        assert asked_url(settings, "us-west-2") == "https://two.example.com"
        assert asked_url(settings, "eu-west-1") == "https://one.example.com"

    @pytest.mark.parametrize("kind", ["fips", "dual_stack"])
    @pytest.mark.parametrize("variable", ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_SECRETS_MANAGER"])
    def test_a_variable_does_not_undo_a_kind_that_is_demanded(
        self, monkeypatch: pytest.MonkeyPatch, kind: str, variable: str
    ) -> None:
        monkeypatch.setenv(variable, "https://somewhere.example.com")
        with pytest.raises(ConfigurationError, match=variable):
            resolve(AwsSettings(region="us-east-1", **{kind: True}))

    def test_nor_does_a_profile(self, profiles: Path) -> None:
        profiles.write_text("[default]\nregion = us-east-1\nendpoint_url = https://somewhere.example.com\n")
        settings = AwsSettings(fips=True)
        with pytest.raises(ConfigurationError, match="the profile"):
            Clients(settings, resolve(settings)).get("us-east-1")

    @pytest.mark.parametrize("kind", ["fips", "dual_stack"])
    @pytest.mark.parametrize("origin", ["`endpoint`", "`replica_endpoints`", "AWS_ENDPOINT_URL", "the profile"])
    @pytest.mark.parametrize("demanded_by", ["variable", "profile"])
    def test_a_kind_that_the_environment_demands_is_not_dropped_unless_the_settings_say_so(
        self, profiles: Path, monkeypatch: pytest.MonkeyPatch, kind: str, origin: str, demanded_by: str
    ) -> None:
        name = {"fips": "use_fips_endpoint", "dual_stack": "use_dualstack_endpoint"}[kind]
        lines = ["[default]", "region = us-east-1"]
        if demanded_by == "profile":
            lines.append(f"{name} = true")
        else:
            monkeypatch.setenv(f"AWS_{name.upper()}", "true")
        given: dict[str, Any] = {}
        if origin == "`endpoint`":
            given["endpoint"] = ENDPOINT
        elif origin == "`replica_endpoints`":
            given["replica_endpoints"] = {"us-west-2": ENDPOINT}
        elif origin == "the profile":
            lines.append(f"endpoint_url = {ENDPOINT}")
        else:
            monkeypatch.setenv(origin, ENDPOINT)
        profiles.write_text("\n".join(lines) + "\n")
        with pytest.raises(ConfigurationError, match=origin) as caught:
            asked_url(AwsSettings(**given))
        assert f"{kind} = false" in caught.value.hint
        asked = asked_url(AwsSettings(**given, **{kind: False}), "us-west-2")
        assert asked == ENDPOINT

    @pytest.mark.parametrize("kind", ["fips", "dual_stack"])
    def test_a_variable_for_sts_drops_no_kind_either(self, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", "https://sts.example.com")
        with pytest.raises(ConfigurationError, match="AWS_ENDPOINT_URL_STS"):
            resolve(AwsSettings(region="us-east-1", **{kind: True}))
        assert resolve(AwsSettings(region="us-east-1", sts_endpoint="https://x.example.com", **{kind: True}))

    @pytest.mark.parametrize("origin", ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_STS", "the profile"])
    @pytest.mark.parametrize(
        "url", ["localhost:4566", "http://", "http://[::1", "http://h:99999", "ftp://h", "https://user:pass-word@h"]
    )
    def test_what_is_no_url_is_refused_before_anything_is_sent_and_not_shown(
        self, profiles: Path, monkeypatch: pytest.MonkeyPatch, origin: str, url: str
    ) -> None:
        if origin == "the profile":
            profiles.write_text(f"[default]\nregion = us-east-1\nendpoint_url = {url}\n")
        else:
            monkeypatch.setenv(origin, url)
        with pytest.raises(ConfigurationError, match=f"{origin} names is no URL") as caught:
            asked_url(AwsSettings(region="us-east-1"))
        assert "pass-word" not in str(caught.value)

    def test_a_defaults_mode_of_the_environment_changes_no_time_limit_and_asks_no_machine(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with FakeMetadata() as machine:
            for name, value in machine.machine.items():
                monkeypatch.setenv(name, value)
            monkeypatch.setenv("AWS_EXECUTION_ENV", "x")
            monkeypatch.setenv("AWS_DEFAULTS_MODE", "auto")
            settings = AwsSettings(region="us-east-1", connect_timeout=1.5)
            client = Clients(settings, resolve(settings)).get("us-east-1")
            assert client.meta.config.connect_timeout == 1.5
            assert not machine.requests


class TestProxies:
    """Proxies are botocore's to find; that this plugin leaves them to it is what counts."""

    def test_the_variables_are_honoured(self, aws: FakeSecretsManager, monkeypatch: pytest.MonkeyPatch) -> None:
        aws.client().create_secret(Name="a", SecretString="found")
        monkeypatch.setenv("HTTP_PROXY", aws.url)
        with opened("http://aws.example.com") as backend:
            assert read(backend, "a") == "found"
        assert aws.requests[-1].headers["Host"] == "aws.example.com"

    def test_an_exception_is_asked_directly(self, aws: FakeSecretsManager, monkeypatch: pytest.MonkeyPatch) -> None:
        aws.client().create_secret(Name="a", SecretString="found")
        monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
        with opened(aws.url, attempts=1) as backend, pytest.raises(BackendUnavailableError, match=r"127\.0\.0\.1"):
            read(backend, "a")
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        with opened(aws.url, attempts=1) as backend:
            assert read(backend, "a") == "found"


BLOCKED = """
import socket, sys
honest = socket.socket.connect
def connect(self, address):
    if address[0] not in ("127.0.0.1", "::1", "localhost"):
        print("CONTACTED", address, flush=True)
        raise OSError("blocked")
    return honest(self, address)
socket.socket.connect = connect
def no_names(host, *more, honest=socket.getaddrinfo, **others):
    if host not in ("127.0.0.1", "::1", "localhost"):
        print("ASKED FOR", host, flush=True)
        raise socket.gaierror("blocked")
    return honest(host, *more, **others)
socket.getaddrinfo = no_names
from strongroom.contracts import ReadRequest
from strongroom.model import SecretName
from strongroom_aws.backend import AwsBackend
from strongroom_aws.settings import AwsSettings
"""


def blocked(program: str, **variables: str) -> tuple[str, float]:
    """Run a program that can reach nothing but this machine; return what it printed and how long it took."""
    keep = {name: os.environ[name] for name in ("PATH", "HOME", "AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE")}
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", BLOCKED + textwrap.dedent(program)],
        env={**keep, "PYTHONDONTWRITEBYTECODE": "1", **variables},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout, time.monotonic() - began


class TestBlockedNetwork:
    READ = """
    backend = AwsBackend.open(AwsSettings({}))
    try:
        print(backend.read(ReadRequest(name=SecretName("a"))).value.reveal_text())
    except Exception as error:
        print(type(error).__name__, error)
    """

    @pytest.fixture
    def stored(self, aws: FakeSecretsManager) -> FakeSecretsManager:
        aws.client().create_secret(Name="a", SecretString="found")
        return aws

    @pytest.mark.parametrize("how", ["setting", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_SECRETS_MANAGER"])
    def test_with_an_endpoint_nothing_else_is_contacted(self, stored: FakeSecretsManager, how: str) -> None:
        variables = {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY}
        variables |= {"AWS_REGION": "eu-central-1"}
        setting = f"endpoint={stored.url!r}" if how == "setting" else ""
        output, _ = blocked(self.READ.format(setting), **variables, **({how: stored.url} if not setting else {}))
        assert output == "found\n"

    @pytest.mark.parametrize("how", ["setting", "variable", "profile"])
    def test_no_credentials_at_all_is_said_at_once_and_no_machine_is_asked(
        self, stored: FakeSecretsManager, how: str, profiles: Path
    ) -> None:
        setting = f"endpoint={stored.url!r}" if how == "setting" else ""
        variables = {"AWS_ENDPOINT_URL": stored.url} if how == "variable" else {}
        if how == "profile":
            profiles.write_text(f"[default]\nregion = eu-central-1\nendpoint_url = {stored.url}\n")
        output, seconds = blocked(self.READ.format(setting), AWS_REGION="eu-central-1", **variables)
        assert output.startswith("AuthenticationError there are no AWS credentials for reading a")
        assert "CONTACTED" not in output
        assert seconds < 3.0

    def test_a_role_is_taken_on_at_the_emulator(self, stored: FakeSecretsManager) -> None:
        variables = {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY}
        setting = f"endpoint={stored.url!r}, region='eu-central-1', role_arn='arn:aws:iam::123456789012:role/x'"
        output, _ = blocked(self.READ.format(setting), **variables)
        assert output == "found\n"
        assert stored.counts["AssumeRole"] == 1
