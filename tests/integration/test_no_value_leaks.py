"""Whatever goes wrong, no form of a value shows anywhere but in the answer to ``get``."""

import copy
import logging
import os
import pickle
import signal
import subprocess
import sys

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import strongroom

from commandline import Cli, clean_environment
from strongroom.contracts import Backend, ReadRequest, WriteRequest
from strongroom.errors import BackendUnavailableError, StrongroomError
from strongroom.testing import FaultyBackend, assert_hidden, marker_value, report_of

NAME = "db/password"


@pytest.fixture
def marker() -> str:
    return marker_value()


@pytest.fixture
def spans() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def manager(store: Path, marker: str, spans: InMemorySpanExporter) -> Iterator[strongroom.SecretManager]:
    """A manager on a real encrypted store and a real audit trail, with one secret."""
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    with strongroom.open(str(store / "strongroom.toml"), tracer_provider=provider) as opened:
        opened.set(NAME, marker)
        yield opened


class _CarelessError(Exception):
    """A client library's own error."""


class _Broken(Backend):
    """A backend whose client library fails after it has been handed a value."""

    address = "broken"

    def read(self, request: ReadRequest) -> None:  # type: ignore[override]  # it never returns
        raise _CarelessError("the connection was reset")

    def write(self, request: WriteRequest) -> None:  # type: ignore[override]  # it never returns
        raise _CarelessError("the connection was reset")


def _denied(manager: strongroom.SecretManager, store: Path, marker: str) -> None:
    text = (store / "strongroom.toml").read_text()
    text += '[[policies]]\nprincipal = "nobody-else"\neffect = "allow"\nactions = ["*"]\nnames = ["**"]\n'
    (store / "denied.toml").write_text(text)
    with strongroom.open(str(store / "denied.toml")) as strict:
        strict.set(NAME, marker)


def _backend_down(manager: strongroom.SecretManager, store: Path, marker: str) -> None:
    inner = manager._parts.backend("local").wrapped
    down = FaultyBackend(inner, BackendUnavailableError("no answer"))
    with strongroom.open({"audit": "none"}, backends={"local": down}) as other:
        other.set(NAME, marker)


def _foreign_error(manager: strongroom.SecretManager, store: Path, marker: str) -> None:
    with strongroom.open({"audit": "none"}, backends={"broken": _Broken()}) as other:
        other.set(NAME, marker)


def _too_large(manager: strongroom.SecretManager, store: Path, marker: str) -> None:
    manager.set(NAME, marker * 1_000_000)


def _conflict(manager: strongroom.SecretManager, store: Path, marker: str) -> None:
    manager.set(NAME, marker, expect_version="4711")


def _bad_name(manager: strongroom.SecretManager, store: Path, marker: str) -> None:
    manager.set("../" + NAME, marker)


def _not_text(manager: strongroom.SecretManager, store: Path, marker: str) -> None:
    manager.set("binary", marker.encode() + b"\xff\xfe")
    manager.get("binary").reveal_text()


def _surrogate(manager: strongroom.SecretManager, store: Path, marker: str) -> None:
    manager.set(NAME, marker + "\ud800")


def _not_json(manager: strongroom.SecretManager, store: Path, marker: str) -> None:
    manager.get(NAME, field="user")


def _no_field(manager: strongroom.SecretManager, store: Path, marker: str) -> None:
    manager.set("json", f'{{"other": "{marker[:30]}"}}')
    manager.get("json", field="user")


def _wrong_key(manager: strongroom.SecretManager, store: Path, marker: str) -> None:
    (store / "master.key").write_text("A" * 43 + "=\n")
    with strongroom.open(str(store / "strongroom.toml")) as other:
        other.set(NAME, marker)


def _key_not_base64(manager: strongroom.SecretManager, store: Path, marker: str) -> None:
    (store / "master.key").write_text(marker)
    with strongroom.open(str(store / "strongroom.toml")) as other:
        other.get(NAME)


def _damaged(manager: strongroom.SecretManager, store: Path, marker: str) -> None:
    (store / "damaged.db").write_bytes((store / "secrets.db").read_bytes()[:-700])
    (store / "damaged.db").chmod(0o600)
    text = (store / "strongroom.toml").read_text().replace("secrets.db", "damaged.db")
    (store / "damaged.toml").write_text(text)
    with strongroom.open(str(store / "damaged.toml")) as other:
        other.set(NAME, marker)


def _audit_full(manager: strongroom.SecretManager, store: Path, marker: str) -> None:
    text = (store / "strongroom.toml").read_text().replace('path = "audit.jsonl"', 'path = "/proc/audit.jsonl"')
    (store / "full.toml").write_text(text)
    with strongroom.open(str(store / "full.toml")) as other:
        other.set(NAME, marker)


def _literal_of_wrong_type(manager: strongroom.SecretManager, store: Path, marker: str) -> None:
    text = (store / "strongroom.toml").read_text()
    key = "master_key = "
    line = next(line for line in text.splitlines() if line.startswith(key))
    (store / "typed.toml").write_text(text.replace(line, f"master_key = ['{marker[:36]}']"))
    with strongroom.open(str(store / "typed.toml")) as other:
        other.get(NAME)


def _failed_rotation(manager: strongroom.SecretManager, store: Path, marker: str) -> None:
    manager.rotate(NAME, expect_version="4711")


