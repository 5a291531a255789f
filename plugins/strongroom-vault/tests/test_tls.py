"""Who is trusted: what the configuration says decides, with and without retries, for each kind of request."""

from __future__ import annotations

import logging
import os
import shutil
import socket
import ssl
import threading
import time

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import urllib3

from certificates import Authority
from fakes import Answer, FakeVault, Sent
from strongroom.errors import BackendError, BackendUnavailableError, ConfigurationError
from strongroom.testing import in_forked_child
from strongroom_vault.adapter import VaultAdapter
from strongroom_vault.outages import Fault, unanswered
from strongroom_vault.replies import Reply
from strongroom_vault.settings import TLSSettings, VaultSettings
from strongroom_vault.target import resolve
from strongroom_vault.transport import Transport


class OneToken:
    def current(self, limit: float) -> str:
        return "t"

    def cures(self, token: str, reply: Reply, limit: float, **how: Any) -> bool:
        return False


def login(adapter: VaultAdapter) -> Any:
    return adapter.client().auth.approle.login("role", "secret")


def read(adapter: VaultAdapter) -> Any:
    return adapter.client().secrets.kv.v2.read_secret_version("x", raise_on_deleted_version=True)


def health(adapter: VaultAdapter) -> Any:
    return adapter.client().sys.read_health_status(method="GET")


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ours"))


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("theirs"))


