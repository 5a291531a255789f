"""Files of certificates that are replaced while the process runs."""

from __future__ import annotations

import shutil

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from certificates import Authority
from fakes import FakeVault
from logins import transport_to
from strongroom.errors import BackendError
from strongroom_vault.settings import AuthSettings
from strongroom_vault.target import Trust
from strongroom_vault.tokens import TokenKeeper
from strongroom_vault.transport import Transport
from test_tls import server_side


@pytest.fixture
def old(tmp_path: Path) -> Authority:
    (tmp_path / "old").mkdir()
    return Authority(tmp_path / "old")


@pytest.fixture
def new(tmp_path: Path) -> Authority:
    (tmp_path / "new").mkdir()
    return Authority(tmp_path / "new")


@pytest.fixture
def vault(new: Authority) -> Iterator[FakeVault]:
    """A server of the new authority, which wants clients of the new authority."""
    with FakeVault(tls=server_side(new, clients=new)) as started:
        started.answer(None, "/", 200, {"data": {"a": 1}, "auth": {"client_token": "t"}})
        yield started


class Files:
    """The files that a client reads, and what puts others in their place."""

    def __init__(self, folder: Path) -> None:
        self.ca, self.certificate, self.key = (folder / name for name in ("ca.pem", "client.pem", "client.key"))

    def trust(self, authority: Authority) -> None:
        shutil.copy(authority.file, self.ca)

    def show(self, authority: Authority, *, with_key: bool = True) -> None:
        made = authority.issue("client")
        shutil.copy(made.certificate, self.certificate)
        if with_key:
            shutil.copy(made.key, self.key)


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


@pytest.fixture
def transport(vault: FakeVault, files: Files) -> Callable[[], Transport]:
    def make() -> Transport:
        trust = Trust(ca_file=str(files.ca), client_cert=str(files.certificate), client_key=str(files.key))
        return transport_to(vault.address, tls=trust, timeout=5.0)

    return make


def get(sender: Transport) -> int:
    return sender.send("GET", "/v1/secret/data/x", headers={}, repeatable=True).status


def test_a_new_authority_is_trusted_by_the_next_connection(
    files: Files, transport: Callable[[], Transport], old: Authority, new: Authority
) -> None:
    files.trust(old)
    files.show(new)
    sender = transport()
    with pytest.raises(BackendError) as caught:
        get(sender)
    assert caught.value.code == "tls_failed"
    files.trust(new)
    assert get(sender) == 200


def test_a_new_certificate_is_shown_by_the_next_connection(
    files: Files, transport: Callable[[], Transport], old: Authority, new: Authority
) -> None:
    files.trust(new)
    files.show(old)
    sender = transport()
    with pytest.raises(BackendError) as caught:
        get(sender)
    assert caught.value.code == "tls_failed"
    files.show(new)
    assert get(sender) == 200


def test_half_a_change_and_a_bad_file_leave_the_old_ones_in_use(
    files: Files, transport: Callable[[], Transport], new: Authority
) -> None:
    files.trust(new)
    files.show(new)
    sender = transport()
    files.show(new, with_key=False)
    assert get(sender) == 200
    sender.reconnect()
    files.ca.write_text("nothing")
    assert get(sender) == 200
    sender.reconnect()
    files.ca.unlink()
    assert get(sender) == 200


def test_a_login_with_a_certificate_shows_the_one_that_is_there_now(
    vault: FakeVault, files: Files, transport: Callable[[], Transport], new: Authority
) -> None:
    files.trust(new)
    files.show(new)
    sender = transport()
    assert get(sender) == 200
    files.show(new)
    assert TokenKeeper.open(AuthSettings(method="cert", revoke=False), sender).current() == "t"
    read, login = vault.requests
    assert login.peer != read.peer
