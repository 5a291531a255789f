"""Rules as a policy of HashiCorp Vault or OpenBao."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from strongroom._record import Record
from strongroom.contracts.names import RESERVED
from strongroom.errors import ConfigurationError
from strongroom.policy import Action, Policy, Rule, name_pattern
from strongroom.rendering.result import Claim, Loss, Rendered, rules_of
from strongroom.rendering.vault_tree import Tree

_SPECIAL: Final = ("+", "*", "{{", "}}", "${", "%{")
"""What means something in a path, in a templated policy or in HCL."""
_DATA: Final = {Action.READ: "read", Action.CREATE: "create", Action.UPDATE: "update", Action.DELETE: "delete"}
_METADATA: Final = {Action.READ: "read"}
_RECORD: Final = {Action.READ: "read", Action.CREATE: "create", Action.UPDATE: "update"}
_ON_RECORDS: Final = frozenset(_RECORD)
_RECORDS: Final = (RESERVED, "rotation")
"""What stands before a secret's name in that of the record of its rotation."""
_ON_SECRETS: Final = frozenset({*_DATA, Action.LIST, Action.ROTATE})
_ON_KEYS: Final = (
    ("encrypt", Action.ENCRYPT),
    ("rewrap", Action.ENCRYPT),
    ("datakey/plaintext", Action.ENCRYPT),
    ("decrypt", Action.DECRYPT),
    ("sign", Action.SIGN),
    ("verify", Action.VERIFY),
)
"""What stands before a key's name in the transit engine, and the action that it is for."""
_KEY_ACTIONS: Final = frozenset({*(action for _, action in _ON_KEYS), Action.ROTATE})


class VaultTarget(Record):
    """Where in Vault the names are."""

    mount: str = "secret"
    """The path of the key-value engine."""
    kv_version: int = 2
    """1 or 2."""
    prefix: str = ""
    """Whole segments that stand before each secret's name."""
    transit: str = "transit"
    """The path of the engine whose keys the names are for encrypting and signing."""
    rotation: bool = False
    """Whether ``[rotation]`` tables rotate the names, so that who may rotate needs the records of that, too."""

    @property
    def mount_segments(self) -> tuple[str, ...]:
        """The segments of the mount.

        Raises:
            ConfigurationError: It is no path of plain segments.
        """
        return _plain(self.mount, "mount")

    @property
    def prefix_segments(self) -> tuple[str, ...]:
        """The segments of the prefix.

        Raises:
            ConfigurationError: It is no path of plain segments.
        """
        return _plain(self.prefix, "prefix") if self.prefix else ()

    @property
    def transit_segments(self) -> tuple[str, ...]:
        """The segments of the transit engine's path.

        Raises:
            ConfigurationError: It is no path of plain segments.
        """
        return _plain(self.transit, "transit")

    def ensure_apart(self) -> None:
        """Refuse two engines of which one would be inside the other.

        Raises:
            ConfigurationError: They are such.
        """
        mount, transit = self.mount_segments, self.transit_segments
        if mount[: len(transit)] == transit or transit[: len(mount)] == mount:
            raise ConfigurationError(
                f"the mount {self.mount!r} and the transit engine {self.transit!r} are not apart",
                hint="expected two engines, neither inside the other",
            )


def _plain(path: str, what: str) -> tuple[str, ...]:
    segments = tuple(path.strip("/").split("/"))
    if not all(segments) or not all(map(_sayable, segments)):
        raise ConfigurationError(f"the {what} {path!r} is not usable", hint="expected segments without wildcards")
    return segments


def _sayable(segment: str) -> bool:
    return not any(special in segment for special in _SPECIAL)


def render_vault(policy: Policy, principal: str, target: VaultTarget, *, now: float) -> Rendered:
    """Write what a principal may do as a Vault policy.

    A read is ``read`` on the secret and on its metadata, where its versions are; a
    listing is ``list`` on the folder. A deletion is ``delete`` on the secret: it hides
    the latest version and can be undone, and no right to destroy is ever given. A
    rotation is an update, since Vault knows nothing else; one that a ``[rotation]`` table
    leads takes the rights to read and to update the secret, and, which is given with
    ``rotate``, those to its record. What is done with keys is
    ``update`` on the operation of the transit engine, which makes no key; such a key's
    name is one segment, so that names of several have no part in it.

    Args:
        policy: The policy.
        principal: The principal's name.
        target: Where in Vault the names are.
        now: The time, in seconds since 1970 UTC; rules that have expired are left out.

    Returns:
        The policy in HCL. Where there are losses, it allows less than the rules.

    Raises:
        ConfigurationError: Mount or prefix are no plain paths, or the rules overlap in too many ways.
    """
    claims: list[Claim] = []
    keys: list[Claim] = []
    losses: list[Loss] = []
    for rule in rules_of(policy, principal, now):
        on_keys = list(_key_claims(rule))
        if (on_keys or rule.actions & _ON_SECRETS) and not _lasts(rule, losses):
            continue
        claims += _claims(rule, losses)
        keys += on_keys
    granted: dict[str, frozenset[str]] = {}
    for tree in (*_trees(target, claims), *_key_trees(target, keys)):
        found, missing = tree.solve()
        granted |= found
        losses += missing
    return Rendered(principal=principal, text=_hcl(granted), losses=tuple(losses))


