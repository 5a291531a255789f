"""OpenBao enforces a rendered policy as strongroom decides."""

import json
import random

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from commandline import Cli
from openbao import Server, development_server
from strongroom.config.load import load_policy
from strongroom.policy import Action, Policy, Rule
from strongroom.rendering.result import Rendered
from strongroom.rendering.vault import VaultTarget, render_vault

NAMES = ["app", "app/key", "app/other", "app/db/key", "app/db/a b", "apple", "ci/key", "ci/x/y/key", 'odd/a"b\\c']
NAMES += ["x/key/key", "x/\u00e9\u00e9/abc"]
MOUNTS = {"1": ("old/", "old/"), "2": ("secret/data/", "secret/metadata/")}

KEYS = ["app", "apple", "ci"]
"""Keys of the transit engine; a secret may have the same name."""
ON_KEYS = {
    Action.ENCRYPT: ("encrypt/{}", "rewrap/{}", "datakey/plaintext/{}"),
    Action.DECRYPT: ("decrypt/{}",),
    Action.SIGN: ("sign/{}",),
    Action.VERIFY: ("verify/{}",),
}
ON_SECRETS = (Action.CREATE, Action.UPDATE, Action.READ, Action.LIST, Action.DELETE)
TRIPLES = 200

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
    "keys": [
        ("allow", ["encrypt", "decrypt"], ["*"]),
        ("allow", ["sign", "verify"], ["app", "ci/key"]),
        ("deny", ["decrypt"], ["app"]),
    ],
    "quotes": [("allow", ["read"], ['odd/a"b\\c', "app/db/a b"])],
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with development_server(tmp_path_factory.mktemp("bao")) as started:
        started.mount("old", "kv", options={"version": "1"})
        started.mount("transit", "transit")
        for key in KEYS:
            started.ok("POST", f"transit/keys/{key}")
        yield started


def token_for(server: Server, policy: str) -> str:
    """Return a token with one policy, and nothing else."""
    # A text without a path is no policy to the server, unless there is a comment.
    server.policy("rendered", policy or "# nothing")
    return server.new_token("rendered")


def allows(server: Server, token: str, version: str, action: Action, name: str) -> bool:
    """Return whether the server lets a token do something to a secret, found out by doing it."""
    data, metadata = MOUNTS[version]
    body: dict[str, Any] = {"data": {"value": "x"}}
    folder, slash, _ = name.rpartition("/")
    if action is Action.CREATE:
        server.call("DELETE", metadata + name)
    else:
        server.call("POST", data + name, body)
    method, path, content = {
        Action.CREATE: ("POST", data + name, body),
        Action.UPDATE: ("POST", data + name, body),
        Action.READ: ("GET", data + name, None),
        Action.LIST: ("LIST", f"{metadata}{folder}{slash}", None),
        Action.DELETE: ("DELETE", data + name, None),
    }[action]
    return server.call(method, path, content, token=token)[0] != 403


def allows_with_key(server: Server, token: str, action: Action, key: str) -> set[bool]:
    """Return what the server says to each request that an action with a key may need."""
    paths = ON_KEYS.get(action, ("keys/{}/rotate",))
    body = {"ciphertext": "x", "input": "", "plaintext": "", "signature": "x"}
    return {server.call("POST", f"transit/{path.format(key)}", body, token=token)[0] != 403 for path in paths}


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
    token = token_for(server, done.stdout)
    policy = load_policy(str(configuration))
    for name in NAMES:
        found = {action: allows(server, token, version, action, name) for action in ON_SECRETS}
        assert found == {action: policy.decide("app", action, name).allowed for action in found}, name
    for key in KEYS:
        for action in (*ON_KEYS, Action.ROTATE):
            expected = policy.decide("app", action, key).allowed
            assert allows_with_key(server, token, action, key) == {expected}, (action, key)


