"""Certificates for the tests, and sinks that are closed afterwards."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from certificates import Authority, Issued
from strongroom_audit_syslog.plugin import SyslogSettings
from strongroom_audit_syslog.sink import SyslogSink


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="session")
def server(authority: Authority) -> Issued:
    return authority.issue("server")


@pytest.fixture(scope="session")
def client(authority: Authority) -> Issued:
    return authority.issue("client")


@pytest.fixture(scope="session")
def trusting(authority: Authority, client: Issued) -> dict[str, Any]:
    """The settings that a server with a certificate of the authority's needs."""
    return {"ca_file": str(authority.file), "client_cert": str(client.certificate), "client_key": str(client.key)}


@pytest.fixture
def open_sink() -> Iterator[Callable[..., SyslogSink]]:
    """Return a function that opens a sink, which is closed when the test ends."""
    opened: list[SyslogSink] = []

    def opening(address: str, **settings: Any) -> SyslogSink:
        made = SyslogSettings(address=address, **settings)
        assert made.problems() == []
        opened.append(SyslogSink(made))
        return opened[-1]

    yield opening
    for sink in opened:
        sink.close()


@pytest.fixture
def short(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose path is short enough for a local socket."""
    return tmp_path_factory.mktemp("s")
