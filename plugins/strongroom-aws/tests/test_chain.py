"""The chain of the AWS tools as this plugin has it: it asks nobody, ends in time, and tells outages from refusals."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import time

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from awsbackends import Waits, opened, read
from awskeys import Literal
from fakeaws import FakeSecretsManager
from fakeloopback import Reply
from fakemetadata import FakeMetadata
from strongroom.errors import AuthenticationError, BackendUnavailableError, ConfigurationError
from strongroom.testing import assert_hidden, marker_value, report_of
from strongroom_aws.plugin import strongroom_backends

ACCOUNT, OTHER_ACCOUNT = "123456789012", "210987654321"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/reader"


@pytest.fixture
def stored(aws: FakeSecretsManager, monkeypatch: pytest.MonkeyPatch) -> FakeSecretsManager:
    aws.client().create_secret(Name="app/key", SecretString="found")
    aws.requests.clear()
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    return aws


@pytest.fixture
def profiles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Write the file with profiles."""
    path = tmp_path / "aws-config"
    monkeypatch.setenv("AWS_CONFIG_FILE", str(path))
    return lambda content: path.write_text(content) and None


@pytest.fixture
def container(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeMetadata]:
    with FakeMetadata() as started:
        for name, value in started.container.items():
            monkeypatch.setenv(name, value)
        yield started


def program(tmp_path: Path, text: str) -> str:
    """Write a program; return the line of a profile that names it."""
    path = tmp_path / "keys.sh"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o700)
    return f"[default]\ncredential_process = {path}\n"


def keys(access_key: str, lasts: float) -> str:
    """Return what a program prints."""
    until = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + lasts))
    return (
        f'{{"Version": 1, "AccessKeyId": "{access_key}", "SecretAccessKey": "s", "SessionToken": "t",'
        f' "Expiration": "{until}"}}'
    )


class TestNobodyIsAsked:
    MFA = (
        f"[default]\nrole_arn = {ROLE}\nsource_profile = base\nmfa_serial = arn:aws:iam::{ACCOUNT}:mfa/me\n"
        "[profile base]\naws_access_key_id = AKIABASE\naws_secret_access_key = b\n"
    )

    @pytest.mark.parametrize("role", [None, f"arn:aws:iam::{ACCOUNT}:role/second"])
    def test_a_role_that_needs_a_code_is_a_configuration_error_and_nothing_is_printed(
        self,
        stored: FakeSecretsManager,
        profiles: Any,
        monkeypatch: pytest.MonkeyPatch,
        capfd: pytest.CaptureFixture[str],
        role: str | None,
    ) -> None:
        profiles(self.MFA)
        with opened(stored.url, role_arn=role) as backend, pytest.raises(ConfigurationError, match="mfa_serial"):
            read(backend)
        assert stored.requests == []
        assert capfd.readouterr() == ("", "")

    def test_keys_of_the_variables_make_the_code_needless(
        self, stored: FakeSecretsManager, profiles: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        profiles(self.MFA)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAENV")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s")
        with opened(stored.url) as backend:
            assert read(backend) == "found"

    def test_a_program_does_not_get_our_input(self, stored: FakeSecretsManager, profiles: Any, tmp_path: Path) -> None:
        profiles(program(tmp_path, f"cat > {tmp_path}/swallowed\necho '{keys('AKIAPROGRAM', 3600)}'"))
        mine, terminal = pty.openpty()
        before = os.dup(0)
        try:
            os.dup2(terminal, 0)
            os.write(mine, b"a secret\n")
            with opened(stored.url, timeout=2.0, connect_timeout=0.5, read_timeout=0.5) as backend:
                assert read(backend) == "found"
        finally:
            os.dup2(before, 0)
            for one in (mine, terminal, before):
                os.close(one)
        assert (tmp_path / "swallowed").read_bytes() == b""