def _trees(target: VaultTarget, claims: list[Claim]) -> Iterator[Tree]:
    mount, prefix = target.mount_segments, target.prefix_segments
    if target.kv_version == 1:
        yield Tree((*mount, *prefix), claims, names=_DATA, folders=True)
    else:
        yield Tree((*mount, "data", *prefix), claims, names=_DATA, folders=False)
        yield Tree((*mount, "metadata", *prefix), claims, names=_METADATA, folders=True)
    if target.rotation:
        yield from _record_trees(target, claims)


def _record_trees(target: VaultTarget, claims: list[Claim]) -> Iterator[Tree]:
    """Yield what whoever may rotate needs of the records beside the secrets, whose history is destroyed in the end."""
    mount, below = target.mount_segments, (*target.prefix_segments, *_RECORDS)
    records = [claim.replace(actions=_ON_RECORDS) for claim in claims if Action.ROTATE in claim.actions]
    if target.kv_version == 1:
        yield Tree((*mount, *below), records, names=_RECORD)
        return
    yield Tree((*mount, "data", *below), records, names=_RECORD)
    yield Tree((*mount, "metadata", *below), records, names=_METADATA)
    yield Tree((*mount, "destroy", *below), records, names={Action.UPDATE: "update"})


def _key_trees(target: VaultTarget, claims: list[Claim]) -> Iterator[Tree]:
    transit = target.transit_segments
    if claims:
        target.ensure_apart()
    for operation, action in _ON_KEYS:
        yield Tree((*transit, *operation.split("/")), claims, names={action: "update"})
    yield Tree((*transit, "keys"), claims, names={Action.ROTATE: "update"}, behind=("rotate",))


def _lasts(rule: Rule, losses: list[Loss]) -> bool:
    """Tell whether a rule has a part in a policy that lasts for ever."""
    if rule.expires is None:
        return True
    instead = "nothing of it is granted" if rule.allow else "it is denied for good"
    losses.append(Loss(rules=(rule,), reason="a Vault policy does not expire", instead=instead))
    return not rule.allow


def _key_claims(rule: Rule) -> Iterator[Claim]:
    """Yield what a rule says of keys. Every word of it can be said, since a key's name is one plain segment."""
    actions = rule.actions & _KEY_ACTIONS
    for text in rule.names if actions else ():
        segment, *further = name_pattern(text)
        if not further and (segment in ("*", "**") or _is_key(segment)):
            yield Claim(rule=rule, actions=actions, pattern=("*" if segment == "**" else segment,))


def _is_key(segment: str) -> bool:
    """Tell whether the transit engine can have a key of this name."""
    words = [part for part in segment.replace("-", ".").split(".") if part]
    plain = segment.isascii() and all(part.replace("_", "a").isalnum() for part in words)
    return plain and bool(words) and segment[0] not in ".-" and segment[-1] not in ".-"


def _claims(rule: Rule, losses: list[Loss]) -> Iterator[Claim]:
    """Yield what a rule says of secrets as far as Vault has words, denying more or allowing less where it has none."""
    actions = rule.actions & _ON_SECRETS
    for text in rule.names if actions else ():
        pattern: tuple[str, ...] | None = name_pattern(text)
        for step in (_without_special, _without_inner):
            pattern = step(rule, pattern, losses) if pattern else None
        if pattern:
            yield Claim(rule=rule, actions=actions, pattern=pattern)


def _without_special(rule: Rule, pattern: tuple[str, ...], losses: list[Loss]) -> tuple[str, ...] | None:
    """Replace segments that mean something to Vault, which only a rule that denies can afford."""
    special = [segment for segment in pattern if segment not in ("*", "**") and not _sayable(segment)]
    if not special:
        return pattern
    wider = tuple("*" if segment in special else segment for segment in pattern)
    instead = "it is not granted" if rule.allow else f"{'/'.join(wider)} is denied"
    reason = f"{special[0]!r} in {'/'.join(pattern)} means something else in a Vault policy"
    losses.append(Loss(rules=(rule,), reason=reason, instead=instead))
    return None if rule.allow else wider


def _without_inner(rule: Rule, pattern: tuple[str, ...], losses: list[Loss]) -> tuple[str, ...]:
    """Replace each ``**`` that is not at the end: by one segment if the rule allows, else by all that is below."""
    at = pattern.index("**") if "**" in pattern else len(pattern)
    if at >= len(pattern) - 1:
        return pattern
    single = (*("*" if segment == "**" else segment for segment in pattern[:-1]), pattern[-1])
    changed = single if rule.allow else pattern[: at + 1]
    reason = f"{'/'.join(pattern)} has ** before its end, and Vault takes any depth only at the end of a path"
    instead = f"{'/'.join(changed)} is {'granted' if rule.allow else 'denied'}"
    losses.append(Loss(rules=(rule,), reason=reason, instead=instead))
    return changed


def _hcl(granted: dict[str, frozenset[str]]) -> str:
    blocks = [
        f"path {_quoted(path)} {{\n  capabilities = [{', '.join(map(_quoted, _ordered(capabilities)))}]\n}}\n"
        for path, capabilities in sorted(granted.items())
    ]
    return "\n".join(blocks)


def _ordered(capabilities: Iterable[str]) -> list[str]:
    # Without a capability, a path would be no valid one: that is what `deny` is for.
    return sorted(capabilities) or ["deny"]


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