def server_side(authority: Authority, clients: Authority | None = None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made = authority.issue("server")
    context.load_cert_chain(made.certificate, made.key)
    if clients is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(clients.file)
    return context


@pytest.fixture
def secure(ours: Authority) -> Iterator[FakeVault]:
    with FakeVault(tls=server_side(ours)) as started:
        started.answer(None, "/", 200, {"data": {"a": 1}, "auth": {"client_token": "t"}})
        yield started


@pytest.fixture
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def transport(secure: FakeVault, no_variables: None) -> Callable[..., Transport]:
    def make(address: str | None = None, variables: dict[str, str] | None = None, **tls: Any) -> Transport:
        settings = VaultSettings(address=address or secure.address, attempts=1, tls=TLSSettings(**tls))
        return Transport(resolve(settings, variables or {}))

    return make


def get(sender: Transport) -> Reply:
    return sender.send("GET", "/v1/secret/data/x", headers={}, repeatable=True)


@pytest.mark.parametrize("ask", [login, read, health])
@pytest.mark.parametrize("bundle", [None, "ours", "theirs"])
@pytest.mark.parametrize("attempts", [1, 3])
@pytest.mark.parametrize("setting", ["ca_file", "verify on", "verify off"])
def test_the_explicit_setting_decides(
    secure: FakeVault,
    no_variables: None,
    ours: Authority,
    theirs: Authority,
    monkeypatch: pytest.MonkeyPatch,
    ask: Any,
    bundle: str | None,
    attempts: int,
    setting: str,
) -> None:
    if bundle is not None:
        for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
            monkeypatch.setenv(name, str({"ours": ours, "theirs": theirs}[bundle].file))
    if bundle == "theirs":
        monkeypatch.setenv("SSL_CERT_FILE", str(theirs.file))
    tls = {"ca_file": {"ca_file": str(ours.file)}, "verify on": {"verify": True}, "verify off": {"verify": False}}
    settings = VaultSettings(address=secure.address, attempts=attempts, tls=TLSSettings(**tls[setting]))
    waited: list[float] = []
    sender = Transport(resolve(settings, {"VAULT_SKIP_VERIFY": "true"}), sleep=waited.append)
    adapter = VaultAdapter(sender, None if ask is login else OneToken())
    if setting != "verify on":
        assert ask(adapter)
        assert len(secure.requests) == 1
        return
    with pytest.raises(BackendError) as raised:
        ask(adapter)
    assert raised.value.code == "tls_failed"
    assert not isinstance(raised.value, BackendUnavailableError)
    assert (secure.requests, waited, sender.requests) == ([], [], 1)


def test_a_server_that_is_not_verified_is_warned_of_once(
    secure: FakeVault, transport: Any, caplog: pytest.LogCaptureFixture, recwarn: pytest.WarningsRecorder
) -> None:
    sender = transport(verify=False)
    for _ in range(3):
        get(sender)
    assert [record.name for record in caplog.records if record.levelno >= logging.WARNING] == ["strongroom.vault"]
    assert "not verified" in caplog.text
    assert not recwarn.list


def test_a_variable_may_switch_verification_off_where_nothing_is_configured(transport: Any) -> None:
    assert get(transport(variables={"VAULT_SKIP_VERIFY": "1"})).status == 200
    with pytest.raises(BackendError):
        get(transport(variables={"BAO_SKIP_VERIFY": "false", "VAULT_SKIP_VERIFY": "1"}))


@pytest.mark.parametrize("kind", ["CACERT", "CAPATH", "CACERT_BYTES"])
def test_authorities_come_from_variables(transport: Any, ours: Authority, tmp_path: Path, kind: str) -> None:
    shutil.copy(ours.file, tmp_path / "any name")
    text = {"CACERT": str(ours.file), "CAPATH": str(tmp_path), "CACERT_BYTES": ours.file.read_text()}[kind]
    assert get(transport(variables={f"VAULT_{kind}": text})).status == 200


def test_a_folder_may_hold_several_authorities(
    transport: Any, ours: Authority, theirs: Authority, tmp_path: Path
) -> None:
    shutil.copy(theirs.file, tmp_path / "1.pem")
    shutil.copy(ours.file, tmp_path / "2.pem")
    assert get(transport(ca_folder=str(tmp_path))).status == 200


def test_the_server_must_be_who_it_is_asked_to_be(transport: Any, ours: Authority) -> None:
    assert get(transport(ca_file=str(ours.file), server_name="localhost")).status == 200
    with pytest.raises(BackendError, match=r"set tls\.server_name") as raised:
        get(transport(ca_file=str(ours.file), server_name="vault.example.com"))
    assert raised.value.code == "tls_failed"


def test_the_name_is_told_to_the_server(ours: Authority, no_variables: None) -> None:
    names: list[str | None] = []
    context = server_side(ours)
    context.sni_callback = lambda _, name, __: names.append(name)
    with FakeVault(tls=context) as secure:
        secure.answer("GET", "/", 200, {})
        tls = TLSSettings(ca_file=str(ours.file), server_name="localhost")
        get(Transport(resolve(VaultSettings(address=secure.address, tls=tls), {})))
    assert names == ["localhost"]


def test_a_client_shows_its_certificate(ours: Authority, theirs: Authority, no_variables: None) -> None:
    mine, wrong = theirs.issue("client"), ours.issue("client")
    with FakeVault(tls=server_side(ours, clients=theirs)) as secure:
        secure.answer("GET", "/", 200, {"data": {"a": 1}})

        def ask(**tls: Any) -> Reply:
            settings = VaultSettings(address=secure.address, attempts=1, tls=TLSSettings(ca_file=str(ours.file), **tls))
            return get(Transport(resolve(settings, {})))

        assert ask(client_cert=str(mine.certificate), client_key=str(mine.key)).data == {"a": 1}
        for tls in ({}, {"client_cert": str(wrong.certificate), "client_key": str(wrong.key)}):
            with pytest.raises(BackendError) as raised:
                ask(**tls)
            assert raised.value.code == "tls_failed"
        assert len(secure.requests) == 1


@pytest.mark.parametrize(
    ("tls", "problem"),
    [
        ({"ca_file": "none.pem"}, "cannot be read"),
        ({"ca_file": "garbage.pem"}, "holds no certificate"),
        ({"ca_folder": "none"}, "cannot be read"),
        ({"ca_folder": "empty"}, "is empty"),
        ({"client_cert": "none.pem"}, "cannot be read"),
        ({"client_cert": "garbage.pem"}, "do not go together"),
        ({"client_cert": "client.pem", "client_key": "other.key"}, "do not go together"),
        ({"client_cert": "client.pem", "client_key": "locked.key"}, "is encrypted"),
    ],
)
def test_files_that_are_not_usable_are_found_at_the_start(
    transport: Any, ours: Authority, tmp_path: Path, tls: dict[str, str], problem: str
) -> None:
    from cryptography.hazmat.primitives import serialization as form

    (tmp_path / "garbage.pem").write_text("-----BEGIN CERTIFICATE-----\ngarbage\n-----END CERTIFICATE-----\n")
    (tmp_path / "empty").mkdir()
    client = ours.issue("client")
    shutil.copy(client.certificate, tmp_path / "client.pem")
    shutil.copy(ours.issue("other").key, tmp_path / "other.key")
    key = form.load_pem_private_key(client.key.read_bytes(), None)
    locked = key.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, form.BestAvailableEncryption(b"x"))
    (tmp_path / "locked.key").write_bytes(locked)
    with pytest.raises(ConfigurationError, match=problem):
        transport(**{name: os.path.join(tmp_path, value) for name, value in tls.items()})


