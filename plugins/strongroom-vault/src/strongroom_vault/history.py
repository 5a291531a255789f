"""What KV version 2 keeps about a secret beside its values: its versions and what is noted."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any, Final

from strongroom.contracts import Record
from strongroom.model import SecretVersion
from strongroom_vault.replies import Reply

LIVE: Final = "live"
DELETED: Final = "deleted"
DESTROYED: Final = "destroyed"
ABSENT: Final = "absent"

_TICK: Final = timedelta(seconds=1)
_FACTS: Final = ("max_versions", "cas_required", "delete_version_after", "oldest_version")


class Seen(Record):
    """What was found when the state of a secret's version was looked up."""

    version: int
    """Its number; 0 if there is none."""
    state: str
    """``live``, ``deleted``, ``destroyed`` or ``absent``."""
    when: datetime | None = None
    """When it was deleted."""
    request_id: str | None = None
    """The server's own id of the request that found it."""

    @property
    def is_live(self) -> bool:
        """Whether it can be read."""
        return self.state == LIVE


class History(Record):
    """The metadata of one secret."""

    current: int
    """The newest version, whatever its state; 0 if there is none."""
    versions: tuple[Seen, ...]
    """Those that are kept, oldest first."""
    created: Mapping[int, datetime | None]
    """When each of them was written."""
    notes: dict[str, str]
    made: datetime | None
    updated: datetime | None
    facts: tuple[tuple[str, str], ...]

    def of(self, version: int) -> Seen:
        """Return what is known of one version."""
        absent = Seen(version=0, state=ABSENT)
        return next((seen for seen in self.versions if seen.version == version), absent)

    @property
    def newest(self) -> Seen:
        """The newest version."""
        return self.of(self.current)

    def listed(self) -> tuple[SecretVersion, ...]:
        """Return the versions as strongroom knows them."""
        return tuple(
            SecretVersion(
                version=str(seen.version),
                created=self.created[seen.version],
                state=self._state(seen),
                deleted=None if seen.is_live else seen.when,
            )
            for seen in self.versions
        )

    def _state(self, seen: Seen) -> str:
        if not seen.is_live:
            return seen.state
        return "current" if seen.version == self.current else "superseded"


def history(metadata: Mapping[str, Any], now: datetime) -> History:
    """Return what a secret's metadata says.

    Args:
        metadata: The server's object.
        now: The server's time: a version may be marked with a moment to come at which it will be deleted.
    """
    given = metadata.get("versions") or {}
    kept = {int(number): entry for number, entry in sorted(given.items(), key=lambda item: int(item[0]))}
    return History(
        current=int(metadata.get("current_version") or 0),
        versions=tuple(state_of(number, entry, now) for number, entry in kept.items()),
        created={number: moment(entry.get("created_time")) for number, entry in kept.items()},
        notes={str(key): str(text) for key, text in (metadata.get("custom_metadata") or {}).items()},
        made=moment(metadata.get("created_time")),
        updated=moment(metadata.get("updated_time")),
        facts=tuple((name, _told(metadata[name])) for name in _FACTS if name in metadata),
    )


def state_of(version: int, entry: Mapping[str, Any], now: datetime) -> Seen:
    """Return the state of one version from what the server says of it."""
    when = moment(entry.get("deletion_time"))
    if entry.get("destroyed"):
        return Seen(version=version, state=DESTROYED, when=when)
    gone = when is not None and when <= now
    return Seen(version=version, state=DELETED if gone else LIVE, when=when)


def moment(text: object) -> datetime | None:
    """Return a time that the server states, or nothing for an empty one."""
    if not isinstance(text, str) or not text:
        return None
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except ValueError:
        return None


def server_time(reply: Reply) -> datetime:
    """Return the server's time when it answered, up to a second later; ours if it does not say."""
    try:
        return parsedate_to_datetime(reply.headers["Date"]).astimezone(UTC) + _TICK
    except (KeyError, ValueError):
        return datetime.now(UTC)


def _told(fact: object) -> str:
    return str(fact).lower() if isinstance(fact, bool) else str(fact)
