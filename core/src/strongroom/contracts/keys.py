"""Secrets that plugins need themselves, and where they come from."""

from __future__ import annotations

from abc import ABC, abstractmethod

from strongroom.model import SecretValue


class KeySource(ABC):
    """Where a setting's secret comes from: a variable, a file, a systemd credential.

    A plugin declares a setting with this type when it must read the secret at
    the moment of use, or again later, instead of once when the settings load.
    """

    @abstractmethod
    def read(self) -> SecretValue:
        """Return the secret as it is now.

        A single final line feed of a file is not part of a secret that is read
        as text; everything else is exact.

        Raises:
            ConfigurationError: It is not there or may not be read.
        """

    @abstractmethod
    def describe(self) -> str:
        """Return where it comes from, such as ``the variable VAULT_TOKEN``."""

    def is_changing(self) -> bool:
        """Tell whether a change of keys is under way, so that another secret may be there in a moment.

        It may also have been cut off, so who waits for its end waits for a short time only.
        """
        return False

    @property
    def variable(self) -> str | None:
        """The environment variable it comes from, so that ``run`` keeps it from the child."""
        return None

    @property
    def path(self) -> str | None:
        """The absolute path of the file it comes from, if it is one."""
        return None
