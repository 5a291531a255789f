"""What lies directly below a folder: the names, and the folders that one may look into."""

from __future__ import annotations

from collections.abc import Iterator

from strongroom._record import Record
from strongroom.contracts.backend import ListRequest, ListResult
from strongroom.model import SecretName
from strongroom.policy import Action
from strongroom.stages.gate import Gate
from strongroom.wiring import Parts


class Folder(Record):
    """One level of names."""

    prefix: str
    """The folder that this is; empty for the root."""
    names: tuple[SecretName, ...]
    """The secrets directly in it that the principal may list, sorted."""
    folders: tuple[SecretName, ...]
    """The folders directly in it, by their whole names, in which the principal may list something, sorted."""


class Look(Record):
    """A folder, and which requests have found out what is in it."""

    folder: Folder
    request_ids: tuple[str, ...]


def look_into(parts: Parts, gate: Gate, folder: str) -> Look:
    """Return what a principal may see directly below a folder.

    A backend that says what is deeper, too, is welcome to; one that does not is asked no further.

    Args:
        parts: The stages of the manager.
        gate: Decides what the principal may do.
        folder: The folder's canonical name; empty for the root.

    Raises:
        UnsupportedOperationError: A backend that may hold such names cannot list.
    """
    names: set[SecretName] = set()
    folders = set(_routed_folders(parts, gate, folder))
    request_ids = []
    for backend in _asked(parts, folder):
        listed = parts.backend(backend).list(ListRequest(prefix=folder, recursive=False))
        request_ids.append(listed.request_id)
        visible = [
            name for name in listed.names if parts.routing.of(name) == backend and gate.permits(Action.LIST, name)
        ]
        names.update(name for name in visible if _child(folder, name) == name)
        folders.update(_child(folder, name) for name in visible if _child(folder, name) != name)
        folders.update(_unseen_folders(parts, gate, backend, listed))
    found = Folder(prefix=folder, names=tuple(sorted(names)), folders=tuple(sorted(folders)))
    return Look(folder=found, request_ids=tuple(one for one in request_ids if one))


def _asked(parts: Parts, folder: str) -> list[str]:
    """Return the backends that may hold names directly below a folder."""
    routes = parts.configuration.routes
    below = [backend for prefix, backend in routes if prefix.rpartition("/")[0] == folder]
    return list(dict.fromkeys([parts.routing.home_of(folder), *below]))


def _unseen_folders(parts: Parts, gate: Gate, backend: str, listed: ListResult) -> Iterator[SecretName]:
    """Yield the folders that a backend has not looked into, and from which names are read from this backend."""
    for folder in listed.folders:
        if backend in parts.routing.below(folder) and gate.permits_below(Action.LIST, folder):
            yield folder


def _routed_folders(parts: Parts, gate: Gate, folder: str) -> Iterator[SecretName]:
    """Yield the folders that are there because a route begins in them."""
    for prefix, _ in parts.configuration.routes:
        if prefix != folder and SecretName(prefix).is_below(folder) and gate.permits_below(Action.LIST, prefix):
            yield _child(folder, prefix)


def _child(folder: str, name: str) -> SecretName:
    """Return what of a name that lies below a folder is directly below it."""
    start = len(folder) + 1 if folder else 0
    end = name.find("/", start)
    return SecretName(name if end < 0 else name[:end])
