"""A rotation that a backend's service makes: it is triggered, and watched until its version is the current one."""

from __future__ import annotations

import os
import time

from typing import Final

from strongroom.cache.flights import Landing
from strongroom.config.rotation import DEFAULT_ROTATOR, RotationRule
from strongroom.contracts.service_rotation import RotationStatusRequest, TriggerRotationRequest
from strongroom.errors import (
    BackendUnavailableError,
    ConfigurationError,
    StrongroomError,
    UnsupportedOperationError,
    VersionConflictError,
)
from strongroom.model import SecretName
from strongroom.resilience.guarded import GuardedBackend
from strongroom.wiring import Parts

FIRST_SECONDS: Final = 1.0
LONGEST_SECONDS: Final = 10.0
"""How long to wait between two looks, at most."""
GROWTH: Final = 1.5


def refuse_choices(name: SecretName, maker: str, *, size: int | None, encoding: str | None) -> None:
    """Refuse to choose how a value is made that somebody else makes.

    Args:
        name: The secret's name.
        maker: Who makes it, in words.
        size: What was asked for; ``None`` for nothing.
        encoding: The same.

    Raises:
        UnsupportedOperationError: Something was asked for.
    """
    chosen = [what for what, given in (("size", size), ("encoding", encoding)) if given is not None]
    if chosen:
        raise UnsupportedOperationError(
            f"{maker} rotates {name} and makes the value, so no {' or '.join(chosen)} can be chosen",
            name=name,
            hint=f"leave that out, or say it to {maker}",
        )


def refuse_rule(name: SecretName, backend: str, rule: RotationRule | None) -> None:
    """Refuse to have two rotate one secret.

    Args:
        name: The secret's name.
        backend: The configured name of its backend, whose service rotates it.
        rule: The rule for it, if there is one.

    Raises:
        ConfigurationError: The rule says that another rotator does.
    """
    if rule is not None and rule.keys.rotator != DEFAULT_ROTATOR:
        raise ConfigurationError(
            f'the service of {backend} rotates {name}, and [rotation."{rule.pattern}"] says that the rotator '
            f"{rule.keys.rotator} does",
            name=name,
            backend=backend,
            hint="take the rotation off the service, or the name out of the table",
        )


class ServiceWatch:
    """One rotation of one secret by its backend's service.

    Args:
        parts: The stages of the manager.
        backend: The secret's backend.
        name: The secret's name.

    Attributes:
        version: The version that the service makes; empty until it is triggered.
    """

    def __init__(self, parts: Parts, backend: GuardedBackend, name: SecretName) -> None:
        self._parts = parts
        self._backend = backend
        self._name = name
        self.version = ""
        self._over = Landing()

    def wake(self) -> None:
        """Let the wait end now, since the manager is closed."""
        self._over.set()

    def refuse_unless_current(self, expected: str | None) -> None:
        """Refuse to rotate another version than the expected one; no value is read for that.

        Args:
            expected: The version; ``None`` for any.

        Raises:
            VersionConflictError: Another one is current.
        """
        if expected is None:
            return
        request = RotationStatusRequest(name=self._name, version=expected)
        found = self._backend.rotation_status(request).current
        if found != expected:
            raise VersionConflictError(
                f"{self._name} is at version {found or 'absent'}, not {expected}",
                expected=expected,
                found=found or "absent",
                name=self._name,
                backend=self._backend.name,
                hint="read it again and decide anew",
            )

    def trigger(self) -> str | None:
        """Have the service begin; return its id of the request, if there is one."""
        begun = self._backend.trigger_rotation(TriggerRotationRequest(name=self._name, token=new_uuid()))
        self.version = begun.version
        return begun.request_id

    def wait(self, seconds: float) -> None:
        """Look again and again until the new version is the current one.

        Args:
            seconds: For how long, at most.

        Raises:
            BackendUnavailableError: It is not within that time (code ``timeout``).
            StrongroomError: The service refuses to say.
        """
        try:
            self._look_until(self._parts.clock() + seconds, seconds)
        except StrongroomError as error:
            if error.code != "timeout":
                error.add_note(f"the service goes on with the rotation of {self._name} to version {self.version}")
            raise

    def _look_until(self, end: float, seconds: float) -> None:
        pause = GROWTH * FIRST_SECONDS
        outage: BackendUnavailableError | None = None
        while (left := end - self._parts.clock()) > 0:
            self._pause(min(left, _jittered(pause)))
            self._parts.ensure_open()
            pause = min(GROWTH * pause, LONGEST_SECONDS)
            try:
                if self._is_done():
                    return
            except BackendUnavailableError as error:
                # The rotation goes on without us: an answer that is late tells as much.
                outage = error
        raise self._timeout(seconds) from outage

    def _pause(self, seconds: float) -> None:
        if self._parts.sleep is time.sleep:
            # The same, but what is closed meanwhile is not waited for.
            self._over.wait(seconds)
        else:
            self._parts.sleep(seconds)

    def _is_done(self) -> bool:
        request = RotationStatusRequest(name=self._name, version=self.version)
        return self._backend.rotation_status(request).done

    def _timeout(self, seconds: float) -> BackendUnavailableError:
        return BackendUnavailableError(
            f"the service of {self._backend.name} has not ended its rotation of {self._name} "
            f"to version {self.version} within {seconds:g} s",
            code="timeout",
            name=self._name,
            backend=self._backend.name,
            hint="it goes on; `strongroom schedule` shows when that has been, and a longer wait may see it",
        )


def _jittered(pause: float) -> float:
    """Return a pause that is shorter by up to a third, but no shorter than the first one: many may be waiting."""
    # The random module would cost a command more than the number is worth.
    return max(FIRST_SECONDS, pause * (1.0 - int.from_bytes(os.urandom(4)) / 2**32 / 3.0))


def new_uuid() -> str:
    """Return a random UUID (RFC 9562, version 4); the module for them would cost a command more."""
    number = bytearray(os.urandom(16))
    number[6] = number[6] & 0x0F | 0x40
    number[8] = number[8] & 0x3F | 0x80
    text = number.hex()
    return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))
