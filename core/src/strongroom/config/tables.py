"""A table whose keys are a plugin's settings, wholly or in part."""

from __future__ import annotations

from typing import Any, TypeVar

from strongroom._record import Record
from strongroom.config.convert import Place, convert

Keys = TypeVar("Keys", bound=Record)


class PluginTable(Record):
    """A table whose ``type`` names a plugin and whose other keys are that plugin's settings."""

    name: str
    """A backend's configured name; for others, the type."""
    type: str
    table: dict[str, Any]
    place: Place
    from_text: tuple[str, ...] = ()

    def settings(self, settings: Any) -> Any:
        """Return the plugin's settings object.

        Args:
            settings: The class that the plugin's specification names.

        Raises:
            ConfigurationError: The table does not fit the plugin's settings.
        """
        return convert(settings, self.table, self.place, text_origin=self.from_text)


def split(table: PluginTable, own: type[Keys]) -> tuple[Keys, dict[str, Any]]:
    """Return the core's keys of a table, and the keys and values that are the plugin's.

    Args:
        table: The table.
        own: The class of the core's keys.

    Raises:
        ConfigurationError: One of the core's keys is not usable.
    """
    mine = {key: value for key, value in table.table.items() if key in own._fields}
    keys: Keys = convert(own, mine, table.place, text_origin=table.from_text)
    return keys, {key: value for key, value in table.table.items() if key not in mine}
