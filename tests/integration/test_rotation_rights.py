"""What `strongroom policy render` writes for who may rotate is enough to rotate on a real server, and not too much."""

from __future__ import annotations

import itertools
import json

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from commandline import Cli
from openbao import Server, development_server
from strongroom import SecretManager
from strongroom.errors import AccessDeniedError, RotationError
from strongroom.rotation.records import RecordLedger
from vaults import open_manager

ROTATION: Final[dict[str, Any]] = {"rotator": "password"}
RIGHTS: Final = {"rotator": ["read", "write", "rotate"], "reader": ["read"], "writer": ["read", "write"]}
MOUNTS: Final = {"1": "old", "2": "secret"}
FIRST: Final = {"db/app": "first", "db/root": "first", "api/key": "first"}


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # A lock of the host lies in the folder that a configuration without a file is for.
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with development_server(tmp_path_factory.mktemp("openbao")) as started:
        started.mount("old", "kv", options={"version": "1"})
        yield started


class Site:
    """Secrets on the server, and managers that log in with nothing but a rendered policy."""

    _NUMBERS: Final = itertools.count(1)

    def __init__(self, server: Server, cli: Cli, version: str) -> None:
        self._server, self._version = server, version
        self.prefix = f"site-{next(self._NUMBERS)}"
        self._policies: dict[str, str] = {}
        configuration = cli.folder / "rights.toml"
        tables = [
            f'[[policies]]\nprincipal = "{principal}"\neffect = "{effect}"\nactions = {json.dumps(actions)}\n'
            f"names = {json.dumps(names)}\n"
            for principal, actions in RIGHTS.items()
            for effect, names in (("allow", ["db/*"]), ("deny", ["db/root"]))
        ]
        head = (
            f'[backends.vault]\ntype = "vault"\naddress = "{server.address}"\n'
            f'auth = {{ method = "token", token = {{ env = "BAO_TOKEN" }} }}\nmount = "{MOUNTS[version]}"\n'
            f'kv_version = {version}\nprefix = "{self.prefix}"\n[rotation."db/*"]\nrotator = "password"\n'
        )
        configuration.write_text("\n".join([head, *tables]))
        for principal in RIGHTS:
            done = cli("--config", str(configuration), "policy", "render", "--for", "vault", "--principal", principal)
            assert (done.status, done.stderr) == (0, "")
            self._policies[principal] = done.stdout
        with self.manager("") as manager:
            for name, value in FIRST.items():
                manager.set(name, value)

    def manager(self, principal: str) -> SecretManager:
        """Return a manager that may on the server what a principal may by the policy; by root's token if empty."""
        if principal:
            self._server.policy(f"{self.prefix}-{principal}", self._policies[principal])
        token = self._server.new_token(f"{self.prefix}-{principal}") if principal else self._server.token
        alone = {"single_host": True} if self._version == "1" else {}
        return open_manager(
            self._server.address,
            token,
            mount=MOUNTS[self._version],
            kv_version=int(self._version),
            prefix=self.prefix,
            rotation=dict.fromkeys(FIRST, ROTATION | alone),
        )

    def read(self, name: str) -> str:
        """Return what the server has, asked past the managers."""
        path = f"{MOUNTS[self._version]}/{'data/' if self._version == '2' else ''}{self.prefix}/{name}"
        content: dict[str, Any] = self._server.ok("GET", path)["data"]
        content = content["data"] if self._version == "2" else content
        return str(content["value"])

    def records(self) -> list[str]:
        """Return the names below which records of rotations are."""
        middle = "metadata/" if self._version == "2" else ""
        path = f"{MOUNTS[self._version]}/{middle}{self.prefix}/.strongroom/rotation/db"
        status, found = self._server.call("LIST", path)
        return [] if status == 404 else list(found["data"]["keys"])

    def kept(self, name: str) -> list[int]:
        """Return the numbers of the versions of a record that have not been destroyed."""
        path = f"{MOUNTS[self._version]}/metadata/{self.prefix}/.strongroom/rotation/{name}"
        versions: dict[str, Any] = self._server.ok("GET", path)["data"]["versions"]
        return [int(number) for number, about in versions.items() if not about["destroyed"]]


@pytest.fixture(params=MOUNTS)
def site(request: pytest.FixtureRequest, server: Server, cli: Cli) -> Site:
    return Site(server, cli, request.param)


def left_at_promote(site: Site, name: str = "db/app") -> None:
    """Have a rotation stop before its promotion, begun by who may rotate."""

    def stops(*_: object) -> object:
        raise RotationError("it is stopped here")

    with pytest.MonkeyPatch.context() as patch, site.manager("rotator") as manager:
        patch.setattr(RecordLedger, "promote", stops)
        with pytest.raises(RotationError, match="it is stopped here"):
            manager.rotate(name)
    assert site.records() == ["app"]
    assert site.read(name) == "first"


def test_who_may_rotate_rotates(site: Site) -> None:
    with site.manager("rotator") as manager:
        for _ in range(2):
            before = site.read("db/app")
            assert manager.rotate("db/app").is_complete
            assert site.read("db/app") == manager.get("db/app").reveal_text() != before
        assert manager.rotation.status("db/app")[0].state == "idle"


def test_who_may_rotate_resumes(site: Site) -> None:
    left_at_promote(site)
    with site.manager("rotator") as manager:
        assert manager.rotation.resume("db/app").is_complete
        assert site.read("db/app") == manager.get("db/app").reveal_text() != "first"
        assert manager.rotation.status("db/app")[0].state == "idle"


def test_who_may_rotate_undoes(site: Site) -> None:
    left_at_promote(site)
    with site.manager("rotator") as manager:
        manager.rotation.undo("db/app")
        assert site.read("db/app") == "first"
        assert manager.rotation.status("db/app")[0].state == "idle"


def test_the_candidates_are_gone_from_the_history_of_the_record(server: Server, cli: Cli) -> None:
    site = Site(server, cli, "2")
    with site.manager("rotator") as manager:
        manager.rotate("db/app")
    assert len(site.kept("db/app")) == 1


@pytest.mark.parametrize("principal", ["reader", "writer"])
def test_who_may_not_rotate_neither_begins_nor_resumes_nor_undoes(principal: str, site: Site) -> None:
    with site.manager(principal) as manager, pytest.raises(AccessDeniedError):
        manager.rotate("db/app")
    assert site.records() == []
    left_at_promote(site)
    with site.manager(principal) as manager:
        for act in (manager.rotation.resume, manager.rotation.undo, manager.rotate):
            with pytest.raises(AccessDeniedError):
                act("db/app")
        assert manager.get("db/app").reveal_text() == "first"
    with site.manager("rotator") as manager:
        manager.rotation.undo("db/app")
    assert site.read("db/app") == "first"


@pytest.mark.parametrize("name", ["db/root", "api/key"])
def test_what_the_policy_does_not_name_is_not_rotated(name: str, site: Site) -> None:
    with site.manager("rotator") as manager, pytest.raises(AccessDeniedError):
        manager.rotate(name)
    assert site.read(name) == "first"
    assert site.records() == []
