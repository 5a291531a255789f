"""What a plugin's settings class may do beyond holding fields."""

from __future__ import annotations

from abc import abstractmethod
from typing import Annotated, Protocol, runtime_checkable

Seconds = Annotated[float, "seconds"]
"""A setting that is a duration: the configuration says ``"300s"``, ``"5m"``, ``"12h"`` or ``"90d"``."""

FilePath = Annotated[str, "path"]
"""A setting that is a path: absolute, or relative to the file that declares it; ``~`` is expanded."""

Size = Annotated[int, "bytes"]
"""A setting that is a number of bytes: the configuration says ``65536``, ``"64KiB"`` or ``"64MiB"``."""


@runtime_checkable
class SettingsCheck(Protocol):
    """A settings class with rules that concern several fields at once."""

    @abstractmethod
    def problems(self) -> list[str]:
        """Return each broken rule as a sentence; an empty list means that all is well.

        Called once, after every field has passed its own type check and before
        the plugin opens.
        """
