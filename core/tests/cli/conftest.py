"""What tests of the commands share: a folder with a configuration, and plugins that do as they are told."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

PLUGIN = '''
"""Sinks and a backend for tests. A file called `opened` tells that the backend was opened."""

import json
import os
import time

from strongroom.contracts import (
    AuditSink, Backend, BackendSpec, FilePath, Health, HealthState, KeySource, Record, SinkSpec, Trail, TrailFinding,
    TrailHead, TrailReport,
)
from strongroom.errors import BackendUnavailableError, SecretNotFoundError
from strongroom.hookspecs import hookimpl
from strongroom.model import AuditEvent, SecretValue


class SinkSettings(Record):
    path: FilePath


class Notebook(AuditSink, Trail):
    def __init__(self, settings):
        self.path = settings.path

    def write(self, request):
        with open(self.path, "a") as file:
            file.writelines(json.dumps(event.as_dict()) + "\\n" for event in request.events)

    def read(self, query):
        events = self.events()
        seen = len(events)
        found = [event for event in events if self.fits(event, query)]
        yield from found if query.last is None else found[max(0, len(found) - query.last):]
        while query.follow:
            time.sleep(0.02)
            events = self.events()
            yield from (event for event in events[seen:] if self.fits(event, query))
            seen = len(events)

    def events(self):
        if not os.path.exists(self.path):
            return []
        with open(self.path) as file:
            return [AuditEvent(**json.loads(line)) for line in file if line.startswith("{")]

    def fits(self, event, query):
        wanted = ((query.principal, event.principal), (query.key, event.key), (query.result, event.result))
        return (
            all(want in {None, got} for want, got in wanted)
            and (query.since is None or event.timestamp >= query.since)
            and (query.until is None or event.timestamp < query.until)
        )

    def head(self):
        return TrailHead(position=len(self.events()), digest="ab" * 32)

    def verify(self, head=None):
        with open(self.path) as file:
            states = [line.strip() for line in file if not line.startswith("{")]
        if head is not None and head.digest != "ab" * 32:
            states.append("broken")
        findings = tuple(TrailFinding(kind=state, place=f"{self.path}:1", detail="it says so") for state in states)
        state = states[-1] if states else "sealed"
        return TrailReport(
            state=state, events=len(self.events()), files=(self.path,), head=self.head(), findings=findings
        )


class Mute(AuditSink):
    def __init__(self, settings):
        pass

    def write(self, request):
        pass


class Sore(Notebook):
    """It fails in a way that tells what it must not."""

    def read(self, query):
        raise RuntimeError(os.environ["MARKER"])

    def health(self):
        raise RuntimeError(os.environ["MARKER"])

    def head(self):
        raise RuntimeError(os.environ["MARKER"])

    def verify(self, head=None):
        raise RuntimeError(os.environ["MARKER"])


def refuse(settings):
    raise RuntimeError(os.environ.get("MARKER", ""))


class MoodySettings(Record):
    mood: str = "up"
    password: SecretValue | None = None
    key: KeySource | None = None
    old_keys: dict[str, SecretValue] | None = None
    token: str = ""
    address: str = ""
    ca: FilePath | None = None
    retries: int = 3

    def problems(self):
        return ["mood is bad"] if self.mood == "bad" else []


class Moody(Backend):
    def __init__(self, settings):
        self.address = "moody"
        self.mood = settings.mood
        open("opened", "w").close()
        if self.mood == "refuses":
            raise RuntimeError(os.environ["MARKER"])
        if self.mood == "away":
            raise BackendUnavailableError("moody is away", hint="wait")

    def read(self, request):
        raise SecretNotFoundError(f"moody has no {request.name}")

    def health(self):
        if self.mood == "raises":
            raise RuntimeError(os.environ["MARKER"])
        states = {"degraded": HealthState.DEGRADED, "down": HealthState.DOWN}
        if self.mood == "talkative":
            facts = (("server_version", "2.7"), ("cluster", "a\x1b[2Jb"), ("retries", "0"), ("old", "no"))
            return Health(state=HealthState.UP, facts=facts)
        return Health(state=states.get(self.mood, HealthState.UP), reason=f"it is {self.mood}", hint="be kind")


@hookimpl
def strongroom_backends():
    yield BackendSpec(name="moody", summary="As it is told.", settings=MoodySettings, open=Moody)


@hookimpl
def strongroom_audit_sinks():
    yield SinkSpec(name="notebook", summary="JSON lines.", settings=SinkSettings, open=Notebook)
    yield SinkSpec(name="mute", summary="Forgets.", settings=SinkSettings, open=Mute)
    yield SinkSpec(name="sore", summary="Fails when used.", settings=SinkSettings, open=Sore)
    yield SinkSpec(name="shut", summary="Fails when opened.", settings=SinkSettings, open=refuse)
'''

CONFIGURATION = """
[backends.main]
type = "moody"

