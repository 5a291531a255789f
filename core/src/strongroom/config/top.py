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
    if not keys.state_every > 0:
        raise ConfigurationError(f"{place.key('state_every')} is not usable", hint="expected more than 0s")
    return keys
