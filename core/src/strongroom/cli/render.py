"""``policy render``: writes the policies for Vault or AWS."""

from __future__ import annotations

import argparse
import os
import sys

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from strongroom.cli.command import UsageError, note
from strongroom.cli.text import printable
from strongroom.config.load import has_rotation, load_backends, load_policy
from strongroom.errors import ConfigurationError, UnsupportedOperationError
from strongroom.model import SecretName
from strongroom.policy import Policy, principal_matches
from strongroom.rendering.lines import place_of
from strongroom.rendering.result import Loss, Rendered

if TYPE_CHECKING:
    from strongroom.rendering.aws_target import AwsTarget

_OWN: Final[dict[str, tuple[str, ...]]] = {
    "vault": ("mount", "kv_version", "transit"),
    "aws": ("region", "account", "partition"),
}
"""The options that only one target has."""
_ENDINGS: Final = {"vault": "hcl", "aws": "json"}

Renderer = Callable[[str], Rendered]


def render(config: str | None, options: argparse.Namespace, *, now: float) -> int:
    """Write each principal's policy, or say what cannot be written.

    Args:
        config: The configuration's path, if one was given.
        options: The command's options.
        now: The time, in seconds since 1970 UTC.

    Returns:
        The exit status.

    Raises:
        UnsupportedOperationError: The target has no words for some rule; nothing is written.
        UsageError: The options do not fit together.
        ConfigurationError: The configuration or the target is not usable.
    """
    policy = load_policy(config)
    principals = _principals(policy, options)
    table = _table(config, options.target)
    rotation = has_rotation(config)
    renderer = _renderer(policy, _settings(table, options), table, options.target, rotation=rotation, now=now)
    rendered = [renderer(principal) for principal in principals]
    losses = [(one, loss) for one in rendered for loss in one.losses]
    if losses and not options.narrow:
        raise _refusal(losses, options.target)
    for one, loss in losses:
        note(f"strongroom: narrowed for {printable(one.principal)}: {printable(_told(loss))}")
    _write(rendered, options)
    for one in rendered:
        for text in one.notes:
            note(f"strongroom: {printable(one.principal)}: {text}")
    return 0


def _principals(policy: Policy, options: argparse.Namespace) -> list[str]:
    if not policy.enforced:
        raise UsageError("there is no policy to render", hint="add [[policies]] to the configuration")
    named = options.principal or []
    for name in named:
        if "*" in name:
            raise UsageError(
                f"{name} stands for several principals, and other rules may tell them apart", hint="name each by itself"
            )
    found = list(dict.fromkeys(named or (rule.principal for rule in policy.rules if "*" not in rule.principal)))
    for name in named:
        if not any(principal_matches(rule.principal, name) for rule in policy.rules):
            note(f"strongroom: no policy speaks of {printable(name)}, who may do nothing: check how it is spelled")
    for rule in policy.rules if not named else ():
        if "*" in rule.principal:
            text = f"{place_of(rule)} speaks of {rule.principal}: name such principals with --principal"
            note(f"strongroom: {printable(text)}")
    if not found:
        raise UsageError("no rule names a principal exactly", hint="name some with --principal")
    if len(found) > 1 and not options.output:
        raise UsageError(
            f"there are {len(found)} principals", hint="name one with --principal, or a folder with --output"
        )
    return found


def _settings(table: dict[str, Any], options: argparse.Namespace) -> dict[str, Any]:
    """Return what is known of the target: the options, then what a backend of that kind says."""
    for target, names in _OWN.items():
        for name in names if target != options.target else ():
            if getattr(options, name) is not None:
                raise UsageError(f"--{name.replace('_', '-')} is not for {options.target}", hint=f"it is for {target}")
    names = (*_OWN[options.target], "prefix")
    told = {name: table[name] for name in names if name in table}
    given = {name: getattr(options, name) for name in names if getattr(options, name) is not None}
    # A setting may be a reference; what it leads to is not for an output.
    return {name: str(value) for name, value in (told | given).items() if isinstance(value, str | int)}


