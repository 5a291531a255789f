"""Every error that strongroom raises, grouped by whose fault it is.

An error states what failed and why, may carry a hint that says what to do next,
and never holds a value. Its ``code`` is stable: the command line, the audit
trail and the metrics all use it, and users may branch on it.

A class is named after the state that it reports. Errors that the caller cannot
tell apart by acting differently share a class and differ in their code.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Self


class StrongroomError(Exception):
    """Anything that strongroom reports; catch it to catch them all.

    Args:
        what: What failed and why, in one sentence without a final stop.
        hint: What the user can do about it; empty when there is nothing to say.
        code: One of the class's ``codes``; the first one unless given.
        name: The secret's name, where one secret is concerned.
        backend: The configured name of the backend, where one is concerned.
    """

    codes: ClassVar[tuple[str, ...]] = ("error",)
    exit_status: ClassVar[int] = 1

    def __init__(
        self,
        what: str,
        *,
        hint: str = "",
        code: str | None = None,
        name: str | None = None,
        backend: str | None = None,
    ) -> None:
        if code is not None and code not in self.codes:
            raise ValueError(f"{type(self).__name__} has no code {code!r}; it has {', '.join(self.codes)}")
        super().__init__(what)
        self.what = what
        self.hint = hint
        self.code = code or self.codes[0]
        self.name = name
        self.backend = backend

    def __str__(self) -> str:
        """Return what failed and, after a colon, what to do."""
        return f"{self.what}: {self.hint}" if self.hint else self.what

    def __reduce__(self) -> tuple[Callable[[], Self], tuple[()], dict[str, object]]:
        """Let errors cross process boundaries although their arguments are named."""
        return type(self)._blank, (), self.__dict__ | {"args": self.args}

    def __setstate__(self, state: dict[str, object] | None) -> None:
        """Take up the state that ``__reduce__`` gave away."""
        for key, value in (state or {}).items():
            setattr(self, key, value)

    def again(self) -> Self:
        """Return a copy without traceback, to raise the same answer a second time."""
        copy = self._blank()
        copy.__setstate__(self.__dict__ | {"args": self.args})
        return copy

    @classmethod
    def _blank(cls) -> Self:
        return cls.__new__(cls)


class SecretNotFoundError(StrongroomError):
    """The backend answered that it has no such secret, version or field."""

    codes = ("not_found", "version_not_found", "field_not_found")
    exit_status = 3


class SecretDeletedError(SecretNotFoundError):
    """The secret was there: it is deleted, destroyed or scheduled for deletion.

    Args:
        when: When it was or will be deleted, in ISO 8601 with offset, if known.
    """

    codes = ("deleted", "destroyed", "deletion_scheduled")

    def __init__(self, what: str, *, when: str | None = None, **context: str | None) -> None:
        super().__init__(what, **context)  # type: ignore[arg-type]  # hint is the only str among optional ones
        self.when = when


class AccessDeniedError(StrongroomError):
    """The policy, or the backend's own, does not let this principal do this.

    Attributes:
        rule: The id of the policy rule or detector that decided, where one of ours did.
    """

    codes = ("denied",)
    exit_status = 4
    rule: str | None = None


class SuspiciousActivityError(AccessDeniedError):
    """An anomaly detector blocked the access."""

    codes = ("suspicious",)
    exit_status = 9


class AuthenticationError(StrongroomError):
    """Our own credentials for the backend were refused or have run out."""

    codes = ("authentication_failed",)
    exit_status = 5


class VersionConflictError(StrongroomError):
    """Somebody else wrote first.

    Args:
        expected: The version that the caller expected, or ``"absent"``.
        found: The version that the backend has, or ``"absent"``, if it says so.
    """

    codes = ("conflict",)
    exit_status = 7

    def __init__(self, what: str, *, expected: str, found: str | None, **context: str | None) -> None:
        super().__init__(what, **context)  # type: ignore[arg-type]  # hint is the only str among optional ones
        self.expected = expected
        self.found = found


class InvalidNameError(StrongroomError):
    """The name is not one that a secret can have; nothing was touched."""

    codes = ("invalid_name",)
    exit_status = 2


class InvalidValueError(StrongroomError):
    """The value cannot be used as asked: it is not text, or the backend cannot hold it."""

    codes = ("invalid_value", "not_text", "not_json")
    exit_status = 2


class ValueTooLargeError(StrongroomError):
    """The value is larger than the backend's limit; nothing was sent.

    Args:
        size: The value's size in bytes.
        limit: The most bytes that the backend takes.
    """

    codes = ("too_large",)
    exit_status = 2

    def __init__(self, what: str, *, size: int, limit: int, **context: str | None) -> None:
        super().__init__(what, **context)  # type: ignore[arg-type]  # hint is the only str among optional ones
        self.size = size
        self.limit = limit


class UnsupportedOperationError(StrongroomError):
    """The backend does not offer this operation; nothing was sent."""

    codes = ("unsupported",)
    exit_status = 2


class MasterKeyError(StrongroomError):
    """The local store's master key is missing, malformed or the wrong one."""

    codes = ("master_key_wrong", "master_key_missing", "master_key_invalid")
    exit_status = 8


