"""The tables ``[[alerts]]``: who is told of alerts outside the process."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final

from strongroom._record import Record
from strongroom.config.convert import Place, convert, suggestion
from strongroom.config.merge import Item
from strongroom.contracts.keys import KeySource
from strongroom.contracts.settings import Seconds
from strongroom.errors import ConfigurationError
from strongroom.model import SecretValue

MAX_TIMEOUT: Final = 300.0


class AlertSettings(Record):
    """What every ``[[alerts]]`` table may say."""

    type: str
    timeout: Seconds = 5.0
    """How long one attempt may take."""
    detectors: list[str] | None = None
    """Only alerts of detectors of these types; all unless given."""
    only_blocked: bool = False
    """Only alerts about accesses that were blocked."""

    def problems(self) -> list[str]:
        """Return each broken rule as a sentence."""
        return [] if 0 < self.timeout <= MAX_TIMEOUT else [f"timeout must be above 0 and at most {MAX_TIMEOUT:g}s"]


class CommandSettings(AlertSettings):
    """A table with ``type = "command"``."""

    command: list[str]
    """The program and its arguments; the alert comes on its standard input."""

    def problems(self) -> list[str]:
        """Return each broken rule as a sentence."""
        found = super().problems()
        if not self.command or not self.command[0]:
            found.append("command names no program")
        if any("\0" in word for word in self.command):
            found.append("command holds a NUL")
        return found


class WebhookSettings(AlertSettings):
    """A table with ``type = "webhook"``."""

    url: str
    """Where the alert is posted to."""
    secret: KeySource
    """What the signature is made with; the receiver must have it, too."""
    allow_http: bool = False
    """Whether the address may be an ``http`` one although its host is not this machine."""

    def problems(self) -> list[str]:
        """Return each broken rule as a sentence; none repeats the address, which may hold a secret."""
        return [*super().problems(), *_address_problems(self.url, allow_http=self.allow_http)]

    def read_secret(self) -> SecretValue:
        """Return the secret as it is now; a final line feed of a file does not belong to it.

        Raises:
            ConfigurationError: It is not there, or is empty.
        """
        found = self.secret.read()
        if self.secret.path is not None:
            found = SecretValue(found.reveal().removesuffix(b"\n"))
        if not len(found):
            raise ConfigurationError(
                f"{self.secret.describe()} is empty, so it cannot sign alerts", hint="use 32 random bytes in base64"
            )
        return found


class AlertTable(Record):
    """One ``[[alerts]]`` table."""

    label: str
    """What warnings call it: its place in the file and its type."""
    settings: CommandSettings | WebhookSettings


KINDS: Final[dict[str, type[CommandSettings] | type[WebhookSettings]]] = {
    "command": CommandSettings,
    "webhook": WebhookSettings,
}


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
    place = Place(file=item.layer.path, table=f"alerts[{item.position}]", folder=item.layer.folder)
    kind = item.table.get("type")
    if not isinstance(kind, str) or kind not in KINDS:
        raise ConfigurationError(f"{place.key('type')} is not usable", hint='expected "command" or "webhook"')
    settings = convert(KINDS[kind], item.table, place)
    for detector in settings.detectors or ():
        if detector not in detectors:
            raise ConfigurationError(
                f"{place.key('detectors')} names {detector!r}, which is no configured detector",
                hint=suggestion(detector, detectors),
            )
    return AlertTable(label=f"{place.table} ({kind})", settings=settings)


def _address_problems(url: str, *, allow_http: bool) -> list[str]:
    from urllib.parse import urlsplit

    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return ["url is no address"]
    if not url.isascii() or not url.isprintable() or " " in url:
        return ["url may hold ASCII characters only, and no blank"]
    if parts.scheme not in {"https", "http"} or not host:
        return ["url must begin with https:// and a host"]
    found = []
    if parts.username is not None or parts.password is not None:
        found.append("url must hold no user and no password: the signature shows who sent an alert")
    if parts.scheme == "http" and not allow_http and not _is_loopback(host):
        found.append("url is not encrypted: use https, or allow_http = true if nobody can listen")
    return found


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    from ipaddress import ip_address

    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
