"""Actions that run a program: no shell, nothing of the server's environment, and an end to all of it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal

from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Final, Self

import anyio

from strongroom.contracts import Record
from strongroom.masking import Masker
from strongroom.references import Reference
from strongroom_mcp.collecting import Collected
from strongroom_mcp.errors import RefusedError
from strongroom_mcp.held import Filling
from strongroom_mcp.log import LOG
from strongroom_mcp.parameters import Value
from strongroom_mcp.settings import ActionSettings
from strongroom_mcp.targets import arguments, filled

PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_GUARD: Final = ("/bin/sh", "-c", 'read -r group && { read -r _; kill -s KILL -- "-$group"; }')
"""Is told of a group, and kills it at the end of its input, which is that of the process that holds the other end."""
_CHUNK: Final = 65536
_LINGER_SECONDS: Final = 1.0
"""How long an output may stay open once the program and its group have ended."""


class Pipe:
    """What a program writes to, and its other end.

    Asyncio's own pipes would make it wait for as long as anybody holds them open.
    """

    def __init__(self) -> None:
        self._reader, self.writer = os.pipe()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._reader)
        self._close_writer()

    def _close_writer(self) -> None:
        if self.writer >= 0:
            os.close(self.writer)
        self.writer = -1

    async def read_into(self, kept: Collected) -> None:
        """Take in what the program writes, once it has started, until nobody can write any more."""
        self._close_writer()
        stream = asyncio.StreamReader()
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(stream), os.fdopen(os.dup(self._reader), "rb", 0)
        )
        try:
            while chunk := await stream.read(_CHUNK):
                kept.feed(chunk)
        finally:
            transport.close()


Pipes = tuple[Pipe, Pipe]


class Finished(Record):
    """How a program or a request has ended."""

    output: str
    error: str = ""
    said: str
    """Its status, in words."""
    ok: bool
    is_cut: bool
    """Whether there was more of the output than is kept."""


async def run(
    settings: ActionSettings, values: Mapping[str, Value], filling: Filling, masker: Masker, limit: int
) -> Finished:
    """Run an action's program to its end.

    Whatever ends this early, a limit of time among them, ends the program and its process group.

    Args:
        settings: The action.
        values: The parameters.
        filling: Its secrets.
        masker: Masks them, and others, in what it says.
        limit: How many bytes of its output to keep.

    Raises:
        RefusedError: It cannot be started.
    """
    command = arguments(settings, values)
    environment = _environment(settings, filling)
    outputs = Collected(masker, limit), Collected(masker, limit)
    with _files(settings, filling) as (paths, descriptors), Pipe() as out, Pipe() as err:
        pipes = out, err
        async with _guard() as guard:
            # Shielded: once it runs, there is somebody to end it.
            with anyio.CancelScope(shield=True):
                process = await _start(command, environment | paths, settings.folder, descriptors, pipes)
            try:
                guard.write(b"%d\n" % process.pid)
                await _follow(process, pipes, outputs)
            finally:
                with anyio.CancelScope(shield=True):
                    await _end(process)
    status = process.returncode
    said = f"exit status {status}" if status is not None and status >= 0 else "ended by a signal"
    texts = [one.text() for one in outputs]
    is_cut = any(one.full for one in outputs)
    return Finished(output=texts[0], error=texts[1], said=said, ok=status == 0, is_cut=is_cut)


def _environment(settings: ActionSettings, filling: Filling) -> dict[str, str]:
    made = {"PATH": PATH, "LANG": "C.UTF-8"}
    made |= {name: os.environ[name] for name in settings.pass_environment if name in os.environ}
    made |= filled(settings.environment, filling.text)
    if any("\0" in text for text in made.values()):
        raise RefusedError(
            "a secret that the action needs has a NUL in it, which a variable cannot hold", result="unusable_secret"
        )
    return made


@contextlib.contextmanager
def _files(settings: ActionSettings, filling: Filling) -> Iterator[tuple[dict[str, str], tuple[int, ...]]]:
    """Make files in memory that no folder leads to, and yield variables with their paths, and their descriptors."""
    opened: dict[str, int] = {}
    try:
        for name, text in settings.files.items():
            opened[name] = os.memfd_create("strongroom", os.MFD_CLOEXEC)
            with open(os.dup(opened[name]), "wb") as file:
                file.write(filling.value(Reference.parse(text)).reveal())
            os.lseek(opened[name], 0, os.SEEK_SET)
        yield {name: f"/proc/self/fd/{number}" for name, number in opened.items()}, tuple(opened.values())
    finally:
        for number in opened.values():
            os.close(number)


async def _start(
    command: list[str], environment: dict[str, str], folder: str, descriptors: tuple[int, ...], pipes: Pipes
) -> Process:
    try:
        return await asyncio.create_subprocess_exec(
            *command,
            stdin=DEVNULL,
            stdout=pipes[0].writer,
            stderr=pipes[1].writer,
            env=environment,
            cwd=folder,
            pass_fds=descriptors,
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        LOG.error("the program of an action cannot be started: %s", why(error, command[0], folder))
    # Raised outside the handler: a cause would lead to the environment.
    raise RefusedError("the program of the action cannot be started", result="not_started")


def why(error: Exception, program: str, folder: str) -> str:
    """Return for the log why a program cannot be started; nothing that it would have been given is in it.

    Args:
        error: What was raised.
        program: Its path, as the settings have it.
        folder: Where it would have run.
    """
    if not isinstance(error, OSError) or error.errno is None:
        return f"{program}: an argument or a variable has a NUL in it, or cannot be written in UTF-8"
    # The system says the same of either; the error has the folder's name if nobody could enter that.
    place = f"the folder {folder}" if error.filename == folder else program
    return f"{place}: {os.strerror(error.errno)}"


@contextlib.asynccontextmanager
async def _guard() -> AsyncIterator[asyncio.StreamWriter]:
    """Yield what takes the group to be killed if this process is killed, which no ``finally`` gets to see.

    It is there before the program is, which would go unguarded for as long as starting it takes.
    """
    with anyio.CancelScope(shield=True):
        guard = await asyncio.create_subprocess_exec(
            *_GUARD, stdin=PIPE, stdout=DEVNULL, stderr=DEVNULL, env={}, start_new_session=True
        )
    assert guard.stdin is not None, "it has been given one"
    try:
        yield guard.stdin
    finally:
        with anyio.CancelScope(shield=True):
            with contextlib.suppress(ProcessLookupError):
                guard.kill()
            await guard.wait()


async def _follow(process: Process, pipes: Pipes, outputs: tuple[Collected, Collected]) -> None:
    readers = [asyncio.ensure_future(one.read_into(kept)) for one, kept in zip(pipes, outputs, strict=True)]
    try:
        await process.wait()
        _kill(process)
        # Who has left the group may hold the pipes open for as long as it likes.
        await asyncio.wait(readers, timeout=_LINGER_SECONDS)
    finally:
        for reader in readers:
            reader.cancel()
        await asyncio.gather(*readers, return_exceptions=True)


async def _end(process: Process) -> None:
    _kill(process)
    await process.wait()


def _kill(process: Process) -> None:
    """End all that is left of the program's group, of which it is the leader."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
