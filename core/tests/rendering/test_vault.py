"""Policies for Vault allow what the rules allow, or say what they cannot."""

from __future__ import annotations

import itertools
import re

from collections.abc import Callable, Iterator

import pytest

from hypothesis import event, given, settings
from hypothesis import strategies as st

from strongroom.errors import ConfigurationError
from strongroom.policy import Action, Policy, Rule
from strongroom.rendering.vault import VaultTarget, render_vault

NOW = 1_000.0
LATER = 2_000.0


class Enforcer:
    """Decides as Vault documents it, on a policy's text."""

    def __init__(self, text: str) -> None:
        self.rules: dict[str, set[str]] = {}
        for path, capabilities in re.findall(r'^path "((?:[^"\\]|\\.)*)" {\n  capabilities = \[(.*)\]\n}$', text, re.M):
            written = re.sub(r"\\(.)", r"\1", path)
            assert written not in self.rules
            self.rules[written] = set(re.findall(r'"(\w+)"', capabilities))
        assert len(self.rules) == text.count("capabilities")

    def allows(self, capability: str, path: str) -> bool:
        """Tell whether a request is allowed; a folder that is listed ends with a slash."""
        found = self.rules.get(path)
        if found is None and capability == "list":
            found = self.rules.get(path.removesuffix("/"))
        if found is None:
            fitting = [rule for rule in self.rules if ("+" in rule or rule.endswith("*")) and fits(rule, path)]
            found = self.rules[max(fitting, key=priority)] if fitting else set()
        return capability in found and "deny" not in found


def fits(rule: str, path: str) -> bool:
    """Tell whether a path with wildcards matches."""
    open_ended = rule.endswith("*")
    pattern = "/".join("[^/]*" if part == "+" else re.escape(part) for part in rule.removesuffix("*").split("/"))
    return re.fullmatch(pattern + (".*" if open_ended else ""), path) is not None


def priority(rule: str) -> tuple[int, bool, int, int, str]:
    """What is compared, one after the other: the greatest wins."""
    first = min(at for at in (rule.find("+"), rule.find("*")) if at >= 0)
    return first, not rule.endswith("*"), -rule.count("+"), len(rule.encode()), rule


CAPABILITIES = {Action.READ: "read", Action.CREATE: "create", Action.UPDATE: "update", Action.DELETE: "delete"}


ON_KEYS = {
    Action.ENCRYPT: ["encrypt/{}", "rewrap/{}", "datakey/plaintext/{}"],
    Action.DECRYPT: ["decrypt/{}"],
    Action.SIGN: ["sign/{}"],
    Action.VERIFY: ["verify/{}"],
}
PATHS_OF_KEYS = [*ON_KEYS.items(), (Action.ROTATE, ["keys/{}/rotate"])]


def granted(policy: str | Enforcer, action: Action, name: str, version: int) -> bool:
    """Tell whether Vault lets the principal do what strongroom does for this action."""
    enforcer = Enforcer(policy) if isinstance(policy, str) else policy
    data, metadata = ("secret/data/", "secret/metadata/") if version == 2 else ("secret/", "secret/")
    if action is Action.LIST:
        folder, slash, _ = name.rpartition("/")
        return enforcer.allows("list", f"{metadata}{folder}{slash}")
    if action is Action.ROTATE:
        return enforcer.allows("update", data + name)
    allowed = enforcer.allows(CAPABILITIES[action], data + name)
    if action is Action.READ and version == 2:
        # Where something is lost, it may be lost in one of the two trees only.
        return allowed or enforcer.allows("read", metadata + name)
    return allowed


def rendered(policy: Policy, **target: object) -> str:
    """Return what is rendered, which has to be exact."""
    done = render_vault(policy, "app", VaultTarget(**target), now=NOW)  # type: ignore[arg-type]  # words of the test
    assert done.losses == ()
    return done.text


