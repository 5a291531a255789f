"""The settings of a local store."""

from __future__ import annotations

from typing import Final

from strongroom.contracts import FilePath, KeySource, Record, Seconds

MIN_ITERATIONS: Final = 100_000
MAX_ITERATIONS: Final = 10_000_000
MAX_KEEP_VERSIONS: Final = 10_000


class LocalSettings(Record):
    """The settings of one local store."""

    path: FilePath
    """The store's file; a relative path counts from the folder of the configuration file."""
    master_key: KeySource | None = None
    """32 random bytes in base64; exactly one of this and ``passphrase``."""
    passphrase: KeySource | None = None
    """A text that a person chose."""
    iterations: int | None = None
    """PBKDF2 iterations of a new store: 100,000 for a key and 600,000 for a passphrase unless given."""
    keep_versions: int = 20
    """How many of a secret's newest versions are kept."""
    verify_on_open: bool = False
    """Check the whole store whenever it is opened; takes time in proportion to its size."""
    busy_timeout: Seconds = 10.0
    """How many seconds to wait for another writer."""

    def problems(self) -> list[str]:
        """Return each broken rule that concerns the settings' values, as a sentence."""
        rules = (
            ((self.master_key is None) != (self.passphrase is None), "give exactly one of master_key and passphrase"),
            (
                self.iterations is None or MIN_ITERATIONS <= self.iterations <= MAX_ITERATIONS,
                f"iterations must be from {MIN_ITERATIONS:,} to {MAX_ITERATIONS:,}",
            ),
            (1 <= self.keep_versions <= MAX_KEEP_VERSIONS, f"keep_versions must be from 1 to {MAX_KEEP_VERSIONS:,}"),
            (0 <= self.busy_timeout <= 3600, "busy_timeout must be from 0 to 3600 seconds"),
        )
        return [problem for holds, problem in rules if not holds]
