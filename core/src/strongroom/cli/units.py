"""The systemd units that rotate what is due, made to fit this installation."""

from __future__ import annotations

import os
import sys

from collections.abc import Mapping
from typing import Final

from strongroom.cli.command import Session, UsageError, note
from strongroom.cli.placing import place_new
from strongroom.cli.text import has_control, printable

SERVICE: Final = "strongroom-rotate.service"
TIMER: Final = "strongroom-rotate.timer"
SHORTEST_EVERY: Final = 60.0
"""Seconds between two looks, at least."""

_SERVICE: Final = """\
[Unit]
Description=Rotate the secrets that are due
Wants=network-online.target
After=network-online.target

[Service]
Type=oneshot
ExecStart={command} rotate --all-due
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
OnUnitInactiveSec={seconds}s
RandomizedDelaySec={delay}s

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
        ConfigurationError: There is no configuration, or they cannot be written.
        UsageError: A unit could not hold a path or the principal.
    """
    return hand_out(units(session, every), folder, start=TIMER)


def hand_out(made: Mapping[str, str], folder: str | None, *, start: str) -> int:
    """Print units, or write all of them or none, and say what comes next.

    Args:
        made: The units' texts by their paths in the folder.
        folder: Where to write them, made if need be; they are printed unless given.
        start: The one that is to be started then.

    Returns:
        The exit status.

    Raises:
        ConfigurationError: One of them is there already, or cannot be written; then none was.
    """
    if folder is None:
        sys.stdout.writelines(f"# {name}\n{content}\n" for name, content in made.items())
        return 0
    files = {os.path.abspath(os.path.join(folder, name)): content.encode() for name, content in made.items()}
    # There are no secrets in them, and systemd asks for units that everybody may read.
    place_new(files, mode=0o644)
    for name in made:
        note(f"wrote {printable(os.path.join(folder, name))}")
    note(f"next: systemctl daemon-reload && systemctl enable --now {start} (with --user for your own)")
    return 0


def units(session: Session, every: float) -> dict[str, str]:
    """Return the units' texts by their file names.

    Args:
        session: The global options.
        every: Seconds between two looks.

    Raises:
        ConfigurationError: There is no configuration.
        UsageError: A unit could not hold a path or the principal.
    """
    return {
        SERVICE: _SERVICE.format(command=own_command(session)),
        # Whole seconds: systemd knows no number with an exponent.
        TIMER: _TIMER.format(minutes=every / 60, seconds=round(every), delay=round(every / 4)),
    }


def own_command(session: Session) -> str:
    """Return the beginning of a command line of systemd's: this program, with the global options of this call.

    Args:
        session: The global options.

    Raises:
        ConfigurationError: There is no configuration.
        UsageError: A unit could not hold a path or the principal.
    """
    from strongroom.config.files import find

    program = os.path.abspath(sys.argv[0])
    # As a module of Python's, it is no program by itself.
    words = [sys.executable, "-m", "strongroom"] if os.path.basename(program) == "__main__.py" else [program]
    words += ["--config", os.path.abspath(find(session.config))]
    if session.principal:
        words += ["--as", session.principal]
    return " ".join(map(quoted, words))


def quoted(word: str) -> str:
    """Return a word as it stands in a command line of systemd's, see systemd.service(5).

    Args:
        word: A path, or another argument.

    Raises:
        UsageError: A unit could not hold it, or would hold more lines than it seems.
    """
    if has_control(word):
        raise UsageError(f"{word!a} cannot stand in a unit", hint="choose another without control characters, in UTF-8")
    text = word.replace("%", "%%").replace("$", "$$").replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"' if any(character.isspace() or character in "\"'\\;" for character in word) else text
