"""Listing an engine folder by folder, several at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Final, TypeVar

from strongroom.contracts import ListRequest, ListResult, Record
from strongroom.model import SecretName
from strongroom_vault.paths import Paths, canonical

AT_ONCE: Final = 8
"""How many requests of one operation run at the same time."""

Item = TypeVar("Item")
Found = TypeVar("Found")


class Folder(Record):
    """What is directly in one folder, as the server spells it."""

    names: tuple[str, ...] = ()
    """Secrets that can be read."""
    unsure: tuple[str, ...] = ()
    """Secrets that may be deleted: the server did not say."""
    folders: tuple[str, ...] = ()
    """Folders, without their final slash."""
    request_id: str | None = None


def listing(
    request: ListRequest, paths: Paths, look: Callable[[str], Folder], is_live: Callable[[str], bool]
) -> ListResult:
    """Return the names below a prefix, and folders that were not looked into.

    A name for which strongroom has another spelling is left out: nobody could read it.

    Args:
        request: What to list.
        paths: How names are spelt in the engine.
        look: Returns what is in a folder, given its path inside the engine, a slash at its end.
        is_live: Tells of the path of a secret whether it can be read.
    """
    before = f"{request.prefix}/" if request.prefix else ""
    pending = [before]
    names: list[SecretName] = []
    unsure: list[SecretName] = []
    left: list[SecretName] = []
    request_id = None
    while pending:
        found = at_once(lambda folder: look(paths.folder(folder.rstrip("/"))), pending)
        request_id = request_id or found[0].request_id
        below: list[SecretName] = []
        for folder, content in zip(pending, found, strict=True):
            names += _spelt(folder, content.names)
            unsure += _spelt(folder, content.unsure)
            below += _spelt(folder, content.folders)
        left = left if request.recursive else below
        pending = [f"{name}/" for name in below] if request.recursive else []
    lives = at_once(lambda name: is_live(paths.inside(name)), unsure)
    names += [name for name, lives_on in zip(unsure, lives, strict=True) if lives_on]
    return ListResult(names=tuple(sorted(names)), folders=tuple(sorted(left)), request_id=request_id)


def _spelt(folder: str, keys: Iterable[str]) -> list[SecretName]:
    names = (canonical(folder + key) for key in keys)
    return [name for name in names if name is not None and name.isprintable()]


def at_once(act: Callable[[Item], Found], items: Sequence[Item]) -> list[Found]:
    """Return what a function gives for each item, with a bounded number of threads for more than one."""
    if len(items) < 2:
        return [act(item) for item in items]
    with ThreadPoolExecutor(min(AT_ONCE, len(items)), thread_name_prefix="strongroom-vault-look") as threads:
        # Each with a copy of its own: how much time there is left is in the context.
        contexts = [copy_context() for _ in items]
        return list(threads.map(lambda context, item: context.run(act, item), contexts, items))
