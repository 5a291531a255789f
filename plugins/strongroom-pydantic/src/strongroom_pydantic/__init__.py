"""Settings classes of pydantic-settings that are filled from strongroom, and that follow secrets when they change."""

from __future__ import annotations

from strongroom_pydantic.base import SecretSettings as SecretSettings
from strongroom_pydantic.base import StrongroomConfigDict as StrongroomConfigDict
from strongroom_pydantic.live import LiveSettings as LiveSettings
from strongroom_pydantic.mapping import FromSecret as FromSecret
from strongroom_pydantic.reading import using as using
from strongroom_pydantic.resolving import ResolvingSettingsSource as ResolvingSettingsSource
from strongroom_pydantic.source import StrongroomSettingsSource as StrongroomSettingsSource

__all__ = [
    "FromSecret",
    "LiveSettings",
    "ResolvingSettingsSource",
    "SecretSettings",
    "StrongroomConfigDict",
    "StrongroomSettingsSource",
    "using",
]