def test_a_policy_is_written_path_by_path(make_policy: Callable[..., Policy]) -> None:
    policy = make_policy(("allow", "read list", "app/**"), ("allow", "write rotate delete", "app/key"))
    assert rendered(policy) == (
        'path "secret/data/app/*" {\n  capabilities = ["read"]\n}\n\n'
        'path "secret/data/app/key" {\n  capabilities = ["create", "delete", "read", "update"]\n}\n\n'
        'path "secret/metadata/app/*" {\n  capabilities = ["list", "read"]\n}\n'
    )


def test_version_1_has_one_tree(make_policy: Callable[..., Policy]) -> None:
    policy = make_policy(("allow", "read list", "app/*"))
    assert rendered(policy, kv_version=1, mount="kv/team", prefix="prod/") == (
        'path "kv/team/prod/app/" {\n  capabilities = ["list"]\n}\n\n'
        'path "kv/team/prod/app/+" {\n  capabilities = ["read"]\n}\n'
    )


def test_a_broad_denial_wins_over_a_narrower_allowance_that_vault_would_prefer(
    make_policy: Callable[..., Policy],
) -> None:
    policy = make_policy(("allow", "read", "**"), ("deny", "read", "app/**"), ("allow", "read", "app/key"))
    text = rendered(policy)
    assert not granted(text, Action.READ, "app/key", 2)
    assert not granted(text, Action.READ, "app/other", 2)
    assert granted(text, Action.READ, "apple", 2)


def test_lengths_are_compared_in_bytes(make_policy: Callable[..., Policy]) -> None:
    """Two letters may be longer than three, and the longer of two paths decides."""
    text = rendered(make_policy(("allow", "read", "*/\u00e9\u00e9/*"), ("deny", "read", "*/*/abc")))
    assert granted(text, Action.READ, "x/\u00e9\u00e9/y", 2)
    assert not granted(text, Action.READ, "x/\u00e9\u00e9/abc", 2)


@pytest.mark.parametrize("names", [("*/*/abc", "*/abc/*"), ("*/abc/*", "*/*/abc")])
def test_nothing_rests_on_which_of_two_equal_paths_decides(
    make_policy: Callable[..., Policy], names: tuple[str, str]
) -> None:
    text = rendered(
        make_policy(("allow", "read", names[0]), ("allow", "read delete", names[1]), ("deny", "delete", names[0]))
    )
    assert not granted(text, Action.DELETE, "x/abc/abc", 2)
    assert granted(text, Action.READ, "x/abc/abc", 2)


def test_nothing_allowed_is_nothing_written(make_policy: Callable[..., Policy]) -> None:
    assert rendered(make_policy(("deny", "*", "**"), ("allow", "read", "a"))) == ""


def test_quotes_and_backslashes_are_escaped(make_policy: Callable[..., Policy]) -> None:
    text = rendered(make_policy(("allow", "read", 'a "b\\c')))
    assert 'path "secret/data/a \\"b\\\\c" {' in text
    assert granted(text, Action.READ, 'a "b\\c', 2)


def test_a_rule_that_has_expired_is_left_out(make_policy: Callable[..., Policy]) -> None:
    assert rendered(make_policy(("allow", "read", "a"), expires=NOW)) == ""


