"""The systemd units that run the agent, made to fit this installation."""

from __future__ import annotations

import os
import sys

from contextlib import ExitStack
from typing import Final

from strongroom.errors import ConfigurationError

SERVICE: Final = "strongroom-agent.service"
SOCKET: Final = "strongroom-agent.socket"

_SERVICE: Final = """\
[Unit]
Description=strongroom agent
Wants=network-online.target
After=network-online.target

[Service]
# systemd 253 and newer knows the second type; an older one keeps the first, and needs the line after it for a reload.
Type=notify
Type=notify-reload
# ExecReload=/bin/kill -HUP $MAINPID
ExecStart={command} --config {config} agent
WatchdogSec=30s
Restart=on-failure
RestartSec=1s
TimeoutStartSec=60s
TimeoutStopSec=30s
{user}
# Keys and tokens go here, in a drop-in of your own, and the configuration says {{credential = "master-key"}}:
# LoadCredentialEncrypted=master-key:/etc/strongroom/master-key.cred
RuntimeDirectory=strongroom
RuntimeDirectoryMode=0755
StateDirectory=strongroom
StateDirectoryMode=0700
UMask=0077
LimitCORE=0
LimitNOFILE=8192
# Nothing but its own folders can be written. Where the configuration keeps a store or a trail elsewhere:
# ReadWritePaths=/srv/strongroom
ProtectSystem=strict
ProtectHome=read-only
PrivateTmp=yes
PrivateDevices=yes
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectProc=invisible
NoNewPrivileges=yes
CapabilityBoundingSet=
AmbientCapabilities=
LockPersonality=yes
MemoryDenyWriteExecute=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
RemoveIPC=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources
SystemCallErrorNumber=EPERM

[Install]
WantedBy=multi-user.target
"""

_SOCKET: Final = """\
# Only where systemd is to open the socket, for a group say: enable this unit, and leave `listen` out.
[Unit]
Description=socket of the strongroom agent

[Socket]
ListenStream=/run/strongroom-agent.sock
SocketMode=0660
# SocketGroup=strongroom

[Install]
WantedBy=sockets.target
"""


def write(config: str | None, folder: str | None, user: str | None) -> int:
    """Write or print the units.

    Args:
        config: The configuration's path; ``strongroom.toml`` in the working folder unless given.
        folder: Where to write them, made if need be; they are printed unless given.
        user: The user to run as; one that systemd makes up unless given.

    Returns:
        The exit status.

    Raises:
        ConfigurationError: There is no configuration, one of the units is there already, or the folder cannot be
            written to; then none was written.
    """
    made = units(config, user)
    if folder is None:
        sys.stdout.writelines(f"# {name}\n{content}\n" for name, content in made.items())
        return 0
    files = {os.path.join(folder, name): content for name, content in made.items()}
    taken = [path for path in files if os.path.lexists(path)]
    if taken:
        raise _there_already(*taken)
    with ExitStack() as written:
        for path, content in files.items():
            _write(path, content, written)
        written.pop_all()
    sys.stderr.writelines(f"wrote {path}\n" for path in files)
    sys.stderr.write("next: systemctl daemon-reload && systemctl enable --now strongroom-agent.service\n")
    return 0


def units(config: str | None, user: str | None) -> dict[str, str]:
    """Return the units' texts by their file names.

    Args:
        config: The configuration's path; ``strongroom.toml`` in the working folder unless given.
        user: The user to run as; one that systemd makes up unless given.

    Raises:
        ConfigurationError: There is no configuration, or a unit could not hold its path, the program's or the user.
    """
    path = os.path.abspath(config or os.environ.get("STRONGROOM_CONFIG") or "strongroom.toml")
    if not os.path.isfile(path):
        raise ConfigurationError(f"there is no configuration at {path}", hint="name it: strongroom --config FILE agent")
    who = "DynamicUser=yes" if user is None else f"User={_plain(user)}"
    program = os.path.abspath(sys.argv[0])
    # As a module of Python's, it is no program by itself.
    words = [sys.executable, "-m", "strongroom"] if os.path.basename(program) == "__main__.py" else [program]
    command = " ".join(map(_quoted, words))
    return {SERVICE: _SERVICE.format(command=command, config=_quoted(path), user=who), SOCKET: _SOCKET}


def _quoted(path: str) -> str:
    """Return a path as a word of a command line of systemd's, see systemd.service(5)."""
    text = _plain(path).replace("\\", "\\\\").replace("%", "%%").replace("$", "$$").replace('"', '\\"')
    return f'"{text}"' if any(character.isspace() or character in "\"'\\;" for character in path) else text


def _plain(text: str) -> str:
    """Return a text that a unit can hold, and that makes no line more than it seems to.

    Raises:
        ConfigurationError: It has control characters, or is not in UTF-8.
    """
    # Half of a surrogate pair stands for a byte that is not in UTF-8.
    if any(ord(one) < 32 or ord(one) == 127 or "\ud800" <= one <= "\udfff" for one in text):
        raise ConfigurationError(f"{text!a} cannot stand in a unit", hint="choose one without control characters")
    return text


def _write(path: str, content: str, written: ExitStack) -> None:
    try:
        os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
        with open(path, "x", encoding="utf-8") as file:
            written.callback(os.unlink, path)
            file.write(content)
    except FileExistsError as error:
        raise _there_already(path) from error
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be written: {error.strerror}", hint="check its folder") from error


def _there_already(*paths: str) -> ConfigurationError:
    return ConfigurationError(
        f"there is a file at {' and at '.join(paths)}, and nothing was written", hint="remove it first, if it may go"
    )