def _table(config: str | None, target: str) -> dict[str, Any]:
    """Return the table of the first backend of a kind; empty if there is none."""
    return next((table.table for table in load_backends(config).values() if table.type == target), {})


def _renderer(
    policy: Policy, settings: dict[str, Any], table: dict[str, Any], target: str, *, rotation: bool, now: float
) -> Renderer:
    if target == "vault":
        from strongroom.rendering.vault import VaultTarget, render_vault

        version = _version(settings.get("kv_version", 2))
        vault = VaultTarget(**settings | {"kv_version": version, "rotation": rotation})
        return lambda principal: render_vault(policy, principal, vault, now=now)
    from strongroom.rendering.aws import render_aws

    aws = _aws(settings, table)
    return lambda principal: render_aws(policy, principal, aws, now=now)


def _aws(settings: dict[str, Any], table: dict[str, Any]) -> AwsTarget:
    from strongroom.rendering.aws_target import AwsTarget, partition_of

    for name in ("region", "account"):
        if name not in settings:
            hint = f"name the {name}, or * for all, here or in the backend's table"
            raise UsageError(f"--{name} is missing", hint=hint)
    key = table.get("kms_key_id", "")
    replicas = _regions(table, "replicate")
    return AwsTarget(
        **{"partition": partition_of(settings["region"])} | settings,
        # What a reference leads to is not for an output.
        kms_key=key if isinstance(key, str) else "a reference",
        replicas=replicas,
        read_from=_regions(table, "replicas") if "replicas" in table else replicas,
        aliases=_aliases(table),
        tags=bool(table.get("tags")),
    )


def _regions(table: dict[str, Any], name: str) -> tuple[str, ...]:
    regions = table.get(name, [])
    if not isinstance(regions, list | tuple):
        raise ConfigurationError(f"{name} is not usable", hint="expected a list of regions")
    return tuple(map(str, regions))


def _aliases(table: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    arns = table.get("arns", {})
    if not isinstance(arns, dict):
        raise ConfigurationError("arns is not usable", hint="expected a table of names and ARNs")
    return tuple((str(SecretName(name)), str(arn)) for name, arn in arns.items())


def _version(value: Any) -> int:
    if str(value) not in ("1", "2"):
        raise UsageError("kv_version is neither 1 nor 2", hint="give --kv-version")
    return int(value)


def _told(loss: Loss) -> str:
    return f"{', '.join(map(place_of, loss.rules))}: {loss.reason}; {loss.instead}"


def _refusal(losses: list[tuple[Rendered, Loss]], target: str) -> UnsupportedOperationError:
    error = UnsupportedOperationError(
        f"{target} cannot say exactly what the policies say", hint="with --narrow less is written where that is so"
    )
    for one, loss in losses:
        error.add_note(f"{one.principal}: {', '.join(map(place_of, loss.rules))}: {loss.reason}")
    return error


def _write(rendered: list[Rendered], options: argparse.Namespace) -> None:
    texts = {one.principal: _head(one) + one.text if options.target == "vault" else one.text for one in rendered}
    if not options.output:
        sys.stdout.writelines(texts.values())
        return
    # Imported here: most policies are printed.
    from urllib.parse import quote

    from strongroom.cli.output import Access
    from strongroom.cli.placing import place

    folder = os.path.abspath(options.output)
    try:
        os.makedirs(folder, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(
            f"{folder} cannot be made: {error.strerror}", hint="choose another --output"
        ) from error
    ending = _ENDINGS[options.target]
    names = {principal: f"{quote(principal, safe='@+=,')}.{ending}" for principal in texts}
    files = {os.path.join(folder, name): texts[principal].encode() for principal, name in names.items()}
    place(files, dict.fromkeys(files, Access()))
    for name in names.values():
        note(f"wrote {printable(os.path.join(options.output, name))}")


def _head(one: Rendered) -> str:
    lines = [f"What {printable(one.principal)} may do. Made by `strongroom policy render`."]
    lines += [f"Narrowed: {printable(_told(loss))}" for loss in one.losses]
    lines += [] if one.text else ["No rule allows anything."]
    return "".join(f"# {line}\n" for line in lines) + "\n"