class TestPrograms:
    @pytest.mark.parametrize(
        "text",
        ["exit 3", "echo no json", "echo []", "echo '{}'", "echo '{\"Version\": 2}'", "printf '\\377' >&2; exit 1"],
    )
    def test_one_that_gives_none_is_told_with_its_profile_and_shows_nothing(
        self, stored: FakeSecretsManager, profiles: Any, tmp_path: Path, text: str, caplog: Any
    ) -> None:
        caplog.set_level("DEBUG")
        secret = marker_value()
        profiles(program(tmp_path, f"echo {secret} >&2; {text}"))
        with opened(stored.url) as backend, pytest.raises(AuthenticationError, match="profile default") as caught:
            read(backend)
        shown = report_of(caught.value, "strongroom_aws") + report_of(caught.value, "botocore") + caplog.text
        assert_hidden(secret, shown, "it")
        assert stored.requests == []

    @pytest.mark.parametrize("mode", [None, 0o600, 0o700])
    def test_one_that_cannot_be_started_is_a_configuration_error(
        self, stored: FakeSecretsManager, profiles: Any, tmp_path: Path, mode: int | None
    ) -> None:
        if mode is not None:
            (tmp_path / "keys").write_bytes(b"\x7fELF no such thing")
            (tmp_path / "keys").chmod(mode)
        profiles(f"[default]\ncredential_process = {tmp_path}/keys\n")
        with opened(stored.url) as backend, pytest.raises(ConfigurationError, match="cannot be started"):
            read(backend)

    @pytest.mark.parametrize("source", ["itself", "a role's source"])
    def test_one_that_does_not_end_is_ended(
        self, stored: FakeSecretsManager, profiles: Any, tmp_path: Path, source: str
    ) -> None:
        line = program(tmp_path, f"echo $$ > {tmp_path}/pid; exec sleep 60")
        if source != "itself":
            line = f"[default]\nrole_arn = {ROLE}\nsource_profile = base\n" + line.replace("default", "profile base")
        profiles(line)
        began = time.monotonic()
        limits = {"timeout": 1.0, "connect_timeout": 0.5, "read_timeout": 0.5}
        with opened(stored.url, **limits) as backend, pytest.raises(AuthenticationError, match="within 1 s"):
            read(backend)
        assert time.monotonic() - began < 5
        with pytest.raises(ProcessLookupError):
            os.kill(int((tmp_path / "pid").read_text()), 0)


class TestWebIdentity:
    @pytest.fixture
    def token(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        monkeypatch.setenv("AWS_ROLE_ARN", ROLE)
        monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(tmp_path / "token"))
        return tmp_path / "token"

    def test_a_line_feed_at_the_end_of_its_file_is_not_sent(self, stored: FakeSecretsManager, token: Path) -> None:
        token.write_text("the-token\n")
        with opened(stored.url) as backend:
            assert read(backend) == "found"
        (asked,) = stored.sent("AssumeRoleWithWebIdentity")
        assert asked.parameters["WebIdentityToken"] == "the-token"

    @pytest.mark.parametrize("content", [None, b"", b"\n", b"\xff"])
    def test_one_that_is_not_there_is_told_with_its_file(
        self, stored: FakeSecretsManager, token: Path, content: bytes | None
    ) -> None:
        if content is not None:
            token.write_bytes(content)
        with opened(stored.url) as backend, pytest.raises(AuthenticationError, match=str(token)):
            read(backend)
        assert stored.requests == []


