"""How a process that has read the secrets waits until it may become the program.

The parent starts one for each start of the program. It reads everything as ``run`` always does, says which versions
it has got, and waits; so the values never pass through the parent, and a program whose new values cannot be read
goes on with the old ones. Told to go, it becomes the program; if the parent gives up or is gone, it ends.
"""

from __future__ import annotations

import json
import os
import signal

from typing import Final

from strongroom._record import Record
from strongroom.cli.command import UsageError
from strongroom.memory import end_with_parent, forbid_inspection

_CHUNK: Final = 4096
"""Bytes: what a pipe takes at least. Each part is announced, so that a parent that waits for signals reads it."""


class Report(Record):
    """Which secrets somebody is ready to hand over."""

    names: tuple[str, ...]
    known: dict[str, str | None]
    """The version of each, as far as that is known; ``None`` of one that is not there."""
    passing: tuple[str, ...] = ()
    """Those whose versions are another process's own, so that nothing follows from them."""
    listed: tuple[str, ...] = ()
    """What was found below the folders that were asked for, sorted."""
    leased: tuple[tuple[str, float], ...] = ()
    """For how many seconds each leased credential lives; these are among the names only."""

    def brings_nothing_new(self, before: Report) -> bool:
        """Tell whether a program that has got something else already would get nothing new by this.

        A leased credential is another one each time, which is no news by itself. Of what has another process's own
        versions nobody can tell, so that is left out.

        Args:
            before: What it has got.
        """
        mine, others = ((one.names, one.known, one.listed) for one in (self, before))
        return mine == others

    def to_json(self) -> bytes:
        """Return it in one line."""
        return json.dumps({field: getattr(self, field) for field in self._fields}).encode() + b"\n"

    @classmethod
    def from_json(cls, line: bytes) -> Report:
        """Return what ``to_json`` has written.

        Raises:
            ValueError: It was written by another release, to which strongroom was upgraded meanwhile.
        """
        try:
            content = json.loads(line)
            lists = {field: tuple(content[field]) for field in ("names", "passing", "listed")}
            leased = tuple((str(name), float(seconds)) for name, seconds in content["leased"])
            return cls(known=dict(content["known"]), leased=leased, **lists)
        except (KeyError, TypeError) as error:
            raise ValueError("it is no report of this release") from error


class Handover:
    """The child's side of it.

    Args:
        text: What the parent has said: two open files and its own process id, with colons between them.

    Raises:
        UsageError: It is no such text.
    """

    def __init__(self, text: str) -> None:
        try:
            self._report, self._go, self._parent = map(int, text.split(":"))
            # They end where the program begins.
            os.set_inheritable(self._report, False)
            os.set_inheritable(self._go, False)
        except (ValueError, OSError) as error:
            raise UsageError("--handover is for strongroom's own use", hint="use --on-change") from error
        # Beside the program that still runs, it holds the new values, and what opens the stores.
        forbid_inspection()
        end_with_parent()

    def agreed(self, report: Report) -> bool:
        """Say what is ready, and wait; return whether to become the program.

        Args:
            report: The secrets that it is to get.
        """
        # If the parent has died before it was said that this process is to die with it, that does not happen.
        if os.getppid() != self._parent:
            return False
        line = report.to_json()
        try:
            for start in range(0, len(line), _CHUNK):
                os.write(self._report, line[start : start + _CHUNK])
                os.kill(self._parent, signal.SIGCHLD)
            return os.read(self._go, 1) == b"g"
        except OSError:
            return False
