"""The sockets that the agent listens at: made with the right mode from birth, or handed over by systemd."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
import socket
import stat
import tempfile

from collections.abc import Callable, Mapping
from typing import Final

from strongroom.errors import ConfigurationError
from strongroom_agent.addresses import Address, default, parse
from strongroom_agent.settings import AgentSettings

BACKLOG: Final = 2048
_FIRST_HANDED_OVER: Final = 3


class Listeners:
    """The sockets of one agent.

    Attributes:
        sockets: Those that listen.
        where: Where each listens, as the configuration says it.
    """

    def __init__(self) -> None:
        self.sockets: list[socket.socket] = []
        self.where: list[str] = []
        self._ends: list[Callable[[], None]] = []

    def add(self, one: socket.socket, path: str | None = None, end: Callable[[], None] | None = None) -> None:
        """Add a socket.

        Args:
            one: It listens already.
            path: The path of a Unix socket, which does not know to where it was moved.
            end: What is to be done when it is closed.
        """
        name = one.getsockname()
        self.sockets.append(one)
        if isinstance(name, tuple):
            self.where.append(str(Address(host=name[0], port=name[1])))
        else:
            self.where.append(f"unix:{path or name}")
        if end is not None:
            self._ends.append(end)

    def close(self) -> None:
        """Close them, and remove what was made for them; twice is no error."""
        for one in self.sockets:
            one.close()
        while self._ends:
            self._ends.pop()()


def listen(settings: AgentSettings, environment: Mapping[str, str] = os.environ) -> Listeners:
    """Listen where the configuration says, or at what systemd has handed over.

    Args:
        settings: Says where.
        environment: The process's variables.

    Raises:
        ConfigurationError: Something else listens there, the system refuses it, or other machines could reach it.
    """
    made = Listeners()
    handed_over = _handed_over(environment)
    for one in handed_over:
        made.add(one)
    try:
        for address in [] if handed_over else [parse(text) for text in settings.listen] or [default()]:
            if address.path is None:
                made.add(_loopback(address))
            else:
                one, end = _unix(address.path, settings)
                made.add(one, address.path, end)
    except BaseException:
        made.close()
        raise
    return made


def _loopback(address: Address) -> socket.socket:
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    # With the protocol named, asyncio sends each answer at once; it does not look closely otherwise.
    one = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        # A port whose last connections are still ending can be taken again; one that is in use cannot.
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        one.bind((address.host, address.port))
        one.listen(BACKLOG)
    except OSError as error:
        one.close()
        raise _refused(str(address), error) from error
    return one


def _unix(path: str, settings: AgentSettings) -> tuple[socket.socket, Callable[[], None]]:
    """Return a socket that listens at a path, and what removes it again."""
    lock = _locked(path)
    one = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _remove_stale(path)
        _bind(one, path, settings)
        mine = os.lstat(path)
    except OSError as error:
        one.close()
        os.close(lock)
        raise _refused(f"unix:{path}", error) from error
    except BaseException:
        one.close()
        os.close(lock)
        raise

    def end() -> None:
        with contextlib.suppress(OSError):
            found = os.lstat(path)
            if (found.st_dev, found.st_ino) == (mine.st_dev, mine.st_ino):
                os.unlink(path)
        os.close(lock)

    return one, end


def _bind(one: socket.socket, path: str, settings: AgentSettings) -> None:
    """Bind in a folder that nobody else can enter, and move the socket to its place when all is as it should be.

    Setting the umask meanwhile would do as well, but that is every thread's.
    """
    folder = tempfile.mkdtemp(prefix=".", dir=os.path.dirname(path))
    try:
        draft = os.path.join(folder, "s")
        one.bind(draft)
        if settings.socket_group is not None:
            os.chown(draft, -1, _group(settings.socket_group))
        os.chmod(draft, int(settings.socket_mode, 8))
        one.listen(BACKLOG)
        os.rename(draft, path)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _locked(path: str) -> int:
    """Take the lock of a socket's path, and return its handle: two agents that start at once must not share it."""
    try:
        lock = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise _refused(f"unix:{path}", error) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(lock)
        raise ConfigurationError(
            f"another agent listens at unix:{path}", hint="stop it first, or listen elsewhere"
        ) from error
    return lock


def _remove_stale(path: str) -> None:
    """Remove what an agent has left that was killed.

    Raises:
        ConfigurationError: It is no socket, or one at which somebody listens.
    """
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode):
        raise ConfigurationError(f"there is something at {path} that is no socket", hint="remove it, if it may go")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
            return
        except OSError as error:
            if error.errno == errno.ENOENT:
                return
            raise
    raise ConfigurationError(f"something else listens at unix:{path}", hint="stop it first, or listen elsewhere")


def _handed_over(environment: Mapping[str, str]) -> list[socket.socket]:
    """Return the sockets that systemd has opened for this process, see sd_listen_fds(3)."""
    if environment.get("LISTEN_PID") != str(os.getpid()) or not environment.get("LISTEN_FDS", "").isdigit():
        return []
    made = []
    for number in range(_FIRST_HANDED_OVER, _FIRST_HANDED_OVER + int(environment["LISTEN_FDS"])):
        os.set_inheritable(number, False)
        one = socket.socket(fileno=number)
        name = one.getsockname()
        if isinstance(name, tuple):
            parse(str(Address(host=name[0], port=name[1])))
        made.append(one)
    return made


def _group(name: str) -> int:
    import grp  # not on every system, and only needed here

    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        raise ConfigurationError(
            f"socket_group is {name!r}, which this system does not know", hint="correct the name"
        ) from None


def _refused(address: str, error: OSError) -> ConfigurationError:
    hint = "choose another port" if error.errno == errno.EADDRINUSE else "check the folder and who may write to it"
    return ConfigurationError(f"the agent cannot listen at {address}: {error.strerror}", hint=hint)
