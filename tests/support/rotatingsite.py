"""A place where one secret is rotated by processes that may stop at any point, for tests of rotations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import pytest

import strongroom

from rotatingkit import Dependent, DependentRotator, Killed, Trap, TrappedMemory, TrappedStages
from strongroom.errors import RotationError, StrongroomError

NAME: Final = "db/app"
KINDS: Final[dict[str, Any]] = {"records": TrappedMemory, "stages": TrappedStages}
MOST_POINTS: Final = 60


class Site:
    """A backend, a dependent, and managers that come and go.

    Args:
        kind: One of :data:`KINDS`.
        register: Takes a rotator and returns the settings that lead to it.
        options: Those of the dependent.
    """

    def __init__(self, kind: str, register: Callable[[Any], dict[str, Any]], **options: Any) -> None:
        self.trap = Trap()
        self.backend = KINDS[kind](self.trap)
        self.dependent = Dependent("first", **options)
        self.rotator = DependentRotator(self.dependent, self.trap)
        self.rule = register(self.rotator)
        self.managers: list[strongroom.SecretManager] = []
        with self.opened() as manager:
            manager.set(NAME, "first")

    def opened(self, **rule: Any) -> strongroom.SecretManager:
        """Return another manager, as another process would have."""
        manager = strongroom.open(
            {
                "audit": "none",
                "backend": "main",
                "cache": {"policy": "none"},
                "rotation": {NAME: {**self.rule, **rule}},
            },
            backends={"main": self.backend},
            sleep=lambda _: None,
        )
        self.managers.append(manager)
        return manager

    @property
    def current(self) -> str:
        """What readers get."""
        with self.opened() as manager:
            return manager.get(NAME).reveal_text()

    def stopped(self, at: int, error: Callable[[], BaseException] = Killed) -> bool:
        """Rotate, stopped at a point; tell whether there is that point."""
        self.trap.arm(at, error)
        manager = self.opened()
        try:
            manager.rotate(NAME)
        except (Killed, StrongroomError):
            return True
        finally:
            reached = self.trap.at is None
            self.trap.arm(None)
        return reached

    def settle(self, how: str) -> None:
        """Resume or undo what is pending, if anything is, as another process."""
        with self.opened() as manager:
            (status,) = manager.rotation.status()
            if status.state == "idle":
                return
            # Stages do not tell whether whoever began it is still there.
            if how == "undo":
                manager.rotation.undo(NAME, force=True)
            elif status.step == "undo":
                with pytest.raises(RotationError, match="was being undone, and that is done now"):
                    manager.rotation.resume(NAME, force=True)
            else:
                manager.rotation.resume(NAME, force=True)
