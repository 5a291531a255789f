"""Alerts leave the process: to a command and to a webhook, within a time limit, and without a secret."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from receivers import Server, answering
from strongroom.anomaly.stage import Alert
from strongroom.config.load import load
from strongroom.contracts import Access
from strongroom.errors import ConfigurationError
from strongroom.events.alerts import alerts_of, body_of
from strongroom.events.targets import CommandTarget, DeliveryError, WebhookTarget, signature
from strongroom.model import Principal, PrincipalSource, SecretName, SecretValue

LIMIT = 10.0
SECRET = SecretValue("shared secret")

ALERT = Alert(
    id="0194-id",
    detector="rate",
    reason="99 reads a minute",
    evidence=("usual are 3", "limit = 10"),
    blocked=True,
    suppressed=2,
    access=Access(
        principal=Principal(name="api", source=PrincipalSource.AS_PRINCIPAL),
        base=Principal(name="root", source=PrincipalSource.CONFIGURATION),
        action="read",
        name=SecretName("db/pässword"),
        time=datetime(2030, 1, 2, 3, 4, 5, 678, tzinfo=UTC),
        host="box",
        process="server",
    ),
)
CONTENT = {
    "id": "0194-id",
    "time": "2030-01-02T03:04:05.000678+00:00",
    "detector": "rate",
    "reason": "99 reads a minute",
    "evidence": ["usual are 3", "limit = 10"],
    "blocked": True,
    "suppressed": 2,
    "access": {
        "principal": "api",
        "principal_source": "as_principal",
        "on_behalf_of": "root",
        "action": "read",
        "name": "db/pässword",
        "allowed": True,
        "host": "box",
        "process": "server",
    },
}


def until(condition: Callable[[], object]) -> bool:
    """Wait for what another process or thread is about to do, and tell whether it did."""
    deadline = time.monotonic() + LIMIT
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.005)
    return True


def is_alive(pid: int) -> bool:
    """Tell whether a process runs; one that is dead and not yet waited for by its parent does not."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
    return status.rpartition(")")[2].split()[0] not in {"Z", "X"}


def test_the_body_says_what_the_alert_says() -> None:
    assert json.loads(body_of(ALERT)) == CONTENT
    lone = ALERT.replace(access=ALERT.access.replace(base=None, host="odd\udce4"))
    assert json.loads(body_of(lone))["access"]["on_behalf_of"] is None


