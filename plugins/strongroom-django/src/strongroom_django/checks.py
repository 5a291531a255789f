"""What ``manage.py check`` says about strongroom."""

from __future__ import annotations

from typing import Any, Final

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning  # noqa: A004  # Django calls it so
from django.utils.module_loading import import_string

from strongroom import HealthState
from strongroom.errors import StrongroomError
from strongroom_django.managers import manager
from strongroom_django.reporting import StrongroomExceptionReporter

TAG: Final = "strongroom"


def check_settings(**_given: Any) -> list[CheckMessage]:
    """Warn if reports of errors may show values. No server is asked for that."""
    try:
        reporter = import_string(settings.DEFAULT_EXCEPTION_REPORTER)
    except ImportError:
        # Django says so itself, when it needs one.
        return []
    if isinstance(reporter, type) and issubclass(reporter, StrongroomExceptionReporter):
        return []
    wanted = f"{StrongroomExceptionReporter.__module__}.{StrongroomExceptionReporter.__qualname__}"
    return [
        Warning(
            "Reports of errors may show values of secrets.",
            hint=f'Set DEFAULT_EXCEPTION_REPORTER = "{wanted}".',
            id="strongroom.W001",
        )
    ]


def check_health(**_given: Any) -> list[CheckMessage]:
    """Tell whether all backends and audit sinks work: each of them is asked, so only ``check --deploy`` does it."""
    try:
        health = manager().health()
    except StrongroomError as error:
        return [Error(f"strongroom cannot be opened: {error.what}.", hint=error.hint or None, id="strongroom.E001")]
    if health.state is HealthState.UP:
        return []
    parts = ", ".join(
        f"{part.kind} {part.name} is {part.health.state.value}"
        for part in health.parts
        if part.health.state is not HealthState.UP
    )
    hint = "Run `strongroom health` for the reasons."
    if health.state is HealthState.DOWN:
        return [Error(f"strongroom does not work: {parts}.", hint=hint, id="strongroom.E002")]
    return [Warning(f"strongroom works in part: {parts}.", hint=hint, id="strongroom.W002")]