class Generated:
    """Policies, and questions about them, from a seed.

    Args:
        seed: Where the random numbers begin.
        whole: Whether rules may say what Vault has no words for.
    """

    PRINCIPALS = ("app", "ops", "ci-nightly")
    SAYABLE = (
        "app/key",
        "app/db/key",
        "app",
        "ci",
        "app/*",
        "app/**",
        "ci/**",
        "*",
        "*/key",
        "*/x/**",
        "**",
        "app/db/*",
    )
    BROAD = ("**", "**", "**", "*", "*", "app/**", "app/**")
    FURTHER = ("app/**/key", "**/key", "app/+", "*/**/x", "{{app}}/key", "app/${x}")

    def __init__(self, seed: int, *, whole: bool) -> None:
        self._random = random.Random(seed)
        self._whole = whole

    def policy(self, number: int) -> Policy:
        """Return a policy of two to five rules."""
        return Policy(tuple(self._rule(f"{number}.{at}") for at in range(self._random.randint(2, 5))), enforced=True)

    def _rule(self, id: str) -> Rule:
        patterns = self.SAYABLE * 2 + self.BROAD + (self.FURTHER if self._whole else ())
        actions = sorted(set(Action) - {Action.IMPERSONATE}, key=lambda action: action.value)
        expires = self._random.choice([*[None] * 7, 4e9]) if self._whole else None
        return Rule(
            id=id,
            principal=self._random.choice([*self.PRINCIPALS, "*", "*", "*", "ci-*"]),
            allow=self._random.random() < 0.8,
            actions=frozenset(self._random.sample(actions, self._random.randint(1, len(actions)))),
            names=tuple(self._random.sample(patterns, self._random.randint(1, 3))),
            expires=expires,
        )

    def principal(self) -> str:
        """Return one of the principals."""
        return self._random.choice(self.PRINCIPALS)

    def questions(self, number: int) -> Iterator[tuple[Action, str, bool]]:
        """Yield actions and names, and whether the name is that of a key."""
        for _ in range(number):
            if self._random.random() < 0.4:
                yield self._random.choice((*ON_KEYS, Action.ROTATE)), self._random.choice(KEYS), True
            else:
                yield self._random.choice(ON_SECRETS), self._random.choice(NAMES), False


def answers(
    server: Server, generated: Generated, *, exact: bool
) -> Iterator[tuple[tuple[str, Action, str], bool, set[bool]]]:
    """Yield each triple with our own decision and the server's answers, from policies that Vault can say or cannot."""
    number = asked = 0
    while asked < TRIPLES:
        number += 1
        policy, principal = generated.policy(number), generated.principal()
        version = str(1 + number % 2)
        target = VaultTarget(mount=MOUNTS[version][0].partition("/")[0], kv_version=int(version))
        rendered: Rendered = render_vault(policy, principal, target, now=0.0)
        if exact and rendered.losses:
            continue
        token = token_for(server, rendered.text)
        for action, name, is_key in generated.questions(8):
            asked += 1
            said = (
                allows_with_key(server, token, action, name)
                if is_key
                else {allows(server, token, version, action, name)}
            )
            yield (principal, action, name), policy.decide(principal, action, name, now=0.0).allowed, said


@pytest.mark.parametrize("seed", [1, 2])
def test_what_vault_can_say_the_server_decides_as_strongroom_does(server: Server, seed: int) -> None:
    """For 200 generated triples; that many are allowed, and many not, shows that they ask something."""
    seen: Counter[bool] = Counter()
    for triple, expected, said in answers(server, Generated(seed, whole=False), exact=True):
        assert said == {expected}, triple
        seen[expected] += 1
    assert seen.total() >= TRIPLES
    assert min(seen[True], seen[False]) >= TRIPLES // 5


@pytest.mark.parametrize("seed", [1, 2])
def test_the_server_never_allows_more_than_strongroom_does(server: Server, seed: int) -> None:
    """For 200 generated triples of any rules, those that end and those that Vault has no words for among them."""
    seen: Counter[tuple[bool, bool]] = Counter()
    for triple, expected, said in answers(server, Generated(seed, whole=True), exact=False):
        assert expected or said == {False}, triple
        seen[expected, True in said] += 1
    assert seen.total() >= TRIPLES
    # Neither is nothing allowed, nor nothing lost.
    assert seen[True, True] >= TRIPLES // 10
    assert seen[True, False] > 0
