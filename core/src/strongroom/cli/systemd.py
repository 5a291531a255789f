"""``systemd``: give units their credentials, as ``LoadCredential=`` asks for them."""

from __future__ import annotations

import argparse
import re
import sys

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from strongroom._record import Record
from strongroom.cli import selection
from strongroom.cli.command import Command, Session, UsageError
from strongroom.errors import AccessDeniedError, UnsupportedOperationError, ValueTooLargeError

if TYPE_CHECKING:
    import socket

    from strongroom.manager import SecretManager
    from strongroom.model import Secret

LIMIT: Final = 1024 * 1024
"""The most bytes that systemd takes for all credentials of a unit, their names included."""
TOO_MUCH: Final = LIMIT + 1

_UNIT: Final = re.compile(r"[A-Za-z0-9:_.\\@-]{1,240}\.[a-z]+")
_ID: Final = re.compile(r"(?!\.\.?$)[A-Za-z0-9_.-]{1,255}")

_EPILOG: Final = """\
who is answered:
  systemd's own connections only, which tell the unit and the credential by the
  address that they come from. As any process could take such an address, the other
  side must be root, or the user that this command runs as. What is not given to that
  very unit under that very name is refused.

failures:
  systemd would take no answer for an empty credential. So whatever fails here is
  answered with more than systemd accepts (1 MiB), and the unit does not start; its
  status is 243/CREDENTIALS. Why, is in the journal of strongroom-credentials@."""


class Gift(Record):
    """What one unit is given under one name."""

    unit: str
    id: str
    choice: selection.Choice

    @property
    def spelled(self) -> str:
        """The gift as it stands on the command line."""
        return f"{self.unit}:{self.id}={self.choice.label}"


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.epilog = f"{parser.epilog}\n\n{_EPILOG}"
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    credential = actions.add_parser("credential", help="answer the one that standard input is connected to")
    units = actions.add_parser("units", help="print or write the units that do so")
    for action in (credential, units):
        action.add_argument(
            "--give",
            action="append",
            required=True,
            metavar="UNIT:ID=NAME[#FIELD]",
            help="the secret that a unit gets as its credential ID; repeatable",
        )
        action.add_argument(
            "--as-unit", action="store_true", help="act as the principal systemd:UNIT, for policies and the trail"
        )
    units.add_argument("folder", nargs="?", metavar="FOLDER", help="where to write them; they are printed unless given")


def _systemd(session: Session, options: argparse.Namespace) -> int:
    if options.action == "units":
        # Imported here, as every command's own.
        from strongroom.cli.credentialunits import write_units

        return write_units(session, gifts(options.give), options.folder, as_unit=options.as_unit)
    connection = _connection()
    secret = None
    try:
        secret = _wanted(session, options, connection)
    finally:
        if secret is None:
            _spoil(connection)
    # The manager is closed: everything is recorded before the unit has its credential.
    connection.sendall(secret.reveal())
    return 0


def gifts(spelled: Iterable[str]) -> list[Gift]:
    """Return what is given to whom.

    Args:
        spelled: ``UNIT:ID=NAME`` or ``UNIT:ID=NAME#FIELD`` each.

    Raises:
        UsageError: One of them is not written like that, or one credential is given twice.
        InvalidNameError: There is no name in it that a secret can have.
    """
    found: dict[tuple[str, str], Gift] = {}
    for text in spelled:
        gift = _gift(text)
        if (gift.unit, gift.id) in found:
            raise UsageError(f"{gift.unit}:{gift.id} is given twice", hint="choose another ID for one of them")
        found[gift.unit, gift.id] = gift
    return list(found.values())


def _gift(text: str) -> Gift:
    whose, equals, wanted = text.partition("=")
    unit, _, name = whose.rpartition(":")
    if not equals or not _UNIT.fullmatch(unit) or not _ID.fullmatch(name):
        raise UsageError(f"{text!r} gives nothing to a unit", hint="write it like shop.service:db-password=db/password")
    choice = selection.parse(wanted)
    if choice.variable is not None:
        raise UsageError(f"{text!r} has two =", hint="write it like shop.service:db-password=db/password")
    return Gift(unit=unit, id=name, choice=choice)


def _connection() -> socket.socket:
    """Return the connection that systemd hands over as standard input.

    Raises:
        UsageError: There is none.
    """
    import os
    import socket

    if sys.platform == "linux":
        try:
            found = socket.socket(fileno=os.dup(0))
            if (found.family, found.type) == (socket.AF_UNIX, socket.SOCK_STREAM):
                return found
        except OSError:
            pass  # It is a terminal, a file or a pipe; what to do about it is the same for all.
    raise UsageError("standard input is no connection of systemd's", hint="see `strongroom systemd units`")


def _wanted(session: Session, options: argparse.Namespace, connection: socket.socket) -> Secret:
    _check_peer(connection)
    unit, name = _asked(connection)
    gift = next((one for one in gifts(options.give) if (one.unit, one.id) == (unit, name)), None)
    if gift is None:
        raise AccessDeniedError(f"{unit} is given no credential {name}", hint="add it with --give, if it is to have it")
    with session.open() as manager:
        secret = _read(manager.as_principal(f"systemd:{unit}") if options.as_unit else manager, gift.choice)
    size = len(secret.reveal()) + len(name)
    if size > LIMIT:
        raise ValueTooLargeError(
            f"{gift.choice.label} is too large for a credential", size=size, limit=LIMIT, hint="have the unit read it"
        )
    return secret


def _check_peer(connection: socket.socket) -> None:
    """Refuse who is neither root nor ourselves: an address like systemd's can be taken by anybody.

    Raises:
        AccessDeniedError: It is somebody else.
        UnsupportedOperationError: This system does not tell.
    """
    import os
    import socket
    import struct

    if sys.platform != "linux":
        raise UnsupportedOperationError("only Linux tells who is at the other end", hint="run it where systemd runs")
    packed = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("iII"))
    user = struct.unpack("iII", packed)[1]
    if user not in {0, os.geteuid()}:
        raise AccessDeniedError(f"the user {user} is not systemd", hint="only root and this user are answered")


def _asked(connection: socket.socket) -> tuple[str, str]:
    """Return the unit and the credential, as systemd has put them into the address that it comes from.

    Raises:
        AccessDeniedError: The address is not one of systemd's.
    """
    address = connection.getpeername()
    parts = address.decode("ascii", "replace").split("/") if isinstance(address, bytes) else []
    if len(parts) != 4 or not parts[0].startswith("\0") or parts[1] != "unit":
        raise AccessDeniedError("who asks does not say so as systemd does", hint="use LoadCredential=ID:SOCKET")
    return parts[2], parts[3]


def _read(manager: SecretManager, choice: selection.Choice) -> Secret:
    secret = manager.get(choice.name, field=choice.field)
    # It is for the unit, which is to have it when this command has ended.
    manager.release_leases()
    return secret


def _spoil(connection: socket.socket) -> None:
    """Answer with more than systemd accepts, so that the unit does not start with an empty credential."""
    try:
        connection.sendall(bytes(TOO_MUCH))
    except OSError:
        return  # Who asked is gone, or has had enough of it, which is what it is for.


COMMANDS: Final = {
    "systemd": Command(
        summary="Give systemd's units their credentials, without a file: for LoadCredential=ID:SOCKET.",
        configure=_configure,
        run=_systemd,
        examples="""
            strongroom systemd units --give shop.service:db-password=db/password
            strongroom systemd units --give shop.service:db-user=db/config#user /etc/systemd/system
        """,
    ),
}