@pytest.mark.parametrize(
    ("rules", "reason", "allowed", "refused"),
    [
        ([("allow", "read", "a/**/b")], "before its end", ["a/x/b"], ["a/x/y/b", "a/b", "a/x/c"]),
        ([("allow", "read", "a/**"), ("deny", "read", "a/**/b")], "before its end", [], ["a/x/b", "a/c", "a/x/c"]),
        ([("allow", "read", "a/+")], "means something else", [], ["a/+", "a/x"]),
        ([("allow", "read", "{{x}}")], "means something else", [], ["{{x}}"]),
        ([("allow", "read", "a${b}")], "means something else", [], ["a${b}"]),
        ([("allow", "read", "a/*"), ("deny", "read", "a/+")], "means something else", [], ["a/+", "a/x"]),
        ([("allow", "rotate", "a")], "a rotation is an update", [], ["a"]),
        ([("allow", "read", "a/**"), ("deny", "read", "a/*/**")], "decides on", [], ["a/x/y"]),
    ],
)
def test_what_cannot_be_said_is_told_and_said_narrower(
    make_policy: Callable[..., Policy],
    rules: list[tuple[str, ...]],
    reason: str,
    allowed: list[str],
    refused: list[str],
) -> None:
    done = render_vault(make_policy(*rules), "app", VaultTarget(), now=NOW)
    assert any(reason in loss.reason for loss in done.losses)
    assert all(loss.rules for loss in done.losses)
    action = Action.ROTATE if "rotate" in rules[0] else Action.READ
    assert [granted(done.text, action, name, 2) for name in allowed] == [True] * len(allowed)
    assert [granted(done.text, action, name, 2) for name in refused] == [False] * len(refused)


def test_a_folder_whose_names_may_be_listed_in_part_is_not_listed(make_policy: Callable[..., Policy]) -> None:
    policy = make_policy(("allow", "list", "app/**"), ("deny", "list", "app/key"))
    done = render_vault(policy, "app", VaultTarget(), now=NOW)
    (loss,) = done.losses
    assert [rule.position for rule in loss.rules] == [1, 2]
    assert "all names of the folder secret/metadata/app/ or none" in loss.reason
    assert not granted(done.text, Action.LIST, "app/other", 2)
    assert granted(done.text, Action.LIST, "app/deep/other", 2)


def test_a_rule_that_expires_is_not_granted_and_one_that_denies_stays(make_policy: Callable[..., Policy]) -> None:
    allow, deny = (make_policy((effect, "read", "a"), expires=LATER).rules for effect in ("allow", "deny"))
    done = render_vault(Policy(allow), "app", VaultTarget(), now=NOW)
    assert (done.text, [loss.reason for loss in done.losses]) == ("", ["a Vault policy does not expire"])
    policy = Policy((*make_policy(("allow", "read", "**")).rules, *deny))
    done = render_vault(policy, "app", VaultTarget(), now=NOW)
    assert not granted(done.text, Action.READ, "a", 2)
    assert granted(done.text, Action.READ, "b", 2)
    assert len(done.losses) == 1


@pytest.mark.parametrize(
    "target", [{"mount": "a/+"}, {"mount": "a//b"}, {"prefix": "x*"}, {"mount": "{{x}}"}, {"transit": "+"}]
)
def test_a_mount_or_prefix_with_wildcards_is_refused(
    make_policy: Callable[..., Policy], target: dict[str, str]
) -> None:
    with pytest.raises(ConfigurationError, match="is not usable"):
        render_vault(make_policy(("allow", "read", "a")), "app", VaultTarget(**target), now=NOW)  # type: ignore[arg-type]  # see above


def test_what_is_done_with_keys_is_an_update_of_the_operation(make_policy: Callable[..., Policy]) -> None:
    policy = make_policy(("allow", "encrypt decrypt", "*"), ("allow", "sign verify", "docs"), ("deny", "decrypt", "hr"))
    assert rendered(policy, transit="keys/app") == "\n".join(
        f'path "keys/app/{path}" {{\n  capabilities = ["{capability}"]\n}}\n'
        for path, capability in [
            ("datakey/plaintext/+", "update"),
            ("decrypt/+", "update"),
            ("decrypt/hr", "deny"),
            ("encrypt/+", "update"),
            ("rewrap/+", "update"),
            ("sign/docs", "update"),
            ("verify/docs", "update"),
        ]
    )


def test_a_rotation_of_keys_is_said_even_where_one_of_secrets_is_lost(make_policy: Callable[..., Policy]) -> None:
    done = render_vault(make_policy(("allow", "rotate", "**")), "app", VaultTarget(), now=NOW)
    assert done.text == 'path "transit/keys/+/rotate" {\n  capabilities = ["update"]\n}\n'
    assert [loss.instead for loss in done.losses] == ["rotate is not granted"]


