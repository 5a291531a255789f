"""TLS to the server: whom to trust, and who we are."""

from __future__ import annotations

import contextlib
import os
import ssl

from strongroom.errors import BackendError, ConfigurationError
from strongroom_vault.target import Trust


class Contexts:
    """The context of each new connection: another one once a file that it was made from has changed.

    Whoever issues certificates for days or hours replaces them in their place. Threads may share it.

    Args:
        trust: The settings.

    Raises:
        ConfigurationError: A file cannot be read, or does not hold what it should.
    """

    def __init__(self, trust: Trust) -> None:
        self._trust = trust
        self._state = _state_of(trust)
        self._made = context_for(trust)

    def current(self) -> ssl.SSLContext:
        """Return the context for a new connection."""
        state = _state_of(self._trust)
        if state != self._state:
            # A certificate and its key are two files: between their changes, or if what is new is bad, the old one
            # is as good as before.
            with contextlib.suppress(ConfigurationError):
                self._made, self._state = context_for(self._trust), state
        return self._made


def context_for(trust: Trust) -> ssl.SSLContext:
    """Return the context of every connection to the server.

    Only what is given counts: with an authority of one's own the system's are not trusted, and the variables of
    other programs, such as ``REQUESTS_CA_BUNDLE`` and ``CURL_CA_BUNDLE``, mean nothing. ``SSL_CERT_FILE`` and
    ``SSL_CERT_DIR`` move the system's, as they do for every program that uses OpenSSL.

    Args:
        trust: The settings.

    Raises:
        ConfigurationError: A file cannot be read, or does not hold what it should.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if not trust.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    else:
        _trust_authorities(context, trust)
    if trust.client_cert is not None:
        _show_certificate(context, trust.client_cert, trust.client_key)
    return context


def failure(host: str, problem: ssl.SSLError) -> BackendError:
    """Return the error for a server that could not be trusted, or that does not speak TLS as we do.

    Args:
        host: Its name or address.
        problem: What went wrong.
    """
    if isinstance(problem, ssl.SSLCertVerificationError):
        reason = problem.verify_message.rstrip(".")
        what = f"the certificate of {host} is not to be trusted: {reason}"
        hint = "set tls.ca_file to the authority that made it"
        if "mismatch" in reason.lower() or "doesn't match" in reason.lower():
            hint = "use the name in the certificate as address, or set tls.server_name to it"
        return BackendError(what, code="tls_failed", hint=hint)
    if problem.reason in {"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG"}:
        return BackendError(
            f"{host} does not speak TLS at this port", code="tls_failed", hint="write http:// in the address if it must"
        )
    return BackendError(
        f"TLS with {host} failed: {(problem.reason or 'unknown reason').lower().replace('_', ' ')}",
        code="tls_failed",
        hint="check tls.client_cert if the server asks for one",
    )


def _state_of(trust: Trust) -> list[tuple[int, ...]]:
    """Return what changes with the files that a context is made from."""
    paths = [path for path in (trust.ca_file, trust.client_cert, trust.client_key) if path is not None]
    if trust.ca_folder is not None:
        with contextlib.suppress(OSError):
            paths += sorted(entry.path for entry in os.scandir(trust.ca_folder))
    found: list[tuple[int, ...]] = []
    for path in paths:
        with contextlib.suppress(OSError):
            seen = os.stat(path)
            found.append((seen.st_mtime_ns, seen.st_size, seen.st_ino))
    return found


def _trust_authorities(context: ssl.SSLContext, trust: Trust) -> None:
    if trust.ca_text is not None:
        try:
            context.load_verify_locations(cadata=trust.ca_text)
        except (ssl.SSLError, ValueError) as problem:
            raise ConfigurationError("the text of CACERT_BYTES is not a certificate in PEM") from problem
    elif trust.ca_file is not None:
        _load(context, trust.ca_file, "the file of authorities")
    elif trust.ca_folder is not None:
        _load_folder(context, trust.ca_folder)
    else:
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)


def _load(context: ssl.SSLContext, path: str, what: str) -> None:
    try:
        context.load_verify_locations(cafile=path)
    except ssl.SSLError as problem:
        raise ConfigurationError(f"{what} {path} holds no certificate in PEM") from problem
    except OSError as problem:
        raise ConfigurationError(f"{what} {path} cannot be read: {problem.strerror}") from problem


def _load_folder(context: ssl.SSLContext, folder: str) -> None:
    """Load each file, whatever its name: OpenSSL itself would want names made of hashes."""
    try:
        paths = [entry.path for entry in os.scandir(folder) if entry.is_file()]
    except OSError as problem:
        raise ConfigurationError(f"the folder of authorities {folder} cannot be read: {problem.strerror}") from problem
    if not paths:
        raise ConfigurationError(f"the folder of authorities {folder} is empty")
    for path in sorted(paths):
        _load(context, path, "the file of authorities")


def _show_certificate(context: ssl.SSLContext, certificate: str, key: str | None) -> None:
    try:
        context.load_cert_chain(certificate, key, password=_refuse_password)
    except ssl.SSLError as problem:
        raise ConfigurationError(
            f"the client certificate {certificate} and its key do not go together, or are not in PEM",
            hint="see tls.client_cert and tls.client_key",
        ) from problem
    except OSError as problem:
        raise ConfigurationError(
            f"the client certificate {certificate} or its key cannot be read: {problem.strerror}"
        ) from problem


def _refuse_password() -> str:
    # Else OpenSSL would ask for one at the terminal.
    raise ConfigurationError("the client's key is encrypted", hint="store it without a passphrase, in a file of 0600")
