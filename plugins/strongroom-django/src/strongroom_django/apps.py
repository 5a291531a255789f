"""The application: ``"strongroom_django"`` in ``INSTALLED_APPS`` makes its checks known."""

from __future__ import annotations

from django.apps import AppConfig
from django.core.checks import register


class StrongroomConfig(AppConfig):  # type: ignore[misc]  # Django has no types
    """The application of this distribution; it has no models."""

    name = "strongroom_django"
    verbose_name = "strongroom"

    def ready(self) -> None:
        """Make the checks known, which Django calls when all applications are loaded."""
        from strongroom_django.checks import TAG, check_health, check_settings

        register(check_settings, TAG)
        register(check_health, TAG, deploy=True)