@pytest.mark.parametrize("name", ["app/key", "app/**/x", "a+b", "a b", "-a", "a.", "\u00e9", "{{x}}"])
def test_a_name_that_no_key_can_have_needs_no_word_and_loses_nothing(
    make_policy: Callable[..., Policy], name: str
) -> None:
    policy = make_policy(("allow", "encrypt decrypt sign verify", name), expires=LATER)
    assert rendered(policy) == ""


@pytest.mark.parametrize("name", ["a", "_", "A.b-c_d", "0"])
def test_a_name_that_a_key_can_have_is_written(make_policy: Callable[..., Policy], name: str) -> None:
    assert rendered(make_policy(("allow", "sign", name))) == (
        f'path "transit/sign/{name}" {{\n  capabilities = ["update"]\n}}\n'
    )


@pytest.mark.parametrize("target", [{"transit": "secret"}, {"transit": "secret/keys"}, {"mount": "transit/kv"}])
def test_engines_that_are_not_apart_are_refused(make_policy: Callable[..., Policy], target: dict[str, str]) -> None:
    with pytest.raises(ConfigurationError, match="not apart"):
        render_vault(make_policy(("allow", "sign", "a")), "app", VaultTarget(**target), now=NOW)  # type: ignore[arg-type]  # see above


def test_secrets_alone_may_be_where_a_transit_engine_is_by_default(make_policy: Callable[..., Policy]) -> None:
    assert rendered(make_policy(("allow", "read", "app/a")), mount="transit", kv_version=1) == (
        'path "transit/app/a" {\n  capabilities = ["read"]\n}\n'
    )


def test_rules_that_overlap_in_too_many_ways_are_refused(make_policy: Callable[..., Policy]) -> None:
    names = ["/".join("x" if at == one else "*" for at in range(12)) for one in range(12)]
    with pytest.raises(ConfigurationError, match="overlap in too many ways"):
        render_vault(make_policy(("allow", "read", *names)), "app", VaultTarget(), now=NOW)


SEGMENTS = ["a", "b"]
NAMES = ["/".join(parts) for length in (1, 2, 3, 4) for parts in itertools.product(["a", "b", "z"], repeat=length)]
PATTERNS = st.lists(st.sampled_from([*SEGMENTS, "*"]), max_size=3).flatmap(
    lambda parts: st.sampled_from(["**", "*", *SEGMENTS]).map(lambda last: "/".join([*parts, last]))
)
ANY_PATTERNS = PATTERNS | st.sampled_from(["**/a", "a/**/b", "a/**/b/**", "+/a", "a/+", "*/**/*"])
ACTIONS = sorted(set(Action) - {Action.IMPERSONATE}, key=lambda action: action.value)
ON_SECRETS = [action for action in ACTIONS if action not in ON_KEYS]


def rules(patterns: st.SearchStrategy[str], *, expiring: bool) -> st.SearchStrategy[tuple[Rule, ...]]:
    """Return a strategy of rule sets of one principal."""
    one = st.builds(
        Rule,
        id=st.uuids().map(str),
        principal=st.sampled_from(["app", "*", "other"]),
        allow=st.booleans(),
        actions=st.frozensets(st.sampled_from(ACTIONS), min_size=1),
        names=st.lists(patterns, min_size=1, max_size=2).map(tuple),
        expires=st.sampled_from([None, None, NOW, LATER]) if expiring else st.none(),
    )
    return st.lists(one, max_size=5).map(tuple)


def decided_on_keys(policy: Policy, now: float) -> Iterator[tuple[str, str, bool]]:
    """Yield each path of a key, the key's name, and what the rules say."""
    for (action, paths), name in itertools.product(PATHS_OF_KEYS, NAMES):
        for path in paths:
            yield f"transit/{path.format(name)}", name, policy.decide("app", action, name, now=now).allowed