class TestContainers:
    @pytest.mark.parametrize("status", [500, 503, 429])
    def test_what_has_no_answer_now_is_asked_as_often_as_we_say_and_is_an_outage(
        self, stored: FakeSecretsManager, container: FakeMetadata, status: int
    ) -> None:
        container.fail("container", status, times=9)
        with opened(stored.url, Waits(), attempts=3) as backend, pytest.raises(BackendUnavailableError):
            read(backend)
        assert dict(container.requests) == {"container": 3}

    def test_nobody_there_is_an_outage_too(self, stored: FakeSecretsManager, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://127.0.0.1:1/keys")
        with (
            opened(stored.url, Waits(), attempts=2) as backend,
            pytest.raises(BackendUnavailableError, match=r"127\.0\.0\.1") as caught,
        ):
            read(backend)
        assert caught.value.code == "connection_refused"

    @pytest.mark.parametrize("status", [401, 403, 404])
    def test_a_refusal_is_none(self, stored: FakeSecretsManager, container: FakeMetadata, status: int) -> None:
        container.fail("container", status, times=9)
        with opened(stored.url, Waits()) as backend, pytest.raises(AuthenticationError):
            read(backend)
        assert dict(container.requests) == {"container": 1}

    def test_an_answer_without_keys_is_none_either(
        self, stored: FakeSecretsManager, container: FakeMetadata, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(container, "respond", lambda _: Reply(200, b'{"Code": "x"}', {}))
        with opened(stored.url) as backend, pytest.raises(AuthenticationError):
            read(backend)

    @pytest.mark.parametrize("url", ["http://example.com/keys", "http://[::1", "keys"])
    def test_one_elsewhere_is_a_configuration_error(
        self, stored: FakeSecretsManager, monkeypatch: pytest.MonkeyPatch, url: str
    ) -> None:
        monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", url)
        with opened(stored.url) as backend, pytest.raises(ConfigurationError, match="gives out credentials"):
            read(backend)


class TestSourcesOfRoles:
    @pytest.mark.parametrize("source", ["source_profile", "credential_process", "EcsContainer", "Environment"])
    def test_a_profile_takes_on_its_role_with_them_and_the_settings_theirs_with_that(
        self,
        stored: FakeSecretsManager,
        profiles: Any,
        container: FakeMetadata,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        source: str,
    ) -> None:
        first = f"arn:aws:iam::{ACCOUNT}:role/first"
        line = f"credential_source = {source}" if source[0].isupper() else "source_profile = base"
        if source == "credential_process":
            base = program(tmp_path, f"echo '{keys('AKIABASE', 3600)}'").replace("default", "profile base")
        else:
            base = "[profile base]\naws_access_key_id = AKIABASE\naws_secret_access_key = b\n"
        profiles(f"[profile ops]\nrole_arn = {first}\n{line}\n{base}")
        if source == "Environment":
            monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIABASE")
            monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s")
        with opened(stored.url, profile="ops", role_arn=ROLE) as backend:
            assert [read(backend) for _ in range(3)] == ["found"] * 3
        one, two = stored.sent("AssumeRole")
        base_key = "ASIAMETA000000000001" if source == "EcsContainer" else "AKIABASE"
        assert (one.access_key, one.parameters["RoleArn"]) == (base_key, first)
        assert (two.access_key, two.parameters["RoleArn"]) == ("ASIAFAKE000000000001", ROLE)

    def test_an_outage_of_sts_is_one_however_often_it_is_met(self, stored: FakeSecretsManager, profiles: Any) -> None:
        profiles(
            f"[default]\nrole_arn = {ROLE}\nsource_profile = base\n"
            "[profile base]\naws_access_key_id = AKIABASE\naws_secret_access_key = b\n"
        )
        with opened(stored.url, Waits(), role_arn=f"{ROLE}-2", attempts=3) as backend:
            stored.fail("AssumeRole", "ServiceUnavailable", 503, times=None)
            with pytest.raises(BackendUnavailableError):
                read(backend)
            stored.heal()
            assert read(backend) == "found"


class TestRenewedInPlace:
    """Keys that a program gives anew before they run out, with nobody having said that they have."""

    def test_those_of_another_account_are_not_used(
        self, stored: FakeSecretsManager, profiles: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        profiles(program(tmp_path, f"cat {tmp_path}/keys.json"))
        # So near their end that each read has them renewed.
        (tmp_path / "keys.json").write_text(keys("AKIARIGHT", 60))
        honest = stored.sts.caller
        monkeypatch.setattr(
            stored.sts,
            "caller",
            lambda key: honest(key).replace(ACCOUNT, OTHER_ACCOUNT) if key == "AKIAWRONG" else honest(key),
        )
        with opened(stored.url, account=ACCOUNT) as backend:
            assert read(backend) == "found"
            (tmp_path / "keys.json").write_text(keys("AKIAOTHER", 60))
            assert read(backend) == "found"
            assert stored.sent("GetSecretValue")[-1].access_key == "AKIAOTHER"
            assert stored.counts["GetCallerIdentity"] == 2
            (tmp_path / "keys.json").write_text(keys("AKIAWRONG", 60))
            assert [read(backend) for _ in range(3)] == ["found"] * 3
            assert stored.sent("GetSecretValue")[-1].access_key == "AKIAOTHER"
            stored.expired.add("AKIAOTHER")
            with pytest.raises(ConfigurationError, match=OTHER_ACCOUNT):
                read(backend)
        assert "AKIAWRONG" not in {request.access_key for request in stored.sent("GetSecretValue")}


class TestSignals:
    def test_a_handler_may_read_while_the_first_keys_of_a_profiles_role_are_got(
        self, stored: FakeSecretsManager, profiles: Any
    ) -> None:
        profiles(
            f"[default]\nrole_arn = {ROLE}\nsource_profile = base\n"
            "[profile base]\naws_access_key_id = AKIABASE\naws_secret_access_key = b\n"
        )
        stored.delay("AssumeRole", 2.0, times=1)
        # In a process of its own: what it is about would else stop this one for ever.
        done = subprocess.run(
            [sys.executable, "-c", HANDLER, stored.url], capture_output=True, text=True, timeout=60, check=False
        )
        assert done.stdout == "found in the handler\nfound\n", done.stderr

    def test_a_handler_may_read_while_a_connection_is_taken_or_put_back(self, stored: FakeSecretsManager) -> None:
        done = subprocess.run(
            [sys.executable, "-c", AMIDST, stored.url],
            env=dict(os.environ, AWS_ACCESS_KEY_ID="AKIA", AWS_SECRET_ACCESS_KEY="s"),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.stdout.endswith("found\n"), done.stderr
        assert "found amidst" in done.stdout


AMIDST = """
import signal, sys
sys.path[:0] = {path!r}
from awsbackends import opened, read
def handler(*_):
    sys.settrace(None)
    print(read(backend), "amidst", flush=True)
signal.signal(signal.SIGALRM, handler)
def trace(frame, event, argument):
    code = frame.f_code
    if code.co_filename.endswith(("queue.py", "pooling.py")) and code.co_name in ("get", "put"):
        return line
    return trace
def line(frame, event, argument):
    global seen
    seen += 1
    if seen == which:
        signal.raise_signal(signal.SIGALRM)
    return line
with opened(sys.argv[1]) as backend:
    read(backend)
    for which in range(1, 12):
        seen = 0
        sys.settrace(trace)
        read(backend)
        sys.settrace(None)
    print(read(backend))
""".replace("{path!r}", repr([path for path in sys.path if path]))

HANDLER = """
import signal, sys
sys.path[:0] = {path!r}
from awsbackends import opened, read
seen = []
signal.signal(signal.SIGALRM, lambda *_: print(read(backend), "in the handler", flush=True))
with opened(sys.argv[1]) as backend:
    signal.setitimer(signal.ITIMER_REAL, 1.0)
    print(read(backend))
""".replace("{path!r}", repr([path for path in sys.path if path]))


def test_two_backends_of_a_process_share_no_credentials(stored: FakeSecretsManager, tmp_path: Path) -> None:
    roles = [f"arn:aws:iam::{account}:role/reader" for account in (ACCOUNT, OTHER_ACCOUNT)]
    given = {"access_key_id": Literal("AKIAMINE"), "secret_access_key": Literal("s")}
    with (
        opened(stored.url, role_arn=roles[0], **given) as one,
        opened(
            stored.url, role_arn=roles[1], access_key_id=Literal("AKIATHEIRS"), secret_access_key=Literal("s")
        ) as two,
    ):
        for _ in range(2):
            read(one)
            read(two)
    asked = {request.access_key: request.parameters["RoleArn"] for request in stored.sent("AssumeRole")}
    assert asked == {"AKIAMINE": roles[0], "AKIATHEIRS": roles[1]}
    used = [stored.sts.issued[request.access_key].role for request in stored.sent("GetSecretValue")]
    assert used == [roles[0], roles[1]] * 2


def test_all_that_gives_keys_by_itself_is_withheld_from_programs_that_are_run() -> None:
    (spec,) = strongroom_backends()
    assert set(spec.credential_variables) == {
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "AWS_SECURITY_TOKEN",
        "AWS_CONTAINER_AUTHORIZATION_TOKEN",
        "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    }
