"""``encrypt`` and ``decrypt``: exact bytes in and out, and nothing of them anywhere else."""

from __future__ import annotations

import base64
import json
import subprocess

from pathlib import Path

import pytest

import keyed

from strongroom.testing import marker_value

PLUGIN = """
import os

from keyed import KeyedBackend
from strongroom.contracts import BackendSpec, Capability, Record
from strongroom.hookspecs import hookimpl


class Settings(Record):
    pass


class Kept(KeyedBackend):
    # One key for all processes of a test.
    def __init__(self):
        super().__init__()
        self._keys = {"orders": [b"k" * 32]}


@hookimpl
def strongroom_backends():
    yield BackendSpec(name="keyed", summary="Has keys.", settings=Settings, open=lambda _: Kept())
"""
CONFIGURATION = """
backend = "main"
[backends.main]
type = "keyed"
[[audit]]
type = "notebook"
path = "trail.txt"
"""


class Runner:
    """Runs the command with bytes on its standard input."""

    def __init__(self, desk, site: Path) -> None:
        self.desk = desk
        self._path = f"{site}:{Path(keyed.__file__).parent}"

    def __call__(self, *arguments: str, content: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        environment = self.desk.environment()
        environment["PYTHONPATH"] += f":{self._path}"
        return subprocess.run(
            self.desk.command(*arguments),
            cwd=self.desk.folder,
            env=environment,
            input=content,
            capture_output=True,
            timeout=60,
            check=False,
        )


@pytest.fixture
def run(desk, tmp_path: Path) -> Runner:
    site = tmp_path / "keyed-site"
    metadata = site / "keyed_plugin-1.0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: keyed-plugin\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[strongroom.backends]\nkeyed = keyed_plugin\n")
    (site / "keyed_plugin.py").write_text(PLUGIN)
    desk.configure(CONFIGURATION)
    return Runner(desk, site)


@pytest.mark.parametrize("content", [b"", b"text\n", bytes(range(256)), b" \r\n"])
def test_bytes_come_back_exactly(run: Runner, content: bytes) -> None:
    made = run("encrypt", "orders", content=content)
    assert (made.returncode, made.stderr) == (0, b"")
    assert not made.stdout.endswith(b"\n")
    # An editor, or `echo`, ends a line.
    found = run("decrypt", "orders", content=made.stdout + b"\r\n")
    assert (found.returncode, found.stdout, found.stderr) == (0, content, b"")


def test_associated_data_has_to_be_stated_again(run: Runner) -> None:
    bound = ("--associated-data", "Zeile 7, gr\u00fcn")
    ciphertext = run("encrypt", "orders", *bound, content=b"content").stdout
    assert run("decrypt", "orders", *bound, content=ciphertext).stdout == b"content"
    refused = run("decrypt", "orders", content=ciphertext)
    assert (refused.returncode, refused.stdout) == (8, b"")


def test_files_and_json(run: Runner) -> None:
    (run.desk.folder / "plain").write_bytes(b"\0content")
    made = json.loads(run("encrypt", "orders", "--file", "plain", "--json").stdout)
    assert made["key"] == "orders"
    (run.desk.folder / "secret").write_text(made["ciphertext"])
    found = json.loads(run("decrypt", "orders", "--file", "secret", "--json").stdout)
    assert base64.b64decode(found["value_base64"]) == b"\0content"
    assert run("decrypt", "orders", "--file", "secret", "--newline").stdout == b"\0content\n"
    missing = run("encrypt", "orders", "--file", "missing")
    assert missing.returncode == 2
    assert b"cannot be read" in missing.stderr


def test_nothing_of_the_value_shows_in_errors_and_in_the_trail(run: Runner) -> None:
    marker = marker_value()[:-3]
    for arguments in (("encrypt", "orders"), ("decrypt", "orders"), ("decrypt", "missing"), ("encrypt", "a//b")):
        done = run(*arguments, content=marker.encode())
        assert marker[:12].encode() not in done.stderr
        if arguments[0] == "decrypt":
            assert done.returncode in {2, 3}
    trail = run.desk.trail.read_text()
    assert marker[:12] not in trail
    assert [json.loads(line)["event"] for line in trail.splitlines() if '"orders"' in line] == ["encrypt", "decrypt"]


def test_what_is_no_text_at_all_is_no_ciphertext(run: Runner) -> None:
    done = run("decrypt", "orders", content=b"\xff\xfe\0")
    assert done.returncode == 2
