"""What ``[[alerts]]`` and ``[[announcements]]`` have in common: a command or a webhook that is told of something."""

from __future__ import annotations

from typing import Final, TypeVar

from strongroom._record import Record
from strongroom.config.convert import Place, convert, suggestion
from strongroom.config.merge import Item
from strongroom.contracts.keys import KeySource
from strongroom.contracts.settings import Seconds
from strongroom.errors import ConfigurationError
from strongroom.model import SecretValue

MAX_TIMEOUT: Final = 300.0

Keys = TypeVar("Keys", bound=Record)


class TargetSettings(Record):
    """What a table of either type may say."""

    type: str
    timeout: Seconds = 5.0
    """How long one attempt may take."""

    def problems(self) -> list[str]:
        """Return each broken rule as a sentence."""
        return [] if 0 < self.timeout <= MAX_TIMEOUT else [f"timeout must be above 0 and at most {MAX_TIMEOUT:g}s"]


class CommandSettings(TargetSettings):
    """A table with ``type = "command"``."""

    command: list[str]
    """The program and its arguments; the message comes on its standard input."""

    def problems(self) -> list[str]:
        """Return each broken rule as a sentence."""
        found = super().problems()
        if not self.command or not self.command[0]:
            found.append("command names no program")
        if any("\0" in word for word in self.command):
            found.append("command holds a NUL")
        return found


class WebhookSettings(TargetSettings):
    """A table with ``type = "webhook"``."""

    url: str
    """Where the message is posted to."""
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
                f"{self.secret.describe()} is empty, so it cannot sign anything", hint="use 32 random bytes in base64"
            )
        return found


KINDS: Final[dict[str, type[CommandSettings] | type[WebhookSettings]]] = {
    "command": CommandSettings,
    "webhook": WebhookSettings,
}


def target_settings(item: Item, section: str, own: type[Keys]) -> tuple[CommandSettings | WebhookSettings, Keys, Place]:
    """Return what one table says, checked.

    Args:
        item: The table as the file has it.
        section: The list that it is in, such as ``alerts``.
        own: What that list's tables may say beside where the messages go: what of.

    Returns:
        Where the messages go, the list's own keys, and where the table stands.

    Raises:
        ConfigurationError: It is not usable.
    """
    place = Place(file=item.layer.path, table=f"{section}[{item.position}]", folder=item.layer.folder)
    kind = item.table.get("type")
    if not isinstance(kind, str) or kind not in KINDS:
        raise ConfigurationError(f"{place.key('type')} is not usable", hint='expected "command" or "webhook"')
    known = (*KINDS[kind]._fields, *own._fields)
    for key in item.table:
        if key not in known:
            raise ConfigurationError(f"{place.key(key)} is not a setting", hint=suggestion(key, known))
    mine = {key: value for key, value in item.table.items() if key in own._fields}
    rest = {key: value for key, value in item.table.items() if key not in mine}
    return convert(KINDS[kind], rest, place), convert(own, mine, place), place


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
        found.append("url must hold no user and no password: the signature shows who sent a message")
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
