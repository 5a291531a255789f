"""The tables ``[[announcements]]``: who is told of rotations and changes outside the process."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from strongroom._record import Record
from strongroom.config.convert import suggestion
from strongroom.config.merge import Item
from strongroom.config.policies import checked_pattern
from strongroom.config.targets import CommandSettings, WebhookSettings, target_settings
from strongroom.errors import ConfigurationError

EVENTS: Final = ("secret_updated", "rotation_started", "rotation_failed", "rotation_due", "expiring")


class AnnouncementKeys(Record):
    """Which announcements a table wants."""

    events: list[str] | None = None
    """Only these; all unless given."""
    names: list[str] | None = None
    """Only about names that fit one of these patterns; about all unless given."""


class AnnouncementTable(Record):
    """One ``[[announcements]]`` table."""

    label: str
    """What warnings call it: its place in the file and its type."""
    settings: CommandSettings | WebhookSettings
    keys: AnnouncementKeys = AnnouncementKeys()


def announcement_tables(items: Sequence[Item]) -> tuple[AnnouncementTable, ...]:
    """Return the tables, checked.

    Args:
        items: The tables as the files have them.

    Raises:
        ConfigurationError: One is not usable.
    """
    return tuple(_table(item) for item in items)


def _table(item: Item) -> AnnouncementTable:
    settings, keys, place = target_settings(item, "announcements", AnnouncementKeys)
    for event in keys.events or ():
        if event not in EVENTS:
            raise ConfigurationError(
                f"{place.key('events')} names {event!r}, which is nothing that is announced",
                hint=suggestion(event, EVENTS),
            )
    for pattern in keys.names or ():
        checked_pattern(pattern, place.key("names"))
    return AnnouncementTable(label=f"{place.table} ({settings.type})", settings=settings, keys=keys)
