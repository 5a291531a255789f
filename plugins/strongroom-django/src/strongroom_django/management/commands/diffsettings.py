"""``manage.py diffsettings``, which Django looks for here before it takes its own."""

from __future__ import annotations

from typing import Any

from django.core.management.commands import diffsettings

from strongroom_django.hidden import known


class Command(diffsettings.Command):  # type: ignore[misc]  # Django has no types
    """Prints what Django's own command prints, with each value masked that is a part of a setting, such as a URL."""

    def handle(self, **options: Any) -> str:
        """Return the text of Django's own command, masked.

        Args:
            options: As Django has them.
        """
        return known.masker().mask_text(super().handle(**options))
