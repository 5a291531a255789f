"""The systemd units that give other units their credentials, made to fit this installation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from strongroom.cli.command import Session
from strongroom.cli.units import hand_out, own_command, quoted

if TYPE_CHECKING:
    from strongroom.cli.systemd import Gift

SOCKET: Final = "strongroom-credentials.socket"
SERVICE: Final = "strongroom-credentials@.service"
DROP_IN: Final = "strongroom-credentials.conf"

_ADDRESS: Final = "%t/strongroom-credentials.sock"
"""Not below a folder called strongroom: systemd empties that when the agent stops."""

_SOCKET: Final = f"""\
[Unit]
Description=Where units get their credentials

[Socket]
ListenStream={_ADDRESS}
Accept=yes
SocketMode=0600
RemoveOnStop=yes

[Install]
WantedBy=sockets.target
"""

_SERVICE: Final = """\
[Unit]
Description=Give a unit its credential
Wants=network-online.target
After=network-online.target
CollectMode=inactive-or-failed

[Service]
Type=oneshot
TimeoutStartSec=60s
ExecStart={command} systemd credential {options}
# Whatever goes wrong, from a missing program to a kill, must not look like an empty credential:
# more than systemd takes makes the start of the other unit fail.
ExecStopPost=/bin/sh -c 'test "$$SERVICE_RESULT" = success || exec head -c {too_much} /dev/zero >&0'
StandardInput=socket
StandardOutput=journal
StandardError=journal
# Credentials go here, in a drop-in of your own: LoadCredentialEncrypted=, EnvironmentFile= or User=.
UMask=0077
NoNewPrivileges=yes
PrivateTmp=yes
ProtectSystem=full
LimitCORE=0
"""

_DROP_IN: Final = """\
[Unit]
Requires={socket}
After={socket}

[Service]
{lines}
"""


def write_units(session: Session, gifts: Sequence[Gift], folder: str | None, *, as_unit: bool) -> int:
    """Write or print a socket, the service that answers there, and a drop-in for each unit that is given something.

    Args:
        session: The global options.
        gifts: What is given to whom.
        folder: Where to write them, made if need be; they are printed unless given.
        as_unit: Whether each unit has a principal of its own.

    Returns:
        The exit status.

    Raises:
        ConfigurationError: There is no configuration, or they cannot be written.
        UsageError: A unit could not hold a path, the principal or a gift.
    """
    return hand_out(units(session, gifts, as_unit=as_unit), folder, start=SOCKET)


def units(session: Session, gifts: Sequence[Gift], *, as_unit: bool) -> dict[str, str]:
    """Return the units' texts by their file names.

    Args:
        session: The global options.
        gifts: What is given to whom.
        as_unit: Whether each unit has a principal of its own.

    Raises:
        ConfigurationError: There is no configuration.
        UsageError: A unit could not hold a path, the principal or a gift.
    """
    from strongroom.cli.systemd import TOO_MUCH

    options = ["--as-unit"] if as_unit else []
    options += [f"--give {quoted(gift.spelled)}" for gift in gifts]
    made = {
        SOCKET: _SOCKET,
        SERVICE: _SERVICE.format(
            command=own_command(session),
            options=" \\\n    ".join(options),
            too_much=TOO_MUCH,
        ),
    }
    for unit in dict.fromkeys(gift.unit for gift in gifts):
        lines = "\n".join(f"LoadCredential={gift.id}:{_ADDRESS}" for gift in gifts if gift.unit == unit)
        made[f"{unit}.d/{DROP_IN}"] = _DROP_IN.format(socket=SOCKET, lines=lines)
    return made