[[audit]]
type = "notebook"
path = "trail.txt"
"""


@dataclass(frozen=True)
class Finished:
    """How a command ended."""

    status: int
    stdout: str
    stderr: str

    @property
    def json(self) -> Any:
        """The JSON document on standard output."""
        return json.loads(self.stdout)

    @property
    def lines(self) -> list[str]:
        """The lines on standard output."""
        return self.stdout.splitlines()


class Desk:
    """A folder with a configuration, and the command in it."""

    def __init__(self, folder: Path, site: Path) -> None:
        self.folder = folder
        self.trail = folder / "trail.txt"
        self._site = site
        self.configure(CONFIGURATION)

    def configure(self, text: str) -> None:
        """Write the configuration."""
        path = self.folder / "strongroom.toml"
        path.write_text(textwrap.dedent(text))
        path.chmod(0o600)

    def record(self, *events: dict[str, Any], path: str = "trail.txt") -> None:
        """Add events to the trail; what they do not say is filled in."""
        with (self.folder / path).open("a") as file:
            for event in events:
                file.write(json.dumps(filled(**event)) + "\n")
        (self.folder / path).chmod(0o600)

    def environment(self, **more: str) -> dict[str, str]:
        """Return the variables that the command starts with."""
        home = self.folder / "home"
        home.mkdir(exist_ok=True)
        return {
            "PATH": os.environ.get("PATH", os.defpath),
            "PYTHONPATH": str(self._site),
            "HOME": str(home),
            "LANG": "C.UTF-8",
            **more,
        }

    def command(self, *arguments: str) -> list[str]:
        """Return the command line."""
        return [str(Path(sys.executable).with_name("strongroom")), *arguments]

    def __call__(self, *arguments: str, **environment: str) -> Finished:
        """Run the command to its end."""
        done = subprocess.run(
            self.command(*arguments),
            cwd=self.folder,
            env=self.environment(**environment),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return Finished(done.returncode, done.stdout, done.stderr)


def filled(**event: Any) -> dict[str, Any]:
    """Return an event with everything that it must have."""
    number = event.pop("number", 1)
    made = {
        "id": f"id{number}",
        "timestamp": f"2030-01-01T00:00:{number:02}.000000+00:00",
        "event": "get",
        "key": "db/password",
        "principal": "alice",
        "host": "here",
        "pid": 1,
    }
    return made | event


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    """A folder with a configuration of a backend and a sink for tests, and the command in it."""
    site = tmp_path / "site"
    info = site / "told-1.0.dist-info"
    info.mkdir(parents=True)
    (site / "told.py").write_text(PLUGIN)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: told\nVersion: 1.0\n")
    sinks = "".join(f"{name} = told\n" for name in ("notebook", "mute", "sore", "shut"))
    (info / "entry_points.txt").write_text(f"[strongroom.backends]\nmoody = told\n[strongroom.audit_sinks]\n{sinks}")
    folder = tmp_path / "desk"
    folder.mkdir(mode=0o700)
    return Desk(folder, site)
