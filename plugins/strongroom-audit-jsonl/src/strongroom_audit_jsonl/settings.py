"""The settings of the audit sink."""

from __future__ import annotations

import os

from typing import Final

from strongroom.contracts import FilePath, KeySource, Record, Seconds, Size

MIN_BYTES: Final = 1024


class JsonlSettings(Record):
    """The settings of a ``[[audit]]`` table of type ``jsonl``."""

    path: FilePath
    """The file that lines are appended to. Rotated files, lock, key and head lie beside it."""
    key: KeySource | None = None
    """The HMAC key: base64 of at least 32 bytes. ``None``: the file ``<path>.key``, made at first use."""
    max_bytes: Size | None = 64 * 1024 * 1024
    """A file that has reached this size is renamed and a new one begun; ``None`` for never."""
    keep_files: int | None = None
    """How many files that were renamed for their size are kept; ``None`` for all."""
    lock_timeout: Seconds = 5.0
    """How long a write waits for other processes before it fails."""

    def problems(self) -> list[str]:
        """Return each broken rule as a sentence."""
        rules = (
            (os.path.isabs(self.path), "path must be absolute"),
            (not self.path.endswith(os.sep), "path must name a file, not a folder"),
            (self.max_bytes is None or self.max_bytes >= MIN_BYTES, f"max_bytes must be at least {MIN_BYTES}"),
            (self.keep_files is None or self.keep_files >= 1, "keep_files must be at least 1"),
            (self.lock_timeout > 0, "lock_timeout must be more than 0 seconds"),
        )
        return [sentence for kept, sentence in rules if not kept]
