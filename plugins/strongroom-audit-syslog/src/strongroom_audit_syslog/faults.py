"""What a failure to send means, for people."""

from __future__ import annotations

import errno
import socket
import ssl

from typing import TYPE_CHECKING

from strongroom.errors import AuditError

if TYPE_CHECKING:
    from strongroom_audit_syslog.address import Address


def failure(address: Address, error: OSError, seconds: float) -> AuditError:
    """Return the error for events that could not be sent.

    Args:
        address: Where the server is.
        error: What went wrong.
        seconds: How much time there was.
    """
    what, hint = _told(address, error, seconds)
    return AuditError(f"the syslog server {address} {what}", hint=hint)


def _told(address: Address, error: OSError, seconds: float) -> tuple[str, str]:
    if isinstance(error, ssl.SSLError):
        return _told_of_tls(error)
    # The system's own timeout has a number, and is one of the network.
    if isinstance(error, TimeoutError) and error.errno is None:
        return f"has not taken the events within {seconds:g} s", "check the server, and the network on the way to it"
    if isinstance(error, socket.gaierror):
        return f"cannot be looked up: {error.strerror or error}", "check the host in address, and the name service"
    reason = error.strerror or str(error) or type(error).__name__
    if error.errno == errno.EMSGSIZE:
        return "cannot be sent a message of that size", "set max_bytes of the sink to what its way carries"
    if address.transport == "unix":
        return f"cannot be reached: {reason}", "check that the daemon runs and listens at this path"
    if isinstance(error, ConnectionRefusedError):
        return "refuses: nobody listens there", "check that it runs, and the port in address"
    if isinstance(error, ConnectionError):
        return f"has ended the connection: {reason}", "check the server's own log"
    return f"cannot be reached: {reason}", "check the address, and the network on the way to it"


def _told_of_tls(error: ssl.SSLError) -> tuple[str, str]:
    if isinstance(error, ssl.SSLCertVerificationError):
        reason = error.verify_message.rstrip(".")
        if "mismatch" in reason.lower() or "doesn't match" in reason.lower():
            return (
                f"has a certificate for another name: {reason}",
                "use a name of the certificate in address, or set server_name to one",
            )
        return f"has a certificate that is not to be trusted: {reason}", "set ca_file to the authority that made it"
    reason = (error.reason or "unknown reason").lower().replace("_", " ")
    if error.reason in {"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG"}:
        return "does not speak TLS at this port", "check the port; a server without TLS is tcp:// in address"
    return f"does not agree on TLS: {reason}", "check client_cert and client_key if the server asks for a certificate"
