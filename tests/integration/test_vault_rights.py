"""The rights that the documentation asks for are enough, one operation each, and none of them is idle."""

from __future__ import annotations

import re

from collections.abc import Callable, Iterator
from typing import Any, Final

import pytest

from _workspace import ROOT
from openbao import Server, development_server
from strongroom import ABSENT, SecretManager
from strongroom.errors import AccessDeniedError
from vaults import open_manager

NAME: Final = "shop/db/password"
PAGE: Final = ROOT / "docs/how-to/vault.md"
ROW: Final = re.compile(r"^\| ([^|]+) \| ((?:also )?`secret/[^|]+) \| (`[^|]+) \|$", re.MULTILINE)

Work = Callable[[SecretManager], object]

OPERATIONS: Final[dict[str, tuple[Work, ...]]] = {
    "read, also an older version": (
        lambda manager: manager.get(NAME),
        lambda manager: manager.get(NAME, version="1"),
    ),
    "write": (
        lambda manager: manager.set(NAME, "v"),
        lambda manager: manager.set("shop/new", "v", expect_version=ABSENT),
    ),
    "write over an expected version": (lambda manager: manager.set(NAME, "v", expect_version="2"),),
    "delete": (lambda manager: manager.delete(NAME),),
    "list": (lambda manager: manager.list("shop"), lambda manager: manager.browse("shop")),
    "the same with fewer requests (OpenBao)": (lambda manager: manager.list("shop"),),
    "list versions, show notes": (
        lambda manager: manager.versions(NAME),
        lambda manager: manager.describe(NAME),
    ),
    "note something": (lambda manager: manager.annotate(NAME, {"owner": "shop"}),),
    "undelete": (lambda manager: manager.undelete("shop/deleted"),),
    "destroy versions": (lambda manager: manager.destroy(NAME, ["1"]),),
    "destroy a secret as a whole": (lambda manager: manager.destroy(NAME),),
}


def documented() -> dict[str, dict[str, set[str]]]:
    """Return what the page asks for: capabilities by path, for each operation."""
    found: dict[str, dict[str, set[str]]] = {}
    for operation, path, capabilities in ROW.findall(PAGE.read_text()):
        # "as above" refers to what looking at a secret's state takes.
        needed = {re.findall(r"`([^`]+)`", path)[0]: set(re.findall(r"`(\w+)`", capabilities))}
        if operation == "write over an expected version":
            needed = {"secret/data/shop/*": {"create", "update"}, "secret/metadata/shop/*": {"read"}}
        if operation == "undelete":
            needed = {"secret/undelete/shop/*": {"update"}, "secret/metadata/shop/*": {"read"}}
        found[operation] = needed
    return found


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with development_server(tmp_path_factory.mktemp("openbao")) as started:
        yield started


@pytest.fixture(autouse=True)
def _secrets(server: Server) -> None:
    """Two versions of one secret, and another one that is deleted."""
    for path in ("metadata/shop/deleted", "metadata/shop/new", f"metadata/{NAME}"):
        server.call("DELETE", f"secret/{path}")
    for path in (NAME, NAME, "shop/deleted"):
        server.ok("POST", f"secret/data/{path}", {"data": {"value": "content"}})
    server.ok("DELETE", "secret/data/shop/deleted")


def attempt(server: Server, rights: dict[str, set[str]], work: Work) -> None:
    text = "\n".join(
        f'path "{path}" {{ capabilities = [{", ".join(map(quoted, sorted(capabilities)))}] }}'
        for path, capabilities in rights.items()
        if capabilities
    )
    server.policy("documented", text or 'path "nothing" { capabilities = ["read"] }')
    with open_manager(server.address, server.new_token("documented")) as manager:
        work(manager)


def quoted(text: str) -> str:
    return f'"{text}"'


def test_each_row_is_tried() -> None:
    assert documented().keys() == OPERATIONS.keys()


@pytest.mark.parametrize("operation", OPERATIONS)
def test_the_documented_rights_are_enough(operation: str, server: Server) -> None:
    for work in OPERATIONS[operation]:
        attempt(server, documented()[operation], work)


@pytest.mark.parametrize("operation", [name for name in OPERATIONS if name != "write over an expected version"])
def test_without_any_right_it_is_denied(operation: str, server: Server) -> None:
    for work in OPERATIONS[operation]:
        with pytest.raises(AccessDeniedError):
            attempt(server, {}, work)


def test_the_secret_s_own_right_to_read_does_for_an_expected_version(server: Server) -> None:
    rights = {"secret/data/shop/*": {"update", "read"}}
    attempt(server, rights, OPERATIONS["write over an expected version"][0])


def idle(server: Server, operation: str, path: str, capability: str) -> bool:
    rights: dict[str, Any] = {one: set(capabilities) for one, capabilities in documented()[operation].items()}
    rights[path].discard(capability)
    try:
        for work in OPERATIONS[operation]:
            attempt(server, rights, work)
    except AccessDeniedError:
        return False
    return True


@pytest.mark.parametrize(
    "operation",
    # What these need less of they make up for: a list tells deleted names apart, a write looks before.
    [name for name in OPERATIONS if name not in {"list", "write over an expected version"}],
)
def test_no_documented_right_is_idle(operation: str, server: Server) -> None:
    rights = documented()[operation]
    found = [
        f"{one} on {path}" for path in rights for one in sorted(rights[path]) if idle(server, operation, path, one)
    ]
    assert found == []
