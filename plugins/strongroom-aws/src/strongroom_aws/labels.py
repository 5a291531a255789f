"""The labels of versions, which say which one is current, pending or previous."""

from __future__ import annotations

import contextlib

from typing import Any

from strongroom.errors import StrongroomError
from strongroom.model import SecretName
from strongroom_aws.asking import Asker
from strongroom_aws.names import Names, is_version
from strongroom_aws.replies import Refusal, Reply


class Labels:
    """Moves labels from one version of a secret to another.

    Args:
        asker: Asks the service.
        names: Spells the names.
    """

    def __init__(self, asker: Asker, names: Names) -> None:
        self._asker = asker
        self._names = names

    def move(
        self,
        name: SecretName,
        label: str,
        *,
        to: str | None,
        left: str | None,
        what: str,
        attempts: int | None = None,
    ) -> Reply | Refusal:
        """Have the service move a label, which it does only if that is where we say. One request.

        Args:
            name: The secret's name.
            label: The label.
            to: The version that gets it; ``None`` for none.
            left: The version that has it; ``None`` if none has.
            what: What is tried, for errors.
            attempts: As for ``Asker.ask``.

        Raises:
            StrongroomError: As ``Asker.ask``.
        """
        parameters: dict[str, Any] = {"SecretId": self._names.id_of(name), "VersionStage": label}
        if to is not None:
            parameters["MoveToVersionId"] = to
        if left is not None:
            parameters["RemoveFromVersionId"] = left
        return self._asker.ask("UpdateSecretVersionStage", parameters, what=what, expects="ARN", attempts=attempts)

    def take_off(self, name: SecretName, label: str, version: str) -> Reply | Refusal | None:
        """Take a label off a version after something was done, which holds without that. One request, sent once.

        Args:
            name: The secret's name.
            label: The label.
            version: The version; nothing is sent if it can be none.

        Returns:
            What became of it; ``None`` if nobody knows.
        """
        if not is_version(version):
            return None
        what = f"taking {label} off a version of {name}"
        with contextlib.suppress(StrongroomError):
            return self.move(name, label, to=None, left=version, what=what, attempts=1)
        return None
