"""The environment variables that hold strongroom's own secrets, so that no program it starts inherits them."""

from __future__ import annotations

import os

from collections.abc import Iterable, Iterator
from typing import Final

from strongroom.config.layers import Layer
from strongroom.config.load import Configuration
from strongroom.config.references import variables_in
from strongroom.discovery import Catalogue, Kind
from strongroom.errors import PluginError

MASTER_KEY: Final = "STRONGROOM_MASTER_KEY"
_SETTINGS: Final = tuple(
    f"strongroom_{part}"
    for part in ("backends", "telemetry", "cache", "anomaly", "audit", "alerts", "announcements", "rotation")
)
"""How variables begin, in small letters, whose value may be a setting that is a secret."""


def own_credentials(configuration: Configuration, *, tolerant: bool = False) -> set[str]:
    """Return the variables that hold strongroom's own secrets.

    These are all that a file of the configuration refers to, be it that another
    file or a variable overrides the setting; the variable that leads to systemd's
    credentials, if one of them is referred to; each that is itself a setting of a
    backend, the cache, telemetry, a detector or an audit sink; and those that open
    a configured backend without being mentioned.

    Args:
        configuration: The configuration in force.
        tolerant: Whether a configured backend whose plugin is missing or broken,
            and which cannot be opened for that reason, is passed over.

    Raises:
        PluginError: A configured backend is missing or broken, so nobody knows
            which variables open it.
    """
    found = {MASTER_KEY}
    # Whatever their case: one that is no setting for that reason was meant as one.
    found.update(variable for variable in os.environ if variable.lower().startswith(_SETTINGS))
    for layer in configuration.layers:
        found.update(variables_in(layer.content))
    in_force = {table.type for table in configuration.backends.values()}
    for kind in in_force:
        found.update(_credential_variables(kind, tolerant=tolerant))
    for kind in set(_types(configuration.layers)) - in_force:
        # Where a backend is overridden, its plugin need not be there.
        found.update(_credential_variables(kind, tolerant=True))
    return found


def _types(layers: Iterable[Layer]) -> Iterator[str]:
    """Yield the types of all backends that are configured anywhere."""
    for layer in layers:
        backends = layer.content.get("backends")
        for table in backends.values() if isinstance(backends, dict) else ():
            if isinstance(table, dict) and isinstance(table.get("type"), str):
                yield table["type"]


def _credential_variables(kind: str, *, tolerant: bool) -> tuple[str, ...]:
    try:
        variables: tuple[str, ...] = Catalogue().load(Kind.BACKEND, kind).credential_variables
    except PluginError as error:
        if tolerant:
            return ()
        raise PluginError(
            f"{error.what}, so it is not known which variables open it", code=error.code, hint=error.hint
        ) from error
    return variables
