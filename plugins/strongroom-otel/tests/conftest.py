"""A collector of the test's own process."""

from __future__ import annotations

import os

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from certificates import Authority, Issued
from collector import Kept, receiver
from strongroom_otel.plugin import OtelSinkSettings
from strongroom_otel.sink import OtelSink


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take away what the developer's own environment says."""
    for name in list(os.environ):
        if name.startswith("OTEL_") or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)


@pytest.fixture
def server() -> Iterator[tuple[str, Kept]]:
    with receiver() as made:
        yield made


@pytest.fixture
def url(server: tuple[str, Kept]) -> str:
    return server[0]


@pytest.fixture
def kept(server: tuple[str, Kept]) -> Kept:
    return server[1]


@pytest.fixture
def open_sink(url: str) -> Iterator[Callable[..., OtelSink]]:
    """Return a function that opens a sink, which is closed when the test ends."""
    opened: list[OtelSink] = []

    def opening(**settings: Any) -> OtelSink:
        opened.append(OtelSink(OtelSinkSettings(**{"endpoint": url, "timeout": 5.0} | settings)))
        return opened[-1]

    yield opening
    for sink in opened:
        sink.close()


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="session")
def shown(authority: Authority) -> Issued:
    """The certificate that the server shows."""
    return authority.issue("server")


@pytest.fixture(scope="session")
def own(authority: Authority) -> Issued:
    """The certificate that we show."""
    return authority.issue("client")


@pytest.fixture
def missing(tmp_path: Path) -> str:
    return str(tmp_path / "missing.pem")
