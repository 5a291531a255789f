"""Announcements as subscribers get them: callbacks, commands and webhooks (``[[announcements]]``)."""

from __future__ import annotations

import os

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from strongroom._record import Record
from strongroom.audit.buffer import host_name
from strongroom.audit.sinks import new_id
from strongroom.events.delivery import Delivery, Wording, name_of
from strongroom.events.subscribers import delivery_of
from strongroom.model import SecretName
from strongroom.policy import matches

if TYPE_CHECKING:
    from datetime import datetime

    from strongroom.config.announcements import AnnouncementKeys
    from strongroom.config.load import Configuration
    from strongroom.events.updates import Announcement, SecretUpdated

WORDING: Final = Wording(one="an announcement", many="announcements")

UPDATED: Final = "secret_updated"
CHANGES: Final = frozenset({"set", "rotate", "delete", "undelete", "destroy"})
"""What this process does to a secret; all else is only noticed by it."""


class Notice(Record):
    """One announcement, ready to be told outside the process, too. It holds no value."""

    id: str
    """The same for each attempt to deliver it."""
    time: datetime
    """When it was announced, UTC."""
    event: str
    name: SecretName
    version: str | None = None
    """Of a ``secret_updated``: as :class:`SecretUpdated` has it."""
    detail: str = ""
    """A sentence for people; of a ``secret_updated`` the kind of change."""
    when: datetime | None = None
    source: Announcement | None = None
    """What subscribers in the process get; ``None`` if they hear of it in another way."""


def notice_of(event: Announcement | SecretUpdated, nanoseconds: int) -> Notice | None:
    """Return what there is to tell of an event; ``None`` for a change that this process has not made.

    Args:
        event: What has happened.
        nanoseconds: When that was, since 1970, UTC.
    """
    from datetime import UTC, datetime

    from strongroom.events.updates import SecretUpdated

    time = datetime.fromtimestamp(nanoseconds / 1e9, UTC)
    if not isinstance(event, SecretUpdated):
        detail, when = event.detail, event.when
        return Notice(id=new_id(), time=time, event=event.kind, name=event.name, detail=detail, when=when, source=event)
    if event.change not in CHANGES:
        return None
    return Notice(id=new_id(), time=time, event=UPDATED, name=event.name, version=event.version, detail=event.change)


def body_of(notice: Notice) -> bytes:
    """Return an announcement as a command and a webhook get it: one JSON object in UTF-8."""
    import json

    from datetime import UTC

    content = {
        "id": notice.id,
        "time": notice.time.isoformat(timespec="microseconds"),
        "event": notice.event,
        "name": notice.name,
        "version": notice.version,
        "detail": notice.detail,
        "when": notice.when.astimezone(UTC).isoformat() if notice.when is not None else None,
        "host": host_name(),
        "pid": os.getpid(),
    }
    return json.dumps(content, ensure_ascii=False).encode("utf-8", "replace")


def announcements_of(configuration: Configuration) -> Delivery[Notice]:
    """Return what tells the subscribers that ``[[announcements]]`` names; nothing is started or sent by that.

    Args:
        configuration: The configuration.

    Raises:
        ConfigurationError: A webhook's secret is not where it should be.
    """
    return delivery_of(configuration, WORDING, configuration.announcements, body_of, filter_of)


def filter_of(keys: AnnouncementKeys) -> Callable[[Notice], bool]:
    """Return what tells whether a table wants an announcement."""

    def wants(notice: Notice) -> bool:
        return (keys.events is None or notice.event in keys.events) and (
            keys.names is None or any(matches(pattern, notice.name) for pattern in keys.names)
        )

    return wants


def subscribe(
    delivery: Delivery[Notice], pattern: str, callback: Callable[[Announcement], object]
) -> Callable[[], None]:
    """Have a function of this process called with announcements about the names that fit a pattern.

    Args:
        delivery: What delivers them.
        pattern: A name or a pattern, which is well-formed.
        callback: Takes the announcement.

    Returns:
        A function that ends the subscription; calling it twice is no error.
    """

    def wants(notice: Notice) -> bool:
        return notice.source is not None and matches(pattern, notice.name)

    def tell(notice: Notice) -> None:
        assert notice.source is not None, "it is not wanted otherwise"
        callback(notice.source)

    return delivery.subscribe(tell, name=name_of(callback), wants=wants)
