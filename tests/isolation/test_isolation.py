"""A plugin sees what the configuration routes to it and nothing else, however it tries.

It does what ``strongroom_hostile`` does, and writes down all that it has seen. What Python lets everybody do, such as
walking through the garbage collector's objects, is left out, and a control shows that it would find values.
"""

import base64
import json
import os
import subprocess
import sys

from collections.abc import Iterator
from pathlib import Path

import pytest

from _workspace import ROOT
from commandline import Cli, clean_environment
from fakeaws import FakeSecretsManager
from openbao import development_server
from sites import install, wheel_of
from strongroom.testing import leaks_in, marker_value

HOSTILE = ROOT / "tests/isolation/strongroom-hostile"
USES = ROOT / "tests/isolation/uses.py"

CONFIGURATION = """
backend = "store"
fallback = "store"
state = "hostile"
principal = "app"
state_every = "1s"

[backends.store]
type = "local"
path = "secrets.db"
master_key = {{ file = "master.key" }}

[backends.cloud]
type = "aws"
region = "eu-central-1"
endpoint = "{aws}"
access_key_id = {{ file = "access.txt" }}
secret_access_key = {{ file = "access-secret.txt" }}
session_token = {{ file = "session.txt" }}

[backends.vault]
type = "vault"
address = "{vault}"
auth = {{ method = "token", token = {{ file = "token.txt" }} }}

[backends.away]
type = "vault"
address = "http://127.0.0.1:9"
attempts = 1
auth = {{ method = "token", token = {{ file = "token.txt" }} }}

[backends.seeded]
type = "memory"
seed = {{ "seeded/a" = {{ file = "seed.txt" }} }}

[backends.hostile]
type = "hostile"
token = {{ file = "hostile.txt" }}

[routes]
"cloud/" = "cloud"
"vault/" = "vault"
"away/" = "away"
"seeded/" = "seeded"
"hostile/" = "hostile"

[resilience]
keep_copy = true
queue_writes = true
deadline = "5s"

[cache]
policy = "hostile"

[[audit]]
type = "jsonl"
path = "trail.jsonl"
key = {{ file = "audit-key.txt" }}

[[audit]]
type = "hostile"
required = false

[[anomaly]]
type = "hostile"

[rotation."own/*"]
rotator = "hostile"

[rotation."theirs/*"]
rotator = "password"

[telemetry]
exporter = "hostile"

[[policies]]
principal = "app"
effect = "allow"
actions = ["*"]
names = ["**"]

[[policies]]
principal = "rotor"
effect = "allow"
actions = ["read", "list", "create", "update", "rotate"]
names = ["own/**"]
"""

PLACES = ("theirs/read", "cloud/read", "vault/read", "plaintext", "message", "queued", "seed")
CREDENTIALS = ("access-secret", "session", "token")
OWN = ("hostile", "own", "credential")

WAYS = {
    "settings",
    *(f"the opening of a {part}" for part in ("backend", "policy", "sink", "detector", "rotator")),
    *(f"the hook of a {kind}" for kind in ("backend", "cache_policy", "audit_sink", "anomaly_detector", "rotator")),
    "a backend's request",
    "a backend's target",
    "a backend's health",
    "the closing of a backend",
    "a state",
    "a policy's request",
    "a sink's request",
    "a sink's request, context",
    "a sink's request, the exception that is being handled",
    "a sink's health",
    "the closing of a sink",
    "a detector's access",
    "a detector's outcome",
    "a detector's dump",
    "a repetition",
    "a rotator's request",
    "what a rotator may not read",
    "a log",
    "a span that begins",
    "a span",
    "a metric",
    "a comparison",
    "an event of Python, context",
}
"""How the plugin gets to see something."""
SILENT = {"the closing of a backend", "a backend's target", "a backend's health", "a sink's health", "a repetition"}
SILENT |= {"the closing of a sink", "a detector's dump"} | {way for way in WAYS if way.startswith("the hook")}
"""Where nothing is handed over: that it was called is what counts."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which the plugin has been built and installed."""
    folder = tmp_path_factory.mktemp("hostile")
    return install(folder / "site", wheel_of(HOSTILE, folder))


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[FakeSecretsManager, str, str]]:
    """AWS Secrets Manager, and the address and the token of an OpenBao server."""
    with FakeSecretsManager() as aws, development_server(tmp_path_factory.mktemp("openbao")) as bao:
        bao.policy("all", 'path "*" { capabilities = ["create", "read", "update", "delete", "list"] }')
        yield aws, bao.address, bao.new_token("all")


