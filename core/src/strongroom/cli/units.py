"""The systemd units that rotate what is due, made to fit this installation."""

from __future__ import annotations

import os
import sys

from typing import Final

from strongroom.cli.command import Session, note
from strongroom.errors import ConfigurationError

SERVICE: Final = "strongroom-rotate.service"
TIMER: Final = "strongroom-rotate.timer"

_SERVICE: Final = """\
[Unit]
Description=Rotate the secrets that are due
Wants=network-online.target
After=network-online.target

[Service]
Type=oneshot
ExecStart={command} {config}rotate --all-due
# Credentials go here, in a drop-in of your own: LoadCredentialEncrypted=, EnvironmentFile= or User=.
UMask=0077
NoNewPrivileges=yes
PrivateTmp=yes
ProtectSystem=full
LimitCORE=0
"""

_TIMER: Final = """\
[Unit]
Description=Look every {minutes:g} min which secrets are due for rotation

[Timer]
OnBootSec=2min
OnUnitInactiveSec={seconds:g}s
RandomizedDelaySec={delay:g}s

[Install]
WantedBy=timers.target
"""


def write_units(session: Session, folder: str | None, every: float) -> int:
    """Write or print a service and the timer that starts it.

    Args:
        session: The global options.
        folder: Where to write them, made if need be; they are printed unless given.
        every: Seconds between two looks.

    Returns:
        The exit status.

    Raises:
        ConfigurationError: There is no configuration, the time is too short, or the folder cannot be written to.
    """
    if every < 60:
        raise ConfigurationError(f"--every {every:g}s is too often", hint="use at least 1m")
    for name, content in units(session.config, every).items():
        if folder is None:
            sys.stdout.write(f"# {name}\n{content}\n")
            continue
        write_new(os.path.join(folder, name), content)
        note(f"wrote {os.path.join(folder, name)}")
    if folder is not None:
        note(
            "next: systemctl daemon-reload && systemctl enable --now strongroom-rotate.timer (with --user for your own)"
        )
    return 0


def units(config: str | None, every: float) -> dict[str, str]:
    """Return the units' texts by their file names.

    Args:
        config: The configuration's path, as it was given; searched for unless given.
        every: Seconds between two looks.

    Raises:
        ConfigurationError: There is no configuration.
    """
    from strongroom.config.files import find

    path = os.path.abspath(find(config))
    command = os.path.abspath(sys.argv[0])
    return {
        SERVICE: _SERVICE.format(command=quoted(command), config=f"--config {quoted(path)} "),
        TIMER: _TIMER.format(minutes=every / 60, seconds=every, delay=every / 4),
    }


def quoted(path: str) -> str:
    """Return a path as a word of a command line of systemd's, see systemd.service(5)."""
    text = path.replace("%", "%%").replace("$", "$$").replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"' if any(character.isspace() or character in "\"'\\;" for character in path) else text


def write_new(path: str, content: str) -> None:
    """Write a unit's file that is not there yet, and its folder if need be.

    Raises:
        ConfigurationError: There is such a file, or it cannot be written.
    """
    try:
        os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
        with open(path, "x", encoding="utf-8") as file:
            file.write(content)
    except FileExistsError as error:
        raise ConfigurationError(f"there is a file at {path}", hint="remove it first, if it may go") from error
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be written: {error.strerror}", hint="check its folder") from error
