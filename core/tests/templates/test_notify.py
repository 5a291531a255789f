"""systemd is told if it listens."""

from __future__ import annotations

import socket

from pathlib import Path

import pytest

from strongroom.templates.notify import tell_systemd


@pytest.mark.parametrize("kind", ["file", "abstract"])
def test_it_is_told_where_it_listens(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    name = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.settimeout(10)
        channel.bind(name if kind == "file" else "\0" + name)
        monkeypatch.setenv("NOTIFY_SOCKET", name if kind == "file" else "@" + name)
        tell_systemd("READY=1")
        assert channel.recv(100) == b"READY=1"


def test_nobody_who_listens_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "nothing"))
    tell_systemd("READY=1")
    monkeypatch.delenv("NOTIFY_SOCKET")
    tell_systemd("READY=1")
    assert list(tmp_path.iterdir()) == []