class Site:
    """A folder in which the plugin is configured beside others, with a marker for each secret thing.

    Args:
        folder: The folder.
        site: Where the plugin is installed.
        aws: The address of AWS.
        vault: The address of Vault.
        token: Its token.
    """

    def __init__(self, folder: Path, site: Path, aws: str, vault: str, token: str) -> None:
        self.folder = folder
        self.markers = {name: marker_value() for name in (*PLACES, *CREDENTIALS, *OWN)} | {"token": token}
        self.markers |= {name: self.markers[name].strip('"\\é%') for name in ("access-secret", "session")}
        made = Cli(folder, folder)("init")
        assert made.status == 0, made.stderr
        self.master = (folder / "master.key").read_text().strip()
        self.audit_key = base64.b64encode(os.urandom(32)).decode()
        files = {"audit-key.txt": self.audit_key, "access.txt": "AKIAEXAMPLE"}
        files |= {f"{name}.txt": self.markers[name] for name in CREDENTIALS}
        files |= {"hostile.txt": self.markers["credential"], "seed.txt": self.markers["seed"]}
        for name, text in files.items():
            (folder / name).write_text(text)
            (folder / name).chmod(0o600)
        (folder / "strongroom.toml").write_text(CONFIGURATION.format(aws=aws, vault=vault))
        self.overheard = ""
        """What Python tells whoever asks for its events, such as each piece that is sent without TLS."""
        self.environment = {"PYTHONPATH": str(site), "HOSTILE_REPORT": str(folder / "seen")}

    def use(self) -> dict[str, object]:
        """Use strongroom in every way, and return what the program says in the end."""
        variables = clean_environment(self.folder, **self.environment)
        done = subprocess.run(
            [sys.executable, str(USES), str(self.folder)],
            input=json.dumps(self.markers),
            env=variables,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        said: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
        return said

    def seen(self) -> dict[str, str]:
        """Return all that the plugin has seen, by the way on which it did."""
        found: dict[str, str] = {}
        for file in self.folder.glob("seen.*"):
            for where, texts in json.loads(file.read_text()).items():
                found[where] = found.get(where, "") + "\n".join(texts)
        self.overheard = found.pop("an event of Python", "")
        return found


def ways(seen: dict[str, str], marker: str) -> list[str]:
    """Return on which ways a value was seen, and in which form."""
    return [f"{where}: {', '.join(forms)}" for where, text in seen.items() if (forms := leaks_in(text, marker))]


@pytest.fixture(scope="module")
def used(
    site: Path, servers: tuple[FakeSecretsManager, str, str], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Site, dict[str, object]]:
    """A site after its use, with what the program said in the end."""
    aws, vault, token = servers
    made = Site(tmp_path_factory.mktemp("used"), site, aws.url, vault, token)
    return made, made.use()


def test_the_plugin_was_asked_in_every_way(used: tuple[Site, dict[str, object]]) -> None:
    """Or else that it saw nothing would show nothing."""
    seen = used[0].seen()
    assert seen.keys() >= WAYS, sorted(WAYS - seen.keys())
    assert [way for way in WAYS if not seen[way] and way not in SILENT] == []


def test_the_plugin_saw_what_is_its_own(used: tuple[Site, dict[str, object]]) -> None:
    """A control: its own values and credentials are found where they were handed to it."""
    site, seen = used[0], used[0].seen()
    for marker, way in (
        ("hostile", "a backend's request"),
        ("own", "a rotator's request"),
        ("credential", "the opening of a backend"),
    ):
        assert any(way in found for found in ways(seen, site.markers[marker])), marker


@pytest.mark.parametrize("secret", [*PLACES, *CREDENTIALS])
def test_the_plugin_saw_no_value_and_no_credential_of_others(used: tuple[Site, dict[str, object]], secret: str) -> None:
    site, seen = used[0], used[0].seen()
    assert ways(seen, site.markers[secret]) == []


def test_the_plugin_saw_no_key_of_others_and_nothing_that_was_made(used: tuple[Site, dict[str, object]]) -> None:
    site, said = used
    made = said["made"]
    assert isinstance(made, list)
    assert len(made) == 2
    seen = site.seen()
    for secret in (*map(base64.b64decode, (site.master, site.audit_key)), *map(bytes.fromhex, made)):
        assert len(secret) >= 16
        forms = (secret.decode("latin-1"), secret.hex(), base64.b64encode(secret).decode().rstrip("="))
        assert [way for way, text in seen.items() if any(form in text for form in forms)] == []


def test_only_parts_that_need_values_see_any(used: tuple[Site, dict[str, object]]) -> None:
    """A detector, a sink, a policy, a log, a span: not even values of the plugin's own backend reach them."""
    site, seen = used[0], used[0].seen()
    needed = ("a backend", "a rotator", "what a rotator may", "the opening", "settings", "a comparison of values")
    others = {way: text for way, text in seen.items() if not way.startswith(needed)}
    for own in OWN:
        assert ways(others, site.markers[own]) == []


def test_what_python_cannot_prevent_is_found(used: tuple[Site, dict[str, object]]) -> None:
    """A control: docs/security.md says so of whoever walks through all objects, or has Python tell what it does."""
    site, said = used
    assert said["found by the garbage collector"] is True
    site.seen()
    assert leaks_in(site.overheard, site.markers["session"])


def test_a_command_of_the_plugin_sees_no_settings_of_others(
    used: tuple[Site, dict[str, object]], tmp_path: Path
) -> None:
    site = used[0]
    cli = Cli(site.folder, tmp_path)
    for line in ("hostile", "get theirs/read", "health", "plugins", "doctor", "config", "audit verify"):
        done = cli(*line.split(), env=site.environment)
        assert "Traceback" not in done.stderr, done.stderr
    seen = site.seen()
    assert {"a command's call", "the start of an exporter"} <= seen.keys()
    for secret in (*PLACES, *CREDENTIALS):
        assert ways(seen, site.markers[secret]) == []
    for secret in (site.master, site.audit_key):
        assert ways(seen, secret) == []
