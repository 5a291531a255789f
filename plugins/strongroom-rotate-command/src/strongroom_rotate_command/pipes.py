"""Pipes to and from a program: values go through them, and through nothing else."""

from __future__ import annotations

import os
import select
import weakref

from collections.abc import Iterable
from typing import Final

from strongroom.model import SecretValue, ValueType

_CHUNK: Final = 1 << 16
_LONGEST_WAIT: Final = 3600.0
"""Seconds: the system takes its milliseconds as 32 bits, so nothing waits longer at once."""
MOST_BYTES: Final = 16 << 20
"""How large a value that a program makes may be."""

_held: weakref.WeakSet[Pipe] = weakref.WeakSet()


class Pipe:
    """One pipe, of which the program gets one end and this process keeps the other.

    Neither end is inherited by any other program, nor is it open in a forked child.
    """

    def __init__(self) -> None:
        self.kept = self.given = -1

    def close_given(self) -> None:
        """Close the program's end in this process; the program has its own by now."""
        _close(self.given)
        self.given = -1

    def close(self) -> None:
        """Close both ends. Closing twice is no error."""
        _close(self.kept)
        self.kept = -1
        self.close_given()
        _held.discard(self)


class Feed(Pipe):
    """Brings a value to a program that may read it, or not.

    Args:
        value: The value.
    """

    def __init__(self, value: SecretValue) -> None:
        super().__init__()
        self._left = memoryview(value.reveal())
        _held.add(self)
        self.given, self.kept = os.pipe()
        os.set_blocking(self.kept, False)

    def move(self) -> None:
        """Write as much as goes in at once; at the end, or when nobody reads any more, close the pipe."""
        try:
            while self._left:
                self._left = self._left[os.write(self.kept, self._left[:_CHUNK]) :]
        except BlockingIOError:
            return
        except BrokenPipeError:
            self._left = self._left[:0]
        _close(self.kept)
        self.kept = -1


class Catch(Pipe):
    """Takes a value from a program."""

    def __init__(self) -> None:
        super().__init__()
        self._content = bytearray()
        _held.add(self)
        self.kept, self.given = os.pipe()
        os.set_blocking(self.kept, False)

    def move(self) -> None:
        """Read as much as there is; at its end, or when it is too much, close the pipe."""
        try:
            while self.kept >= 0 and len(self._content) <= MOST_BYTES:
                # Never in a variable of its own: a traceback may show those.
                before = len(self._content)
                self._content += os.read(self.kept, _CHUNK)
                if len(self._content) == before:
                    break
        except BlockingIOError:
            return
        _close(self.kept)
        self.kept = -1

    def __len__(self) -> int:
        """Return how many bytes have come."""
        return len(self._content)

    def value(self, kind: ValueType) -> SecretValue | None:
        """Return what has come, and forget it; ``None`` if it is to be text and is none.

        Args:
            kind: Whether it is to be text.
        """
        value = SecretValue.of_bytes(bytes(self._content), kind)
        self._content[:] = bytes(len(self._content))
        self._content.clear()
        return value if kind is ValueType.BINARY or _is_text(value) else None


def wait(pipes: Iterable[Feed | Catch], seconds: float, until: int = -1) -> None:
    """Move what can be moved, and wait for at most some time until something can.

    Args:
        pipes: The pipes; those that are closed are passed over.
        seconds: How long to wait.
        until: A descriptor that ends the waiting once it can be read; none if it is negative.
    """
    poll = select.poll()
    if until >= 0:
        poll.register(until, select.POLLIN)
    open_ones = {pipe.kept: pipe for pipe in pipes if pipe.kept >= 0}
    for descriptor, pipe in open_ones.items():
        poll.register(descriptor, select.POLLIN if isinstance(pipe, Catch) else select.POLLOUT)
    for descriptor, _ in poll.poll(min(seconds, _LONGEST_WAIT) * 1000):
        if descriptor in open_ones:
            open_ones[descriptor].move()


def _is_text(value: SecretValue) -> bool:
    try:
        value.reveal().decode()
    # Its arguments hold the bytes: nothing is raised from it.
    except UnicodeDecodeError:
        return False
    return True


def _close(descriptor: int) -> None:
    if descriptor >= 0:
        os.close(descriptor)


def _close_all() -> None:
    """Close, in a forked child, what the parent has under way: its programs wait for the end of their input."""
    for pipe in list(_held):
        pipe.close()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_close_all)