@settings(max_examples=150, deadline=None)
@given(rules=rules(PATTERNS, expiring=False), version=st.sampled_from([1, 2]))
def test_what_is_rendered_without_loss_says_exactly_what_the_rules_say(rules: tuple[Rule, ...], version: int) -> None:
    policy = Policy(rules, enforced=True)
    done = render_vault(policy, "app", VaultTarget(kv_version=version), now=NOW)
    event(f"exact: {not done.losses}")
    if done.losses:
        return
    enforcer = Enforcer(done.text)
    for action, name in itertools.product(ON_SECRETS, NAMES):
        expected = policy.decide("app", action, name, now=NOW).allowed
        if action is Action.ROTATE:
            # Vault takes a rotation for an update: it allows one to whoever may update.
            expected = policy.decide("app", Action.UPDATE, name, now=NOW).allowed or expected
        assert granted(enforcer, action, name, version) is expected, (action, name)
        if action is Action.READ and version == 2:
            assert enforcer.allows("read", f"secret/data/{name}") is enforcer.allows("read", f"secret/metadata/{name}")
    for path, name, expected in decided_on_keys(policy, NOW):
        assert enforcer.allows("update", path) is (expected and "/" not in name), path


@settings(max_examples=150, deadline=None)
@given(rules=rules(ANY_PATTERNS, expiring=True), version=st.sampled_from([1, 2]))
def test_what_is_rendered_with_losses_never_allows_more_than_the_rules(rules: tuple[Rule, ...], version: int) -> None:
    policy = Policy(rules, enforced=True)
    done = render_vault(policy, "app", VaultTarget(kv_version=version), now=NOW)
    event(f"exact: {not done.losses}")
    enforcer = Enforcer(done.text)
    for path, _, expected in decided_on_keys(policy, NOW):
        assert not enforcer.allows("create", path), path
        assert expected or not enforcer.allows("update", path), path
    for action, name in itertools.product(ON_SECRETS, [*NAMES, "+/a", "a/+"]):
        if granted(enforcer, action, name, version):
            asked = Action.UPDATE if action is Action.ROTATE else action
            assert policy.decide("app", asked, name, now=NOW).allowed, (action, name)
            assert policy.decide("app", asked, name, now=LATER + 1).allowed, (action, name)


def test_who_may_rotate_gets_the_records_of_rotations_where_tables_lead_them() -> None:
    rules = (
        Rule(
            id="1",
            principal="r",
            allow=True,
            actions=frozenset({Action.READ, Action.UPDATE, Action.ROTATE}),
            names=("db/*",),
        ),
        Rule(id="2", principal="r", allow=True, actions=frozenset({Action.READ}), names=("api/*",)),
        Rule(id="3", principal="r", allow=False, actions=frozenset({Action.ROTATE}), names=("db/root",)),
    )
    target = VaultTarget(prefix="app", rotation=True)
    rendered = render_vault(Policy(rules), "r", target, now=NOW)
    server = Enforcer(rendered.text)
    for capability in ("read", "create", "update"):
        assert server.allows(capability, "secret/data/app/.strongroom/rotation/db/a")
        assert not server.allows(capability, "secret/data/app/.strongroom/rotation/db/root")
        assert not server.allows(capability, "secret/data/app/.strongroom/rotation/api/a")
    assert server.allows("read", "secret/metadata/app/.strongroom/rotation/db/a")
    assert server.allows("update", "secret/destroy/app/.strongroom/rotation/db/a")
    assert not server.allows("update", "secret/destroy/app/db/a")
    without = render_vault(Policy(rules), "r", target.replace(rotation=False), now=NOW)
    assert ".strongroom" not in without.text
    first = Enforcer(render_vault(Policy(rules), "r", target.replace(kv_version=1), now=NOW).text)
    assert first.allows("create", "secret/app/.strongroom/rotation/db/a")
    assert not first.allows("create", "secret/app/.strongroom/rotation/db/root")
