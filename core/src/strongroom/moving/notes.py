"""What users have noted about secrets, taken along where both sides keep such notes."""

from __future__ import annotations

from strongroom.errors import AuditError, SecretNotFoundError, StrongroomError, UnsupportedOperationError
from strongroom.moving.sides import Side


class Notes:
    """Takes notes along. Those that the target has and the source has not stay.

    Args:
        source: Where from.
        target: Where to.

    Attributes:
        refusal: Why the target cannot keep those that the source has; ``None`` if it can, or if the source keeps none.
        failed: By name, without the folder, why its notes could not be taken along.
    """

    def __init__(self, source: Side, target: Side) -> None:
        self._source = source
        self._target = target
        self._none = False
        self._kept = False
        self.refusal: UnsupportedOperationError | None = None
        self.failed: dict[str, StrongroomError] = {}

    def take(self, rest: str) -> None:
        """Take the notes about one secret along; that it fails is kept for later.

        Args:
            rest: The name without the folder.

        Raises:
            AuditError: It cannot be recorded.
            BackendUnavailableError: A side is out of reach; it need not be asked further.
        """
        if self._none or self.refusal is not None:
            return
        error: StrongroomError | None = None
        try:
            self._take(rest)
        except AuditError:
            raise
        except UnsupportedOperationError as refusal:
            self.refusal = refusal
        except SecretNotFoundError:
            pass  # somebody has deleted it meanwhile
        except StrongroomError as problem:
            error = self.failed[rest] = problem
        self._target.outages.note(error)

    def _take(self, rest: str) -> None:
        try:
            noted = self._source.manager.describe(self._source.place.name_of(rest)).metadata
        except UnsupportedOperationError:
            # It keeps no notes about any secret.
            self._none = True
            return
        if not noted and self._kept:
            return
        # The first one is asked for in any case: a target that keeps no notes ends this before the source is
        # asked about thousands of secrets for nothing.
        name = self._target.place.name_of(rest)
        there = self._target.manager.describe(name).metadata
        self._kept = True
        if noted.items() - there.items():
            self._target.manager.annotate(name, there | noted)
