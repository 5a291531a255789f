"""Settings at the top of the file that are neither names of plugins nor of people."""

from __future__ import annotations

from strongroom._record import Record
from strongroom.config.convert import Place, convert
from strongroom.config.merge import Merged
from strongroom.contracts.settings import Seconds
from strongroom.errors import ConfigurationError


class TopKeys(Record):
    """The settings, each with its default."""

    fallback: str | None = None
    """The backend that keeps copies of the others' secrets, and writes that wait for them; ``None`` for none."""
    state: str | None = None
    """The backend that keeps what detectors have learned; ``None`` if they forget it with the process."""
    state_every: Seconds = 60.0
    lock_memory: bool = False
    rotate_every: Seconds | None = None
    """How much time lies at most between two looks of a program for what is due to be rotated; ``None``: it does not
    look."""


def top_keys(merged: Merged) -> TopKeys:
    """Return what the files and variables say.

    Raises:
        ConfigurationError: A value is not usable.
    """
    given = {key: merged.settings[key,] for key in TopKeys._fields if (key,) in merged.settings}
    if not given:
        return TopKeys()
    places = {key: (merged.origins[key,].path, merged.origins[key,].folder) for key in given}
    file, folder = next(iter(places.values()))
    place = Place(file=file, table="", folder=folder, elsewhere=places)
    keys: TopKeys = convert(TopKeys, given, place)
    for key, seconds in (("state_every", keys.state_every), ("rotate_every", keys.rotate_every)):
        if seconds is not None and not seconds > 0:
            raise ConfigurationError(f"{place.key(key)} is not usable", hint="expected more than 0s")
    return keys
