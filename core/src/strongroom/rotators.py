"""The guard around rotators: span, time limit and translation of foreign errors."""

from __future__ import annotations

import threading

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

from strongroom._apart import apart
from strongroom.config.rotation import RotationRule
from strongroom.contracts.rotation import GenerateRequest, GenerateResult, Life, Rotator, RotatorSpec
from strongroom.discovery import Catalogue, Kind
from strongroom.errors import RotationError, StrongroomError
from strongroom.model import SecretName, SecretValue
from strongroom.opening import open_part
from strongroom.pacing import within
from strongroom.resilience.deadlines import TimedCalls
from strongroom.telemetry import Telemetry

Request = TypeVar("Request")

GENERATE_SECONDS: Final = 10.0


class GuardedRotator:
    """One rotator with the core's span, limit and error translation around it.

    Args:
        rotator: The rotator itself.
        spec: What its plugin says of it.
        telemetry: Opens the spans.
    """

    def __init__(self, rotator: Rotator, spec: RotatorSpec, telemetry: Telemetry) -> None:
        self.wrapped = rotator
        self.spec = spec
        self._telemetry = telemetry
        self._calls = TimedCalls(f"the rotator {spec.name}")

    def call(self, step: str, request: Any, name: SecretName, *, gives: type[Request], seconds: float) -> Request:
        """Call one of the rotator's methods.

        Args:
            step: The method's name.
            request: Its argument.
            name: The secret's name.
            gives: What it has to return.
            seconds: How long it may take; what has not returned by then is left behind, and the request's
                ``confirm`` refuses when it is called from there.

        Raises:
            StrongroomError: The rotator says so.
            RotationError: It fails with anything else; nothing of that is shown, since it may hold values.
        """
        function: Callable[[Any], Any] = getattr(self.wrapped, step)
        with self._telemetry.span(f"rotator.{step}", name=name, rotator_type=self.spec.name), within(seconds):
            try:
                result = apart(self._calls.call, function, request)
            except StrongroomError as error:
                error.name = error.name or name
                raise
            # The plugin boundary. Neither its text nor its locals may be shown: what changes a password holds it.
            except Exception as error:  # noqa: BLE001  # see above
                raise self._failed(step, name, type(error).__name__) from None
            if not isinstance(result, gives):
                raise self._failed(step, name, f"an answer of {type(result).__name__}")
            return result

    def _failed(self, step: str, name: SecretName, what: str) -> RotationError:
        error = RotationError(
            f"the rotator {self.spec.name} failed in {step} of {name} with {what}",
            code="rotation_failed" if step == "generate" else "rotation_incomplete",
            name=name,
            hint="see its own log; `strongroom rotation status` shows what is pending, if anything is",
        )
        error.step = step
        return error

    def value(self, name: SecretName) -> SecretValue:
        """Return a value of a rotator that needs nobody for it.

        Args:
            name: The secret's name.

        Raises:
            StrongroomError: It cannot make one.
        """
        nothing = SecretValue(b"")
        request = GenerateRequest(name=name, current=nothing, attempt=1, read_secret=lambda _: nothing)
        return self.call("generate", request, name, gives=GenerateResult, seconds=GENERATE_SECONDS).value

    def life(self, value: SecretValue) -> Life | None:
        """Return for how long a value is of use by itself; ``None`` if it does not end, or if that cannot be told."""
        try:
            life = self.wrapped.life(value)
            # What says no offset from UTC is taken as that, never as local time.
            return life and Life(begins=_with_offset(life.begins), ends=_with_offset(life.ends))
        # The plugin boundary: a value that was set by hand may be anything.
        except Exception:  # noqa: BLE001  # see above
            return None

    def after_fork(self) -> None:
        """Leave in a forked child what the parent is waiting for."""
        self._calls.after_fork()

    def close(self) -> None:
        """Close the rotator; what it raises is nobody's concern any more."""
        try:
            self.wrapped.close()
        # The plugin boundary: as above.
        except Exception:  # noqa: BLE001  # see above
            return


def _with_offset(moment: datetime) -> datetime:
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


class Rotators:
    """The rotators of the configuration, each opened when it is first needed.

    Args:
        catalogue: Where their plugins are found.
        telemetry: Opens their spans.
    """

    def __init__(self, catalogue: Catalogue, telemetry: Telemetry) -> None:
        self._catalogue = catalogue
        self._telemetry = telemetry
        self._opened: dict[str, GuardedRotator] = {}
        self._lock = threading.RLock()

    def of(self, rule: RotationRule) -> GuardedRotator:
        """Return a rule's rotator.

        Raises:
            PluginError: No plugin offers it, or the one that does is broken.
            ConfigurationError: Its settings are not usable.
        """
        with self._lock:
            if rule.pattern not in self._opened:
                spec: RotatorSpec = self._catalogue.load(Kind.ROTATOR, rule.table.type)
                rotator: Rotator = open_part(spec, rule.table, Kind.ROTATOR)
                self._opened[rule.pattern] = GuardedRotator(rotator, spec, self._telemetry)
            return self._opened[rule.pattern]

    def spec(self, rule: RotationRule) -> RotatorSpec:
        """Return what a rule's rotator says of itself, without opening it.

        Raises:
            PluginError: No plugin offers it, or the one that does is broken.
        """
        found: RotatorSpec = self._catalogue.load(Kind.ROTATOR, rule.table.type)
        return found

    def after_fork(self) -> None:
        """Take a new lock in a forked child."""
        self._lock = threading.RLock()
        for one in self._opened.values():
            one.after_fork()

    def close(self) -> None:
        """Close all that were opened."""
        with self._lock:
            for one in self._opened.values():
                one.close()
            self._opened.clear()
