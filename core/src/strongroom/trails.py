"""The audit trail as it is read: configured sinks, each opened once more and without anything else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

from strongroom.audit.sinks import GuardedSink
from strongroom.config.load import Configuration
from strongroom.contracts.audit import Trail, TrailHead, TrailQuery, TrailReport
from strongroom.discovery import Catalogue
from strongroom.errors import AuditError, StrongroomError
from strongroom.model import AuditEvent
from strongroom.opening import open_sink

Result = TypeVar("Result")


class OpenTrail:
    """A sink's trail, with whatever its plugin raises turned into an error of ours.

    Args:
        sink: The sink; its plugin's object must implement ``Trail``.
    """

    def __init__(self, sink: GuardedSink) -> None:
        if not isinstance(sink.wrapped, Trail):
            raise TypeError(f"{sink.type} has no trail")
        self.type = sink.type
        self._sink = sink
        self._trail = sink.wrapped

    def read(self, query: TrailQuery) -> Iterator[AuditEvent]:
        """Yield the matching events, oldest first; see :meth:`Trail.read`.

        Raises:
            AuditError: The trail cannot be read.
        """
        try:
            yield from self._trail.read(query)
        except StrongroomError:
            raise
        # The plugin boundary: whatever a sink raises means that its trail cannot be read.
        except Exception as error:
            raise self._failed(error) from error

    def head(self) -> TrailHead:
        """Return where the trail stands; see :meth:`Trail.head`.

        Raises:
            AuditError: The trail cannot be read.
        """
        return self._call(self._trail.head)

    def verify(self, head: TrailHead | None = None) -> TrailReport:
        """Check the trail; see :meth:`Trail.verify`.

        Raises:
            AuditError: The trail cannot be read.
        """
        return self._call(lambda: self._trail.verify(head))

    def close(self) -> None:
        """Close the sink."""
        self._call(self._sink.close)

    def _call(self, function: Callable[[], Result]) -> Result:
        try:
            return function()
        except StrongroomError:
            raise
        # The plugin boundary, as above.
        except Exception as error:
            raise self._failed(error) from error

    def _failed(self, error: Exception) -> AuditError:
        return AuditError(
            f"the trail of the audit sink {self.type!r} cannot be read: {type(error).__name__}",
            hint="see `strongroom doctor`",
        )


def readable_trails(configuration: Configuration) -> tuple[OpenTrail, ...]:
    """Open every configured audit sink whose trail can be read; nothing is recorded by that.

    Args:
        configuration: Names the sinks.

    Returns:
        The trails, in the order of the configuration; whoever asks has to close them.

    Raises:
        StrongroomError: A sink cannot be opened.
    """
    catalogue = Catalogue()
    found: list[OpenTrail] = []
    try:
        for table in configuration.sinks:
            sink = open_sink(table, catalogue)
            if isinstance(sink.wrapped, Trail):
                found.append(OpenTrail(sink))
            else:
                sink.close()
    except BaseException:
        for trail in found:
            trail.close()
        raise
    return tuple(found)
