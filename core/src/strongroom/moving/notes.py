"""What users have noted about secrets, taken along where both sides keep such notes."""

from __future__ import annotations

from strongroom.errors import AuditError, SecretNotFoundError, StrongroomError, UnsupportedOperationError
from strongroom.moving.sides import Side


class Notes:
    """Takes notes along. Those that the target has and the source has not stay.

    Args:
        source: Where from.
        target: Where to.
        overwrite: Whether a note of the source goes over another one of the same name.

    Attributes:
        refusal: Why the target cannot keep those that the source has; ``None`` if it can, or if the source keeps none.
        kept: The secrets, without the folder, of which the target has kept a note although the source has another one.
        failed: By name, without the folder, why its notes could not be taken along.
    """

    def __init__(self, source: Side, target: Side, *, overwrite: bool = False) -> None:
        self._source = source
        self._target = target
        self._overwrite = overwrite
        self._none = False
        self._keeps = False
        self.kept: list[str] = []
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
        if not noted and self._keeps:
            return
        # The first one is asked for in any case: a target that keeps no notes ends this before the source is
        # asked about thousands of secrets for nothing.
        name = self._target.place.name_of(rest)
        there = self._target.manager.describe(name).metadata
        self._keeps = True
        wanted = there | noted if self._overwrite else noted | there
        if any(wanted[key] != text for key, text in noted.items()):
            self.kept.append(rest)
        if wanted != there:
            self._target.manager.annotate(name, wanted)
