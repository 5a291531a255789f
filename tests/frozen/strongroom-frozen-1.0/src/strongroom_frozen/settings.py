"""What a configuration may say to each part."""

from __future__ import annotations

from typing import Literal

from strongroom.contracts import FilePath, KeySource, Record, Seconds, Size
from strongroom.model import SecretValue


class StoreSettings(Record):
    """Settings of the backend."""

    path: FilePath
    """The file."""
    token: SecretValue | None = None
    """Read once, when the settings are."""
    key: KeySource | None = None
    """Read when it is needed."""
    largest: Size = 1 << 20
    """How many bytes a value may have."""
    keep: int = 20
    """How many versions are kept."""
    names: tuple[str, ...] = ()
    """Names below these folders are leased."""
    mode: Literal["plain", "strict"] = "plain"
    """Makes no difference."""

    def problems(self) -> list[str]:
        """Return each broken rule as a sentence."""
        from strongroom_frozen.helping import problems_of

        return problems_of(self.names) + ([] if self.keep > 1 else ["keep is not above 1"])


class PolicySettings(Record):
    """Settings of the cache policy."""

    ttl: Seconds = 60.0
    """How long an answer is fresh."""
    stale: Seconds = 600.0
    """How long after that it may stand in."""


class SinkSettings(Record):
    """Settings of the sink."""

    path: FilePath
    """The file."""


class DetectorSettings(Record):
    """Settings of the detector."""

    limit: int = 1000
    """After how many accesses of one principal the next one is odd."""


class RotatorSettings(Record):
    """Settings of the rotator."""

    door: FilePath
    """The file in which its dependent keeps what it accepts."""
    admin: str | None = None
    """The name of a secret that it needs for that."""


class ExporterSettings(Record):
    """Settings of the exporter."""

    path: FilePath
    """Where it notes that it was started and closed."""
