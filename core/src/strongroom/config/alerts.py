"""The tables ``[[alerts]]``: who is told of alerts outside the process."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from strongroom._record import Record
from strongroom.config.convert import suggestion
from strongroom.config.merge import Item
from strongroom.config.targets import CommandSettings, WebhookSettings, target_settings
from strongroom.errors import ConfigurationError


class AlertKeys(Record):
    """Which alerts a table wants."""

    detectors: list[str] | None = None
    """Only alerts of detectors of these types; all unless given."""
    only_blocked: bool = False
    """Only alerts about accesses that were blocked."""


class AlertTable(Record):
    """One ``[[alerts]]`` table."""

    label: str
    """What warnings call it: its place in the file and its type."""
    settings: CommandSettings | WebhookSettings
    keys: AlertKeys = AlertKeys()


def alert_tables(items: Sequence[Item], detectors: Collection[str]) -> tuple[AlertTable, ...]:
    """Return the tables, checked.

    Args:
        items: The tables as the files have them.
        detectors: The types of the configured detectors.

    Raises:
        ConfigurationError: One is not usable.
    """
    return tuple(_table(item, detectors) for item in items)


def _table(item: Item, detectors: Collection[str]) -> AlertTable:
    settings, keys, place = target_settings(item, "alerts", AlertKeys)
    for detector in keys.detectors or ():
        if detector not in detectors:
            raise ConfigurationError(
                f"{place.key('detectors')} names {detector!r}, which is no configured detector",
                hint=suggestion(detector, detectors),
            )
    return AlertTable(label=f"{place.table} ({settings.type})", settings=settings, keys=keys)
