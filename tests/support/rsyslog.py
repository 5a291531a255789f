"""A syslog daemon of the test's own: rsyslogd on loopback, which writes each message down field by field."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import time

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from certificates import Authority
from strongroom.model import AuditEvent

TIME_LIMIT = 20.0
# Not on everybody's path.
FOLDERS = ("/usr/sbin", "/sbin")
DRIVERS = ("/usr/lib/*/rsyslog", "/usr/lib/rsyslog", "/usr/lib64/rsyslog")

CONFIGURATION = """
global(workDirectory="{folder}")
{modules}
template(name="fields" type="list" option.jsonf="on") {{
    property(outname="facility" name="syslogfacility-text" format="jsonf")
    property(outname="severity" name="syslogseverity-text" format="jsonf")
    property(outname="version" name="protocol-version" format="jsonf")
    property(outname="time" name="timereported" dateFormat="rfc3339" format="jsonf")
    property(outname="host" name="hostname" format="jsonf")
    property(outname="app" name="app-name" format="jsonf")
    property(outname="pid" name="procid" format="jsonf")
    property(outname="kind" name="msgid" format="jsonf")
    property(outname="data" name="structured-data" format="jsonf")
    property(outname="text" name="msg" format="jsonf")
}}
ruleset(name="all") {{
    action(type="omfile" file="{output}" template="fields" flushOnTXEnd="on" asyncWriting="off")
}}
{input}
"""

TLS = """
global(
    defaultNetstreamDriver="ossl"
    defaultNetstreamDriverCAFile="{authority}"
    defaultNetstreamDriverCertFile="{certificate}"
    defaultNetstreamDriverKeyFile="{key}"
)
module(load="imtcp" streamDriver.name="ossl" streamDriver.mode="1" streamDriver.authMode="x509/certvalid")
"""


class Daemon:
    """An rsyslogd.

    Args:
        folder: Where its files go; for ``unix`` its path must be short.
        transport: ``udp``, ``tcp``, ``tls`` or ``unix``.
        authority: For ``tls``: signs its certificate, and those of the clients that it lets in.

    Attributes:
        address: What the sink connects to.
        output: The file that it writes.
    """

    def __init__(self, folder: Path, transport: str, authority: Authority | None = None) -> None:
        self.program = program()
        self.transport = transport
        self.output = folder / "messages"
        self.log = folder / "rsyslogd.log"
        self.socket = folder / "log"
        self.port = _free_port(socket.SOCK_DGRAM if transport == "udp" else socket.SOCK_STREAM)
        self.address = f"unix://{self.socket}" if transport == "unix" else f"{transport}://127.0.0.1:{self.port}"
        self._folder = folder
        self._file = folder / "rsyslog.conf"
        self._file.write_text(self._configuration(authority))
        self._process: subprocess.Popen[bytes] | None = None

    def _configuration(self, authority: Authority | None) -> str:
        modules = {
            "udp": 'module(load="imudp")',
            "tcp": 'module(load="imtcp")',
            "unix": 'module(load="imuxsock" sysSock.use="off")',
        }
        inputs = {
            "udp": 'input(type="imudp" address="127.0.0.1" port="{port}" ruleset="all")',
            "tcp": 'input(type="imtcp" address="127.0.0.1" port="{port}" ruleset="all")',
            "tls": 'input(type="imtcp" address="127.0.0.1" port="{port}" ruleset="all")',
            "unix": 'input(type="imuxsock" socket="{socket}" useSpecialParser="off" parseHostname="on" '
            'ratelimit.interval="0" ignoreTimestamp="off" useSysTimeStamp="off" ruleset="all")',
        }
        if authority is not None:
            issued = authority.issue("rsyslogd")
            modules["tls"] = TLS.format(authority=authority.file, certificate=issued.certificate, key=issued.key)
        return CONFIGURATION.format(
            folder=self._folder,
            output=self.output,
            modules=modules[self.transport],
            input=inputs[self.transport].format(port=self.port, socket=self.socket),
        )

    def start(self) -> None:
        """Start it, and wait until it listens."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [self.program, "-n", "-i", self._folder / "rsyslogd.pid", "-f", self._file], stdout=log, stderr=log
            )
        until(self._listens, lambda: f"rsyslogd did not start: {self.log.read_text()}")

    def _listens(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self.log.read_text()
        if self.transport == "unix":
            return _takes_datagrams(self.socket)
        if self.transport == "udp":
            # As the system tells it: sending something would leave a message.
            return f":{self.port:04X} " in Path("/proc/net/udp").read_text()
        return f":{self.port:04X} 00000000:0000 0A" in Path("/proc/net/tcp").read_text()

    def kill(self) -> None:
        """End it at once, as the kernel does it when memory is short."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """End it in order."""
        self._end(signal.SIGTERM)

    def suspend(self) -> None:
        """Let it hang: what it was sent stays in the system's buffers."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def _end(self, number: signal.Signals) -> None:
        if self._process is None:
            return
        self._process.send_signal(signal.SIGCONT)
        self._process.send_signal(number)
        self._process.wait(TIME_LIMIT)
        self._process = None

    def messages(self) -> list[dict[str, Any]]:
        """Return what it has written down, oldest first."""
        if not self.output.exists():
            return []
        whole = self.output.read_bytes().rpartition(b"\n")[0]
        return [json.loads(line) for line in whole.splitlines()]

    def events(self) -> list[AuditEvent]:
        """Return the events that it has written down, oldest first."""
        return [event_of(message) for message in self.messages()]

    def wait_for(self, ids: set[str]) -> list[AuditEvent]:
        """Wait until it has written down events, and return all that it has."""

        def are_there() -> bool:
            return ids <= {event.id for event in self.events()}

        until(are_there, lambda: f"missing: {sorted(ids - {event.id for event in self.events()})[:5]}")
        return self.events()


def event_of(message: dict[str, Any]) -> AuditEvent:
    """Return the event in the text of a message."""
    return AuditEvent(**json.loads(message["text"].removeprefix("\ufeff")))


def program(driver: str | None = None) -> str:
    """Return the path of rsyslogd, or skip the test.

    Args:
        driver: The name of a module that it needs, too.
    """
    found = shutil.which("rsyslogd", path=os.pathsep.join((os.environ.get("PATH", os.defpath), *FOLDERS)))
    if found is None:
        # PyPI carries no syslog daemon.
        pytest.skip("needs the program rsyslogd: install rsyslog")
    if driver is not None and not any(Path("/").glob(f"{folder[1:]}/{driver}.so") for folder in DRIVERS):
        # Debian has what speaks TLS in a package of its own.
        pytest.skip("needs rsyslogd with TLS: install rsyslog-openssl")
    return found


@contextlib.contextmanager
def running(folder: Path, transport: str, authority: Authority | None = None) -> Iterator[Daemon]:
    """Start a daemon, and stop it in the end; see :class:`Daemon`."""
    program("lmnsd_ossl" if transport == "tls" else None)
    folder.mkdir(exist_ok=True)
    daemon = Daemon(folder, transport, authority)
    daemon.start()
    try:
        yield daemon
    finally:
        daemon.stop()


def until(condition: Callable[[], bool], problem: Callable[[], str]) -> None:
    """Wait until something is so.

    Raises:
        AssertionError: It has taken too long.
    """
    end = time.monotonic() + TIME_LIMIT
    while not condition():
        assert time.monotonic() < end, problem()
        time.sleep(0.01)


def _takes_datagrams(path: Path) -> bool:
    """Tell whether somebody listens there: the file stays when its daemon is killed."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as made:
        return made.connect_ex(str(path)) == 0


def _free_port(kind: socket.SocketKind) -> int:
    with socket.socket(socket.AF_INET, kind) as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])
