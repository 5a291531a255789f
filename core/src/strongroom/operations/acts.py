"""What a program does with secrets beyond reading them: it says so, and it stands in the trail."""

from __future__ import annotations

from typing import TYPE_CHECKING

from strongroom.operations.reading import Reader

if TYPE_CHECKING:
    from strongroom.operations.recorded import RecordedAction


class Actor(Reader):
    """Records what a program does with secrets, as one principal."""

    def recorded(self, action: str, *, detail: str | None = None) -> RecordedAction:
        """Return a ``with`` block for something that the program does, which is recorded before and after it.

        It is an event ``action``: an attempt, which is durable before the block begins, and an outcome. That has the
        duration, and as its result ``ok``, what :meth:`RecordedAction.note` was told, the code of a
        ``StrongroomError`` that has left the block, ``failed`` for another exception, or ``interrupted``.

        Neither the name nor the detail may ever have anything of a value in it, nor what a stranger has written: all
        of it stands in the trail for as long as that is kept.

        Args:
            action: What is done: small letters, digits, and ``_./-`` after the first letter, 100 characters at most.
            detail: A fact about it: one printable line of 200 characters at most.

        Raises:
            ConfigurationError: The name or the detail is not of that form. On entering: the block was entered before.
            AuditError: Only on entering: it cannot be recorded, so it must not be done. On leaving: it was done
                (``applied``), and the outcome could not be recorded.
            ClosedError: Only on entering: the manager is closed.
        """
        # Imported here: most programs only read.
        from strongroom.operations.recorded import RecordedAction

        return RecordedAction(self._parts, self._gate, action, detail)

    def record_refused(self, action: str, result: str, *, detail: str | None = None) -> None:
        """Record that the program has refused to do something: an event ``action`` that has an outcome only.

        Args:
            action: What was asked for; as for :meth:`recorded`.
            result: Why it is not done: small letters, digits and ``_``, 40 characters at most, and not ``ok``.
            detail: As for :meth:`recorded`.

        Raises:
            ConfigurationError: One of them is not of its form.
            AuditError: It cannot be recorded.
            ClosedError: The manager is closed.
        """
        from strongroom.operations.recorded import record_refused

        record_refused(self._parts, self._gate, action, result, detail)
