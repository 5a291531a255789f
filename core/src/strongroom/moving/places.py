"""The two ends of a move: a configured backend and a folder in it."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from strongroom._record import Record
from strongroom.config.convert import suggestion
from strongroom.config.load import Configuration
from strongroom.config.resilience import Resilience
from strongroom.config.tables import PluginTable
from strongroom.contracts.names import refuse_reserved
from strongroom.errors import ConfigurationError
from strongroom.model import SecretName

_CACHED = 64
"""How many answers a manager for a move keeps at most, although none of them serves."""


class Place(Record):
    """A configured backend, and a folder in it."""

    backend: str
    folder: str = ""
    """Without its final slash; empty for all that the backend holds."""

    @property
    def label(self) -> str:
        """The place as it is written on the command line."""
        return f"{self.backend}:{self.folder}/" if self.folder else self.backend

    def name_of(self, rest: str) -> SecretName:
        """Return the whole name of what is called so below the folder.

        Raises:
            InvalidNameError: Together that is no name, as it is too long, or one that is reserved.
        """
        name = SecretName(self.label_of(rest))
        refuse_reserved(name)
        return name

    def label_of(self, rest: str) -> str:
        """Return the same for people and programs to read, whether or not it is a name."""
        return f"{self.folder}/{rest}" if self.folder else rest

    def rest_of(self, name: SecretName) -> str:
        """Return what a name below the folder is called there."""
        return name[len(self.folder) + 1 :] if self.folder else str(name)


def parse_place(text: str, backends: Collection[str]) -> Place:
    """Return the place that an argument means: ``BACKEND`` or ``BACKEND:FOLDER/``.

    Args:
        text: The argument.
        backends: The configured names.

    Raises:
        ConfigurationError: There is no such backend.
        InvalidNameError: The folder is not one of names.
    """
    # The whole text first: nothing keeps a backend's name from having a colon in it.
    backend, _, folder = (text, "", "") if text in backends else text.partition(":")
    if backend not in backends:
        raise ConfigurationError(f"there is no backend {backend!r}", hint=suggestion(backend, backends))
    if not folder:
        return Place(backend=backend)
    name = SecretName(folder.removesuffix("/"))
    refuse_reserved(name)
    return Place(backend=backend, folder=name)


def refuse_overlap(source: Place, target: Place, backends: Mapping[str, PluginTable]) -> None:
    """Refuse two places of which one lies within the other.

    Args:
        source: Where from.
        target: Where to.
        backends: The configured ones; two with the same settings are the same place, unless there are none.

    Raises:
        ConfigurationError: They do.
    """
    here, there = backends[source.backend], backends[target.backend]
    is_alias = bool(here.table) and (here.type, here.table) == (there.type, there.table)
    if source.backend != target.backend and not is_alias:
        return
    one, other = f"{source.folder}/".lstrip("/"), f"{target.folder}/".lstrip("/")
    if one.startswith(other) or other.startswith(one):
        raise ConfigurationError(
            f"{source.label} and {target.label} overlap", hint="name two folders that lie beside each other"
        )


def configuration_at(configuration: Configuration, backend: str) -> Configuration:
    """Return a configuration in which every name is kept by one backend and nothing stands in for it.

    Policy, detectors and audit stay as they are. There are no routes, no cache, no fallback store and no queue, so
    what is read is what the backend holds now, and what is written is there or has failed.

    Args:
        configuration: The one that is in force.
        backend: The configured name.
    """
    cache = configuration.cache.replace(name="none", type="none", table={}, from_text=())
    return configuration.replace(
        default_backend=backend,
        routes=(),
        cache=cache,
        max_entries=_CACHED,
        resilience=Resilience(configuration.resilience.keys),
    )
