"""Keeps files up to date: renders at once, and again whenever a secret or a template has changed."""

from __future__ import annotations

import time

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from strongroom.errors import BackendUnavailableError, StrongroomError
from strongroom.templates.bell import Bell
from strongroom.templates.files import Files
from strongroom.templates.reads import Reads

if TYPE_CHECKING:
    from strongroom.manager import SecretManager
    from strongroom.model import SecretName

QUIET_SECONDS: Final = 0.25
"""How long nothing more must have changed before it renders: several secrets often change together."""
LONGEST_WAIT: Final = 2.0
"""Seconds after which it renders although there is still no end of changes."""
ROUNDS: Final = 10
"""After so many intervals it renders in any case, whether or not anybody has told of a change."""


class Keeper:
    """Renders and writes, again and again.

    Args:
        manager: Reads the secrets, and tells of changes; it is to watch for those that others make.
        bell: Rings when something has changed.
        write: Renders with these files and secrets and writes; returns the paths that have changed.
        command: Runs what is to run after that; returns what went wrong, or nothing.
        every: Seconds between two looks at the templates, and before something is tried again.
        say: Told what went wrong, each time that it is something else.
        clock: Monotonic seconds.

    Attributes:
        on_ready: Called after the first rendering that was written.
    """

    def __init__(
        self,
        manager: SecretManager,
        bell: Bell,
        *,
        write: Callable[[Files, Reads], list[str]],
        command: Callable[[], str],
        every: float,
        say: Callable[[str], object],
        on_ready: Callable[[], object] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._manager = manager
        self._bell = bell
        self._write = write
        self._command = command
        self._every = every
        self._say = say
        self._clock = clock
        self.on_ready = on_ready
        # Of what was read only the names are kept: a value lives no longer than its rendering.
        self._files, self._has_listed = Files(), False
        self._used: set[SecretName] = set()
        self._subscriptions: dict[SecretName, Callable[[], None]] = {}
        self._trouble = ""
        self._owes_command = False
        self._is_ready = self._is_over = self._is_asked = False
        self._rounds = 0

    def start(self) -> None:
        """Render for the first time.

        Raises:
            StrongroomError: It failed, and not because of an outage, which is waited out.
        """
        error = self._turn()
        if error is not None and not isinstance(error, BackendUnavailableError):
            raise error

    def run(self) -> None:
        """Render whenever something has changed, until :meth:`stop` is called."""
        due = self._clock() + self._every
        while not self._is_over:
            rang = self._bell.wait(max(0.0, due - self._clock()))
            if rang:
                self._settle()
            if self._is_over:
                return
            if self.look(rang=rang) or not rang:
                due = self._clock() + self._every

    def stop(self) -> None:
        """Have :meth:`run` end. A signal's handler may call it."""
        self._is_over = True
        self._bell.ring()

    def ask(self) -> None:
        """Have the files rendered at once, with what the backends answer now. A signal's handler may call it."""
        self._is_asked = True
        self._bell.ring()

    def look(self, *, rang: bool) -> bool:
        """Render if that is due; tell whether it was.

        Args:
            rang: Whether somebody has told that something has changed; else an interval is over.
        """
        if self._is_asked:
            self._is_asked = False
            self._forget()
        self._rounds += not rang
        has_failed = bool(self._trouble) or not self._is_ready
        again = has_failed or self._has_listed or self._rounds >= ROUNDS or self._files.has_changed()
        if rang or again:
            self._turn()
        return rang or again

    def close(self) -> None:
        """End all subscriptions; twice is no error."""
        for end in self._subscriptions.values():
            end()
        self._subscriptions = {}

    def _settle(self) -> None:
        """Wait until changes come to an end."""
        until = self._clock() + LONGEST_WAIT
        while not self._is_over and self._clock() < until and self._bell.wait(QUIET_SECONDS):
            pass

    def _forget(self) -> None:
        """Forget what is cached of the secrets, so that the next rendering asks their backends."""
        # A leased credential is no copy of anything: forgetting it would make another one.
        leased = {one.name for one in self._manager.leases()}
        for name in self._used - leased:
            try:
                self._manager.invalidate(name)
            except StrongroomError:
                continue  # the rendering says why it may not be read

    def _turn(self) -> StrongroomError | None:
        """Render, write, and run the command; return what went wrong, which has been told."""
        self._rounds = 0
        files, reads = Files(), Reads(self._manager, on_use=self._follow)
        error: StrongroomError | None = None
        try:
            self._owes_command |= bool(self._write(files, reads))
        except StrongroomError as failure:
            error = failure.again()
        self._files, self._used, self._has_listed = files, reads.used, reads.has_listed
        if error is not None:
            self._told("\n".join([str(error), *getattr(error, "__notes__", ())]))
            return error
        self._leave_others()
        self._finish()
        return None

    def _finish(self) -> None:
        """Run the command if it is owed, and tell that all is written."""
        trouble = self._command() if self._owes_command else ""
        self._owes_command = bool(trouble)
        self._told(trouble)
        if not self._is_ready:
            self._is_ready = True
            self.on_ready()

    def _told(self, trouble: str) -> None:
        """Tell what goes wrong, once."""
        if trouble and trouble != self._trouble:
            self._say(trouble)
        self._trouble = trouble

    def _follow(self, name: SecretName) -> None:
        """Hear of a secret's changes, from before it is read."""
        if name not in self._subscriptions:
            self._subscriptions[name] = self._manager.on_update(name, lambda _: self._bell.ring())

    def _leave_others(self) -> None:
        """Hear no more of secrets that are not used any more; after a failure nobody knows which those are."""
        for name in self._subscriptions.keys() - self._used:
            self._subscriptions.pop(name)()