class TestCommand:
    def command(self, program: str, *arguments: str, seconds: float = LIMIT, hidden: tuple[str, ...] = ()) -> Any:
        words = [sys.executable, "-c", program, *arguments]
        return CommandTarget(words, body=body_of, seconds=seconds, hidden=lambda: hidden)

    def test_it_gets_the_alert_on_its_standard_input_and_its_arguments_as_they_are(self, tmp_path: Path) -> None:
        program = "import json, sys; json.dump([sys.stdin.read(), sys.argv[1:]], open(sys.argv[1], 'w'))"
        target = self.command(program, str(tmp_path / "out"), "$HOME; exit 1", "*")
        target.deliver(ALERT)
        given, arguments = json.loads((tmp_path / "out").read_text())
        assert json.loads(given) == CONTENT
        assert arguments == [str(tmp_path / "out"), "$HOME; exit 1", "*"]

    def test_it_inherits_the_environment_without_our_credentials(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("STRONGROOM_MASTER_KEY", "s3cret")
        monkeypatch.setenv("HOOK_SETTING", "as it is")
        program = "import json, os, sys; json.dump(dict(os.environ), open(sys.argv[1], 'w'))"
        target = self.command(program, str(tmp_path / "out"), hidden=("STRONGROOM_MASTER_KEY",))
        target.deliver(ALERT)
        environment = json.loads((tmp_path / "out").read_text())
        assert environment["HOOK_SETTING"] == "as it is"
        assert "STRONGROOM_MASTER_KEY" not in environment
        assert "STRONGROOM_MASTER_KEY" in os.environ

    def test_what_it_prints_goes_nowhere(self, capfd: pytest.CaptureFixture[str]) -> None:
        self.command("import sys; print('out'); print('err', file=sys.stderr)").deliver(ALERT)
        assert capfd.readouterr() == ("", "")

    def test_one_that_does_not_read_its_input_has_taken_the_alert(self) -> None:
        large = ALERT.replace(evidence=("x" * 200_000,))
        self.command("import sys; sys.stdin.close()").deliver(large)

    def test_a_failure_is_told_with_its_status_and_may_be_tried_again(self) -> None:
        with pytest.raises(DeliveryError, match="it ended with status 3") as caught:
            self.command("raise SystemExit(3)").deliver(ALERT)
        assert caught.value.again

    @pytest.mark.parametrize("program", ["/no/such/program", "no-such-program-anywhere", "/etc/passwd", "/"])
    def test_one_that_cannot_be_started_is_not_tried_again(self, program: str) -> None:
        with pytest.raises(DeliveryError, match="it could not be started") as caught:
            CommandTarget([program], body=body_of, seconds=LIMIT, hidden=tuple).deliver(ALERT)
        assert not caught.value.again

    def test_one_that_hangs_is_killed_with_all_that_it_started(self, tmp_path: Path) -> None:
        program = (
            "import os, subprocess, sys, time\n"
            "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
            "open(sys.argv[1] + '.new', 'w').write(f'{os.getpid()} {child.pid}')\n"
            "os.rename(sys.argv[1] + '.new', sys.argv[1])\n"
            "time.sleep(600)\n"
        )
        target = self.command(program, str(tmp_path / "pids"), seconds=2.0)
        start = time.monotonic()
        with pytest.raises(DeliveryError, match="it did not end within 2 s") as caught:
            target.deliver(ALERT)
        assert caught.value.again
        assert time.monotonic() - start < LIMIT
        pids = [int(pid) for pid in (tmp_path / "pids").read_text().split()]
        assert until(lambda: not any(map(is_alive, pids)))

    def test_one_that_cannot_be_started_for_lack_of_processes_may_be_tried_again(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refused(*_: object, **_options: object) -> None:
            raise BlockingIOError(11, "Resource temporarily unavailable")

        monkeypatch.setattr(subprocess, "Popen", refused)
        with pytest.raises(DeliveryError, match="temporarily unavailable") as caught:
            self.command("").deliver(ALERT)
        assert caught.value.again

    def test_one_that_may_not_be_killed_holds_up_nobody(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """It runs as another user, as `sudo` does."""

        def forbidden(_group: int, _signal: int) -> None:
            raise PermissionError(1, "Operation not permitted")

        program = "import os, sys, time; open(sys.argv[1], 'w').write(str(os.getpid())); time.sleep(600)"
        target = self.command(program, str(tmp_path / "pid"), seconds=2.0)

        def deliver() -> None:
            with pytest.raises(DeliveryError):
                target.deliver(ALERT)

        thread = threading.Thread(target=deliver)
        with monkeypatch.context() as patched:
            patched.setattr(os, "killpg", forbidden)
            thread.start()
            assert until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text())
            target.cancel()
            thread.join(LIMIT)
        pid = int((tmp_path / "pid").read_text())
        os.killpg(pid, signal.SIGKILL)
        assert not thread.is_alive()

    def test_one_that_neither_reads_nor_ends_is_killed(self) -> None:
        large = ALERT.replace(evidence=("x" * 1_000_000,))
        with pytest.raises(DeliveryError, match="it did not end"):
            self.command("import time; time.sleep(600)", seconds=0.3).deliver(large)

    def test_cancelling_ends_the_one_that_is_running(self, tmp_path: Path) -> None:
        program = "import sys, time; open(sys.argv[1], 'w').close(); time.sleep(600)"
        target = self.command(program, str(tmp_path / "started"), seconds=60.0)
        errors: list[DeliveryError] = []

        def deliver() -> None:
            try:
                target.deliver(ALERT)
            except DeliveryError as error:
                errors.append(error)

        thread = threading.Thread(target=deliver)
        thread.start()
        assert until((tmp_path / "started").exists)
        target.cancel()
        thread.join(LIMIT)
        assert [str(error) for error in errors] == ["it ended with status -9"]
        target.cancel()

    def test_no_process_is_left_behind(self, tmp_path: Path) -> None:
        """Not even a dead one that waits for its status to be fetched."""
        program = "import os, sys; open(sys.argv[1], 'w').write(str(os.getpid()))"
        self.command(program, str(tmp_path / "pid")).deliver(ALERT)
        with pytest.raises(ChildProcessError):
            os.waitpid(int((tmp_path / "pid").read_text()), os.WNOHANG)


@pytest.fixture
def server() -> Iterator[Server]:
    running = Server()
    yield running
    running.shutdown()
    running.server_close()


def webhook(url: str, seconds: float = LIMIT, **options: Any) -> WebhookTarget[Alert]:
    return WebhookTarget(url, SECRET, body=body_of, seconds=seconds, **options)


class TestWebhook:
    def test_it_posts_the_alert_signed(self, server: Server) -> None:
        webhook(server.url(), wall_clock=lambda: 1_900_000_000.7).deliver(ALERT)
        [(path, headers, body)] = server.seen
        assert path == "/hook?a=1"
        assert json.loads(body) == CONTENT
        assert headers["Content-Type"] == "application/json"
        # The id is in the body, which is signed: in a header, anybody could change it and send the alert again.
        assert "0194-id" not in str(headers)
        assert headers["Strongroom-Timestamp"] == "1900000000"
        expected = hmac.new(b"shared secret", b"1900000000." + body, hashlib.sha256).hexdigest()
        assert headers["Strongroom-Signature"] == f"v1={expected}"
        assert signature(SECRET, "1900000000", body) == f"v1={expected}"
        assert "shared secret" not in str(headers)

    def test_an_address_without_a_path_is_the_root(self, server: Server) -> None:
        webhook(server.url("")).deliver(ALERT)
        assert server.seen[0][0] == "/"

    @pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
    def test_every_good_answer_is_taken_for_its_arrival(self, server: Server, status: int) -> None:
        server.behave = answering(status)
        webhook(server.url()).deliver(ALERT)
        assert len(server.seen) == 1

    @pytest.mark.parametrize(
        ("status", "again"),
        [(400, False), (401, False), (404, False), (408, True), (429, True), (500, True), (503, True), (304, False)],
    )
    def test_every_other_answer_is_a_failure(self, server: Server, status: int, again: bool) -> None:
        server.behave = answering(status)
        with pytest.raises(DeliveryError, match=f"the answer was {status}") as caught:
            webhook(server.url()).deliver(ALERT)
        assert caught.value.again is again

    @pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
    def test_no_redirect_is_followed(self, server: Server, status: int) -> None:
        server.behave = answering(status, Location=server.url("/elsewhere"))
        with pytest.raises(DeliveryError, match=f"the answer was {status}") as caught:
            webhook(server.url()).deliver(ALERT)
        assert not caught.value.again
        assert len(server.seen) == 1

    def test_no_proxy_is_used(self, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
        for variable in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(variable, "http://127.0.0.1:1")
        webhook(server.url()).deliver(ALERT)
        assert len(server.seen) == 1

    def test_nobody_there_is_a_failure_that_may_pass(self) -> None:
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            port = unused.getsockname()[1]
        with pytest.raises(DeliveryError, match="the exchange failed") as caught:
            webhook(f"http://127.0.0.1:{port}/token-s3cret").deliver(ALERT)
        assert caught.value.again
        assert "s3cret" not in str(caught.value)

    def test_an_answer_that_never_comes_ends_with_the_time_limit(self, server: Server) -> None:
        gate = threading.Event()
        server.behave = lambda _: gate.wait(LIMIT)  # type: ignore[assignment]  # its result means nothing
        start = time.monotonic()
        with pytest.raises(DeliveryError, match=r"no answer within 0\.3 s") as caught:
            webhook(server.url(), seconds=0.3).deliver(ALERT)
        assert time.monotonic() - start < LIMIT / 2
        assert caught.value.again
        gate.set()

    def test_an_answer_that_drips_does_not_prolong_the_time_limit(self, server: Server) -> None:
        """Each byte comes in time, and the whole does not."""
        done = threading.Event()

        def drip(handler: BaseHTTPRequestHandler) -> None:
            try:
                for _ in range(200):
                    handler.wfile.write(b"H")
                    time.sleep(0.05)
            except OSError:
                done.set()

        server.behave = drip
        start = time.monotonic()
        with pytest.raises(DeliveryError, match="no answer within"):
            webhook(server.url(), seconds=0.4).deliver(ALERT)
        assert time.monotonic() - start < LIMIT / 2
        assert done.wait(LIMIT), "the connection was not closed"

    def test_an_answer_that_is_none_is_a_failure(self, server: Server) -> None:
        server.behave = lambda handler: handler.wfile.write(b"nonsense\r\n\r\n")  # type: ignore[assignment]  # as above
        with pytest.raises(DeliveryError, match="the exchange failed: BadStatusLine"):
            webhook(server.url()).deliver(ALERT)

    def test_without_another_thread_it_is_posted_all_the_same(
        self, server: Server, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """There are too many, or the interpreter is ending and starts none."""
        start = threading.Thread.start

        def refused(thread: threading.Thread) -> None:
            if thread.name == "strongroom-webhook":
                raise RuntimeError("can't create new thread at interpreter shutdown")
            start(thread)

        monkeypatch.setattr(threading.Thread, "start", refused)
        webhook(server.url()).deliver(ALERT)
        assert len(server.seen) == 1

    def test_cancelling_ends_the_exchange(self, server: Server) -> None:
        gate, entered = threading.Event(), threading.Event()

        def wait(_: BaseHTTPRequestHandler) -> None:
            entered.set()
            gate.wait(LIMIT)

        server.behave = wait
        target = webhook(server.url(), seconds=60.0)
        errors: list[str] = []

        def deliver() -> None:
            try:
                target.deliver(ALERT)
            except DeliveryError as error:
                errors.append(str(error))

        thread = threading.Thread(target=deliver)
        thread.start()
        entered.wait(LIMIT)
        start = time.monotonic()
        target.cancel()
        thread.join(LIMIT)
        assert time.monotonic() - start < LIMIT / 2
        assert len(errors) == 1
        gate.set()
        target.cancel()


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Return a key and a certificate for `localhost` alone that nobody but the test trusts."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("needs the program openssl")
    folder = tmp_path_factory.mktemp("certificate")
    key, found = folder / "key.pem", folder / "certificate.pem"
    command = f"{openssl} req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost"
    extensions = ["-addext", "subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(found)]
    subprocess.run([*command.split(), *extensions], check=True, capture_output=True)
    return key, found


@pytest.fixture
def secure(certificate: tuple[Path, Path]) -> Iterator[Server]:
    key, found = certificate
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(found, key)
    running = Server(context)
    yield running
    running.shutdown()
    running.server_close()


class TestTls:
    def test_a_certificate_that_is_trusted_and_fits_is_taken(
        self, secure: Server, certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate[1]))
        webhook(secure.url(scheme="https", host="localhost")).deliver(ALERT)
        assert json.loads(secure.seen[0][2]) == CONTENT

    def test_one_that_nobody_trusts_is_refused_before_anything_is_sent(self, secure: Server) -> None:
        with pytest.raises(DeliveryError, match="certificate is not valid") as caught:
            webhook(secure.url(scheme="https", host="localhost")).deliver(ALERT)
        assert not caught.value.again
        assert secure.seen == []

    def test_one_for_another_host_is_refused_before_anything_is_sent(
        self, secure: Server, certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate[1]))
        with pytest.raises(DeliveryError, match="certificate is not valid"):
            webhook(secure.url(scheme="https", host="127.0.0.1")).deliver(ALERT)
        assert secure.seen == []

    def test_a_server_that_speaks_no_tls_is_a_failure(self, server: Server) -> None:
        with pytest.raises(DeliveryError, match="the exchange failed"):
            webhook(server.url(scheme="https", host="localhost")).deliver(ALERT)
        assert server.seen == []

    def test_a_handshake_that_never_ends_ends_with_the_time_limit(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as silent:
            start = time.monotonic()
            with pytest.raises(DeliveryError, match="no answer within"):
                webhook(f"https://localhost:{silent.getsockname()[1]}/", seconds=0.3).deliver(ALERT)
            assert time.monotonic() - start < LIMIT / 2


class TestConfigured:
    """What ``[[alerts]]`` says is what happens."""

    def configuration(self, *tables: dict[str, Any], **more: Any) -> Any:
        return load({"audit": "none", "backends": {"m": {"type": "memory"}}, "alerts": list(tables), **more})

    def test_a_command_and_a_webhook_get_what_they_want(
        self, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "hook.key").write_text("shared secret\n")
        monkeypatch.setenv("STRONGROOM_MASTER_KEY", "s3cret")
        monkeypatch.setenv("REFERENCED", "s3cret")
        program = "import os, sys; open(sys.argv[1], 'w').write(sys.stdin.read() + repr(sorted(os.environ)))"
        configuration = self.configuration(
            {"type": "command", "command": [sys.executable, "-c", program, str(tmp_path / "out")]},
            {"type": "webhook", "url": server.url(), "secret": {"file": str(tmp_path / "hook.key")}},
            {
                "type": "webhook",
                "url": server.url("/other"),
                "secret": {"env": "REFERENCED"},
                "detectors": ["hours"],
                "only_blocked": True,
            },
            anomaly=[{"type": "hours"}],
        )
        alerts = alerts_of(configuration)
        alerts.publish(ALERT)
        alerts.close(LIMIT)
        assert alerts.counts().delivered == 2
        given = (tmp_path / "out").read_text()
        assert "0194-id" in given
        assert "STRONGROOM_MASTER_KEY" not in given
        assert "REFERENCED" not in given
        [(path, headers, body)] = server.seen
        assert path == "/hook?a=1"
        assert headers["Strongroom-Signature"] == signature(SECRET, headers["Strongroom-Timestamp"], body)

    def test_a_secret_that_is_not_there_is_an_error_when_it_is_opened(self) -> None:
        configuration = self.configuration({"type": "webhook", "url": "https://x/", "secret": {"env": "NO_SUCH_ONE"}})
        with pytest.raises(ConfigurationError, match="NO_SUCH_ONE, which is not set"):
            alerts_of(configuration)

    def test_an_empty_secret_is_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("EMPTY_ONE", "")
        configuration = self.configuration({"type": "webhook", "url": "https://x/", "secret": {"env": "EMPTY_ONE"}})
        with pytest.raises(ConfigurationError, match="the variable EMPTY_ONE is empty"):
            alerts_of(configuration)

    def test_a_broken_backend_that_is_not_used_does_not_stop_a_command(self, tmp_path: Path) -> None:
        program = "import sys; open(sys.argv[1], 'w').close()"
        configuration = self.configuration(
            {"type": "command", "command": [sys.executable, "-c", program, str(tmp_path / "out")]},
            backend="m",
            backends={"m": {"type": "memory"}, "other": {"type": "not-installed"}},
        )
        alerts = alerts_of(configuration)
        alerts.publish(ALERT)
        alerts.close(LIMIT)
        assert (tmp_path / "out").exists()
