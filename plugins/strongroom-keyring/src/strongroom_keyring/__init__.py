"""A backend of the library ``keyring`` that keeps passwords in strongroom.

keyring finds it by itself, but uses it only if it is told to: with ``PYTHON_KEYRING_BACKEND`` or in its own
configuration file, as ``strongroom_keyring.StrongroomKeyring``.
"""

from __future__ import annotations

from strongroom_keyring.backend import StrongroomKeyring as StrongroomKeyring
from strongroom_keyring.names import Entry as Entry

__all__ = ["Entry", "StrongroomKeyring"]