def _closed(manager: strongroom.SecretManager, store: Path, marker: str) -> None:
    manager.close()
    manager.set(NAME, marker)


FAILURES = [
    _denied,
    _backend_down,
    _foreign_error,
    _too_large,
    _conflict,
    _bad_name,
    _not_text,
    _surrogate,
    _not_json,
    _no_field,
    _wrong_key,
    _key_not_base64,
    _damaged,
    _audit_full,
    _literal_of_wrong_type,
    _failed_rotation,
    _closed,
]


@pytest.mark.parametrize("failure", FAILURES, ids=lambda failure: failure.__name__.strip("_"))
def test_no_error_shows_a_value_in_its_report_the_log_the_trail_or_a_span(
    failure: Callable[[strongroom.SecretManager, Path, str], None],
    manager: strongroom.SecretManager,
    store: Path,
    marker: str,
    spans: InMemorySpanExporter,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    with pytest.raises(StrongroomError) as caught:
        failure(manager, store, marker)
    # A secret that stands in the configuration file itself is in the parsed file, which our frames hold.
    packages = (None,) if failure is _literal_of_wrong_type else ("strongroom", "strongroom_local")
    report = "\n".join(report_of(caught.value, package) for package in packages)
    assert_hidden(marker, report, "the error's report, local variables of our frames included")
    assert_hidden(marker, caplog.text, "the log")
    assert_hidden(marker, "".join(span.to_json() for span in spans.get_finished_spans()), "a span")
    assert_hidden(marker, (store / "audit.jsonl").read_text(), "the audit trail")


def test_no_form_of_showing_a_secret_shows_its_value(manager: strongroom.SecretManager, marker: str) -> None:
    secret = manager.get(NAME)
    shown = [
        repr(secret),
        str(secret),
        f"{secret}",
        f"{secret.value:>80}",
        "%s %r" % (secret.value, secret.value),  # noqa: UP031  # one more way in which values get into logs
        repr(vars(manager)),
        repr([secret, {"value": secret.value}, copy.copy(secret), copy.deepcopy(secret.value)]),
        repr(manager.stats()),
        repr(manager.health()),
        repr(manager.get_many([NAME, "missing"])),
        repr(manager.versions(NAME)),
    ]
    assert_hidden(marker, "\n".join(shown), "a representation")


@pytest.mark.parametrize("part", ["secret", "value"])
def test_a_secret_refuses_to_be_pickled_without_showing_itself(
    part: str, manager: strongroom.SecretManager, marker: str
) -> None:
    secret = manager.get(NAME)
    with pytest.raises(TypeError) as caught:
        pickle.dumps(secret if part == "secret" else secret.value)
    assert_hidden(marker, report_of(caught.value), "the error")


@pytest.mark.parametrize(
    "arguments",
    [
        ("set", NAME, "--expect-version", "99"),
        ("set", "../bad"),
        ("set", NAME, "--json"),
        ("list", "--json"),
        ("versions", NAME, "--json"),
        ("health", "--json"),
        ("stats", "--json"),
        ("config", "--json"),
        ("plugins", "--json"),
        ("doctor", "--json"),
        ("audit", "tail", "--json"),
        ("audit", "report", "--json"),
        ("anomaly", "replay", "audit.jsonl", "--detector", "rate", "--json"),
        ("local", "verify", "--json"),
        ("get", NAME, "--field", "user"),
        ("delete", NAME, "--json"),
        ("undelete", NAME, "--json"),
        ("destroy", NAME, "--yes", "--json"),
        ("metadata", NAME, "--json"),
        ("list", "--folders", "--json"),
    ],
    ids=" ".join,
)
def test_no_command_but_get_and_export_prints_a_value(arguments: tuple[str, ...], cli: Cli, marker: str) -> None:
    assert cli("set", NAME, stdin=marker).status == 0
    done = cli(*arguments, stdin=marker)
    assert_hidden(marker, done.stdout + done.stderr, f"the output of {' '.join(arguments)}")


def test_a_value_on_the_command_line_is_refused_and_not_repeated(cli: Cli, marker: str) -> None:
    done = cli("set", NAME, marker)
    assert done.status == 2
    assert_hidden(marker, done.stdout + done.stderr, "the refusal")
    assert cli("get", NAME).status == 3


def test_an_interrupted_command_shows_no_value_and_no_traceback(store: Path, home: Path, marker: str) -> None:
    command = [str(Path(sys.executable).with_name("strongroom")), "set", NAME]
    with subprocess.Popen(
        command,
        cwd=store,
        env=clean_environment(home),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdin is not None
        process.stdin.write(marker.encode())
        process.stdin.flush()
        _wait_until_it_reads(process.pid)
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert b"Traceback" not in errors
    assert_hidden(marker, (output + errors).decode(), "the output")


def _wait_until_it_reads(pid: int) -> None:
    """Wait until the command has taken what was written: then it waits for the rest."""
    while int(_pipe_bytes(pid)) > 0:
        os.sched_yield()


def _pipe_bytes(pid: int) -> int:
    import fcntl
    import struct
    import termios

    with open(f"/proc/{pid}/fd/0", "rb", buffering=0) as pipe:
        return int(struct.unpack("i", fcntl.ioctl(pipe, termios.FIONREAD, bytes(4)))[0])