def test_text_of_a_variable_that_is_no_certificate_is_refused(transport: Any) -> None:
    with pytest.raises(ConfigurationError, match="CACERT_BYTES"):
        transport(variables={"VAULT_CACERT_BYTES": "garbage"})


def test_tls_to_a_port_without_it_says_what_to_do(vault: FakeVault, transport: Any) -> None:
    with pytest.raises(BackendError, match="write http://") as raised:
        get(transport(address=vault.address.replace("http:", "https:"), verify=False))
    assert raised.value.code == "tls_failed"


def test_no_tls_to_a_port_with_it_says_what_to_do(vault: FakeVault, transport: Any) -> None:
    vault.answer("GET", "/", 400, b"Client sent an HTTP request to an HTTPS server.\n")
    with pytest.raises(BackendError, match="write https://") as raised:
        get(transport(address=vault.address))
    assert raised.value.code == "tls_failed"


def test_a_server_that_goes_away_is_an_outage_and_no_failure_of_tls(
    secure: FakeVault, transport: Any, ours: Authority
) -> None:
    sender = transport(ca_file=str(ours.file))
    get(sender)
    for how in ({"reset": True}, {"status": 200, "body": b"x" * 100, "cut": 10}):
        secure.answer("GET", "/", **how, times=1)
        with pytest.raises(BackendUnavailableError):
            get(sender)
    secure.down()
    with pytest.raises(BackendUnavailableError) as raised:
        get(sender)
    assert raised.value.code == "connection_refused"


def test_a_connection_that_ends_without_a_word_is_an_outage(secure: FakeVault, transport: Any, ours: Authority) -> None:
    def end(sent: Sent) -> Answer:
        secure.cut()
        return Answer(200)

    secure.handle("GET", "/", end)
    with pytest.raises(BackendUnavailableError, match="broke the connection off"):
        get(transport(ca_file=str(ours.file)))


def test_a_connection_that_turns_out_dead_in_sending_is_an_outage() -> None:
    lost = urllib3.exceptions.SSLError(ssl.SSLEOFError(8, "EOF occurred in violation of protocol"))
    lost.__cause__ = lost.args[0]
    found = unanswered(lost, "vault.example.com")
    assert isinstance(found, Fault)
    assert (found.code, found.acted) == ("unavailable", True)


def test_a_server_that_hangs_up_in_the_handshake_is_an_outage(transport: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def hang_up() -> None:
            connected, _ = listener.accept()
            connected.recv(1)
            connected.shutdown(socket.SHUT_WR)
            connected.recv(65536)
            connected.close()

        thread = threading.Thread(target=hang_up)
        thread.start()
        with pytest.raises(BackendUnavailableError, match="cannot be reached"):
            get(transport(address=f"https://127.0.0.1:{listener.getsockname()[1]}"))
        thread.join()


def test_the_deadline_holds_over_tls(secure: FakeVault, transport: Any, ours: Authority) -> None:
    secure.answer("GET", "/", 200, {"data": "x" * 200}, drip=0.05)
    start = time.monotonic()
    with pytest.raises(BackendUnavailableError) as raised:
        transport(ca_file=str(ours.file)).send("GET", "/v1/x", headers={}, repeatable=True, timeout=0.6)
    assert raised.value.code == "timeout"
    assert time.monotonic() - start < 1.5


def test_a_redirect_never_leaves_tls(secure: FakeVault, vault: FakeVault, transport: Any, ours: Authority) -> None:
    secure.answer("GET", "/", 307, headers={"Location": f"{vault.address}/v1/secret/data/x"})
    with pytest.raises(BackendError, match="would show the token"):
        get(transport(ca_file=str(ours.file)))
    assert vault.requests == []


def test_a_redirect_into_tls_is_verified(secure: FakeVault, vault: FakeVault, transport: Any, ours: Authority) -> None:
    vault.answer("GET", "/", 307, headers={"Location": f"{secure.address}/v1/secret/data/x"})
    assert get(transport(address=vault.address, ca_file=str(ours.file))).data == {"a": 1}
    with pytest.raises(BackendError) as raised:
        get(transport(address=vault.address))
    assert raised.value.code == "tls_failed"


def test_a_forked_child_leaves_the_parents_sessions_alone(secure: FakeVault, transport: Any, ours: Authority) -> None:
    sender = transport(ca_file=str(ours.file))
    get(sender)

    def in_child() -> int:
        status = get(sender).status
        sender.close()
        return status

    assert in_forked_child(in_child) == "200"
    get(sender)
    peers = [sent.peer for sent in secure.requests]
    assert peers[0] == peers[2] != peers[1]
