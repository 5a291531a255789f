"""The subscribers that tables of the configuration name, such as ``[[alerts]]``."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING, Protocol, TypeVar

from strongroom.credentials import own_credentials
from strongroom.events.delivery import Delivery, Subscriber, Wording
from strongroom.events.targets import target_of

if TYPE_CHECKING:
    from strongroom.config.load import Configuration
    from strongroom.config.targets import CommandSettings, WebhookSettings

Message = TypeVar("Message")
Keys = TypeVar("Keys", covariant=True)


class Table(Protocol[Keys]):
    """One table of the configuration."""

    @property
    def label(self) -> str:
        """What warnings call it."""

    @property
    def settings(self) -> CommandSettings | WebhookSettings:
        """Where the messages go."""

    @property
    def keys(self) -> Keys:
        """Which messages it wants."""


def delivery_of(
    configuration: Configuration,
    wording: Wording,
    tables: Sequence[Table[Keys]],
    body_of: Callable[[Message], bytes],
    filter_of: Callable[[Keys], Callable[[Message], bool]],
) -> Delivery[Message]:
    """Return what tells the subscribers that tables name; nothing is started or sent by that.

    Args:
        configuration: The configuration, whose credentials no command inherits.
        wording: What the messages are called.
        tables: The tables.
        body_of: Returns what a command or a webhook gets of a message.
        filter_of: Returns what tells whether a table wants a message.

    Raises:
        ConfigurationError: A webhook's secret is not where it should be.
    """

    def hidden() -> Collection[str]:
        return own_credentials(configuration, tolerant=True)

    return Delivery(
        wording,
        [
            Subscriber(name=one.label, target=target_of(one.settings, body_of, hidden), wants=filter_of(one.keys))
            for one in tables
        ],
    )
