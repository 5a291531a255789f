"""What settings must keep to, one sentence for each broken rule."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from strongroom_audit_syslog.address import Address, parse
from strongroom_audit_syslog.settings import FACILITIES

if TYPE_CHECKING:
    from strongroom_audit_syslog.settings import SyslogSettings

LEAST_BYTES: Final = 2048
"""What every server should accept; in less, not every hit of the cache could be told."""
_LONGEST_DATAGRAM: Final = 65507
_TLS_ONLY: Final = ("ca_file", "client_cert", "client_key", "server_name")


def problems(settings: SyslogSettings) -> list[str]:
    """Return each broken rule as a sentence.

    Args:
        settings: All of them; each has passed its own type check.
    """
    try:
        address = parse(settings.address)
    except ValueError as error:
        return [f"address {error}", *_of_headers(settings), *_of_sizes(settings, None)]
    found = [*_of_headers(settings), *_of_sizes(settings, address)]
    if address.transport != "tls":
        given = [name for name in _TLS_ONLY if getattr(settings, name) is not None]
        found += [f"{name} is for tls:// only" for name in given]
    if settings.client_key is not None and settings.client_cert is None:
        found.append("client_key is given without client_cert")
    if settings.server_name is not None and not _is_host(settings.server_name):
        found.append("server_name must be a host's name or an IP address")
    return found


def _of_headers(settings: SyslogSettings) -> list[str]:
    rules = (
        (settings.facility in FACILITIES, f"facility must be one of {', '.join(FACILITIES)}"),
        (_is_word(settings.app_name, 48), "app_name must be 1 to 48 printable ASCII characters without blanks"),
        (
            settings.hostname is None or _is_word(settings.hostname, 255),
            "hostname must be 1 to 255 printable ASCII characters without blanks",
        ),
        (0 < settings.enterprise_id < 2**32, "enterprise_id must be from 1 to 4294967295"),
    )
    return [sentence for kept, sentence in rules if not kept]


def _of_sizes(settings: SyslogSettings, address: Address | None) -> list[str]:
    is_udp = address is not None and address.transport == "udp"
    rules = (
        (settings.timeout > 0, "timeout must be more than 0 seconds"),
        (settings.max_bytes is None or settings.max_bytes >= LEAST_BYTES, f"max_bytes must be at least {LEAST_BYTES}"),
        (
            settings.max_bytes is None or not is_udp or settings.max_bytes <= _LONGEST_DATAGRAM,
            f"max_bytes must be at most {_LONGEST_DATAGRAM} for udp://, the longest datagram",
        ),
    )
    return [sentence for kept, sentence in rules if not kept]


def _is_word(text: str, longest: int) -> bool:
    return 0 < len(text) <= longest and all("!" <= character <= "~" for character in text)


def _is_host(text: str) -> bool:
    try:
        return _is_word(text, 253) and text[0] != "." and bool(text.encode("idna"))
    except UnicodeError:
        return False
