"""What the detectors have in common: a lock, and how their state is kept."""

from __future__ import annotations

import threading

from abc import abstractmethod
from collections.abc import Callable, Mapping

from strongroom.contracts import AnomalyDetector
from strongroom_anomaly.stored import Row, pack, unpack


class StatefulDetector(AnomalyDetector):
    """A detector whose state are tables, guarded by one lock.

    Derived classes say how these become rows, and back.

    Args:
        kind: Its name, and whatever makes a state useless for another one.
    """

    def __init__(self, kind: str) -> None:
        self._kind = kind
        # Reentrant: a signal's handler may ask for a secret while its own thread is judged.
        self._lock = threading.RLock()
        self._forget()

    def dump(self) -> bytes:
        """Return what was learned, without a name in it; the least recent is left out beyond a megabyte."""
        with self._lock:
            rows = self._rows()
        return pack(self._kind, rows)

    def restore(self, state: bytes) -> None:
        """Take up what an earlier process learned.

        Raises:
            ValueError: It is not a state of such a detector with such settings; the detector is as new.
        """
        with self._lock:
            self._forget()
            try:
                loaders = self._loaders()
                for section, rows in unpack(self._kind, loaders, state).items():
                    for row in rows:
                        loaders[section](row)
            except (ValueError, TypeError, LookupError, OverflowError) as error:
                self._forget()
                raise ValueError(f"the state of {self._kind} is not usable: {error}") from error

    def after_fork(self) -> None:
        """Replace the lock: another thread of the parent may have held it."""
        self._lock = threading.RLock()

    @abstractmethod
    def _forget(self) -> None:
        """Make the tables, empty."""

    @abstractmethod
    def _rows(self) -> Mapping[str, list[Row]]:
        """Return the parts of the state as rows, the least recent first."""

    @abstractmethod
    def _loaders(self) -> Mapping[str, Callable[[Row], object]]:
        """Return what takes up a row of each part; it raises ``ValueError`` if the row is not usable."""
