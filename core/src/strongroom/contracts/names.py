"""Names that strongroom keeps for itself, in the same backend as the secrets that they are about."""

from __future__ import annotations

from typing import Final

from strongroom.errors import InvalidNameError
from strongroom.model import SecretName

RESERVED: Final = ".strongroom"
"""The folder below which no secret of a user's is: nobody reads, writes or lists there."""
_ROTATIONS: Final = f"{RESERVED}/rotation/"


def is_reserved(name: str) -> bool:
    """Tell whether a canonical name is kept for strongroom itself."""
    return name == RESERVED or name.startswith(RESERVED + "/")


def refuse_reserved(name: str) -> None:
    """Refuse a canonical name, or a pattern, that is kept for strongroom itself.

    Raises:
        InvalidNameError: It is.
    """
    if is_reserved(name):
        raise InvalidNameError(
            f"names below {RESERVED}/ are kept for strongroom itself", name=name, hint="choose another name"
        )


def rotation_record(name: SecretName) -> SecretName:
    """Return under which name the record of a secret's rotation is kept, where the backend has no stages.

    Raises:
        InvalidNameError: That would be too long for a name.
    """
    return SecretName(_ROTATIONS + name)