class StoreDamagedError(StrongroomError):
    """The local store's file is not one that can be read; it was left as it is."""

    codes = ("store_damaged",)
    exit_status = 8


class TamperedError(StrongroomError):
    """Something stored fails its authentication under the right key."""

    codes = ("tampered",)
    exit_status = 8


class BackendUnavailableError(StrongroomError):
    """No answer: an outage. Trying again later may help.

    Attributes:
        unsent: Whether it is certain that the backend has received nothing. A change that fails
            otherwise may have been made.
        own_limit: Whether it was a limit of our own that let nothing through, which says nothing about the backend.
        lasted: How long the backend has been out of reach, in seconds, as far as this process knows; its text says so.
    """

    codes = ("unavailable", "connection_refused", "timeout", "sealed", "server_error", "rate_limited", "busy")
    exit_status = 6
    unsent: bool = False
    own_limit: bool = False
    lasted: float | None = None

    def __str__(self) -> str:
        """Return for how long the backend has been out of reach, if it has for a while, what failed and what to do."""
        if self.lasted is None or self.lasted < 1.0:
            return super().__str__()
        from strongroom._spoken import spoken  # only an outage needs it

        return f"{self.backend or 'the backend'} has been out of reach for {spoken(self.lasted)}: {super().__str__()}"


class BackendError(StrongroomError):
    """Anything else that a backend raised; its own exception is the cause."""

    codes = ("backend_error", "storage_full", "tls_failed", "insecure_permissions")


class AuditError(StrongroomError):
    """A required audit sink could not record, so the operation was refused.

    Args:
        applied: Whether the change itself was made before the record of its
            outcome failed.
    """

    codes = ("audit_failed",)
    exit_status = 10

    def __init__(self, what: str, *, applied: bool = False, hint: str = "", name: str | None = None) -> None:
        super().__init__(what, hint=hint, name=name)
        self.applied = applied


class ConfigurationError(StrongroomError):
    """The configuration, or an argument that stands for it, is not usable."""

    codes = ("configuration",)
    exit_status = 2


class PluginError(StrongroomError):
    """A plugin that the configuration asks for is missing, broken or clashes with another."""

    codes = ("plugin_missing", "plugin_broken", "plugin_clash")
    exit_status = 2


class RotationError(StrongroomError):
    """A rotation did not come to its end, or could not begin.

    The codes tell what is to be done: ``rotation_in_progress``, wait; ``rotation_left_over``, resume or undo what
    another process has left; ``rotation_lost``, nothing, since another process has taken it over;
    ``rotation_failed``, look at the cause: it was undone, and everything is as before; ``rotation_incomplete``, the
    same, but it is pending and will be resumed or undone; ``rotation_none``, there is nothing to resume or undo.

    Attributes:
        step: The step at which it stopped, if it had begun; one of ``generate``, ``record``, ``apply``, ``verify``,
            ``promote``, ``announce``, ``finish`` and ``undo``.
    """

    codes: ClassVar[tuple[str, ...]] = (
        "rotation_failed",
        "rotation_incomplete",
        "rotation_in_progress",
        "rotation_left_over",
        "rotation_lost",
        "rotation_none",
    )
    exit_status = 12
    step: str | None = None


class UndoRefusedError(RotationError):
    """A rotation cannot be taken back, since the former value has been made useless already; it can be resumed."""

    codes = ("undo_refused",)


class CandidateRefusedError(StrongroomError):
    """The dependent of a rotation does not take a candidate, or does not accept it once taken."""

    codes = ("candidate_refused",)
    exit_status = 12


class ClosedError(StrongroomError):
    """The manager was used after it had been closed."""

    codes = ("closed",)


class BatchError(StrongroomError):
    """A strict batch read failed for at least one name.

    Args:
        errors: Each name that failed with its error.
    """

    codes = ("batch_failed",)

    def __init__(self, what: str, *, errors: dict[str, StrongroomError], hint: str = "") -> None:
        super().__init__(what, hint=hint)
        self.errors = errors
