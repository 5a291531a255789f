"""TLS to the server: whom to trust, and who we are."""

from __future__ import annotations

import contextlib
import os
import ssl

from typing import TYPE_CHECKING

from strongroom.errors import ConfigurationError

if TYPE_CHECKING:
    from strongroom_audit_syslog.settings import SyslogSettings


class Contexts:
    """The context of each new connection: another one once a file that it was made from has changed.

    Whoever issues certificates for hours or days replaces them in their place.

    Args:
        settings: The sink's.

    Raises:
        ConfigurationError: A file cannot be read, or does not hold what it should.
    """

    def __init__(self, settings: SyslogSettings) -> None:
        self._settings = settings
        self._state = self._state_of_files()
        self._made = _context(settings)

    def current(self) -> ssl.SSLContext:
        """Return the context for a new connection."""
        state = self._state_of_files()
        if state != self._state:
            # A certificate and its key are two files: between their changes the old pair is as good as before.
            with contextlib.suppress(ConfigurationError):
                self._made, self._state = _context(self._settings), state
        return self._made

    def _state_of_files(self) -> tuple[tuple[int, ...], ...]:
        paths = (self._settings.ca_file, self._settings.client_cert, self._settings.client_key)
        found = []
        for path in filter(None, paths):
            with contextlib.suppress(OSError):
                seen = os.stat(path)
                found.append((seen.st_mtime_ns, seen.st_size, seen.st_ino))
        return tuple(found)


def _context(settings: SyslogSettings) -> ssl.SSLContext:
    """Return a context that checks chain and name; there is no setting that switches that off."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if settings.ca_file is None:
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    else:
        _trust(context, settings.ca_file)
    if settings.client_cert is not None:
        _show(context, settings.client_cert, settings.client_key)
    return context


def _trust(context: ssl.SSLContext, path: str) -> None:
    try:
        context.load_verify_locations(cafile=path)
    except ssl.SSLError as error:
        raise ConfigurationError(f"ca_file {path} holds no certificate in PEM") from error
    except OSError as error:
        raise ConfigurationError(f"ca_file {path} cannot be read: {error.strerror}") from error


def _show(context: ssl.SSLContext, certificate: str, key: str | None) -> None:
    try:
        context.load_cert_chain(certificate, key, password=_refuse_password)
    except ssl.SSLError as error:
        raise ConfigurationError(
            f"client_cert {certificate} and its key do not go together, or are not in PEM",
            hint="see client_cert and client_key of the sink",
        ) from error
    except OSError as error:
        raise ConfigurationError(f"client_cert {certificate} or its key cannot be read: {error.strerror}") from error


def _refuse_password() -> str:
    # Else OpenSSL would ask for one at the terminal.
    raise ConfigurationError("the key of client_cert is encrypted", hint="store it without a passphrase, with mode 600")
