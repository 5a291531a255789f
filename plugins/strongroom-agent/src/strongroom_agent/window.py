"""What the dashboard knows of the audit trail: the newest events, and the counters that they add up to.

One thread follows the trail from its first line on. What it keeps has an upper bound, however long the trail is.
"""

from __future__ import annotations

import contextlib
import threading
import time

from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from functools import lru_cache
from typing import Final, Protocol

from strongroom.contracts import Record, TrailQuery, TrailReport
from strongroom.contracts.patterns import matches, name_pattern
from strongroom.errors import StrongroomError
from strongroom.model import AuditEvent
from strongroom_agent.figures import Figures, Series
from strongroom_agent.rows import Row, row_of

NOTED: Final = 200
"""How many alerts, rotations and changes of backends are kept beside the newest events, each."""
USUAL: Final = 500
"""How many characters the texts of an event have; where those kept have more on the whole, fewer are kept."""
MOST_KINDS: Final = 64
"""How many kinds of events, and how many results, are offered to choose from."""
CONDITIONS: Final = frozenset({"degraded", "recovering", "healthy"})

_AT_ONCE: Final = 64
_REST: Final = 0.002
"""Seconds of rest after each ``_AT_ONCE`` events: requests that wait for the interpreter come first."""
_FIRST_RETRY: Final = 2.0
_LONGEST_RETRY: Final = 300.0
_QUIET: Final = 1.0
"""A trail that has told nothing for so many seconds has been read to its end."""
_RECENT: Final = 3.0
"""How long events wait to be written, in seconds, and more."""


class OpenTrail(Protocol):
    """A trail that has been opened to be read."""

    @property
    def type(self) -> str:
        """The type of its sink."""

    def read(self, query: TrailQuery) -> Iterator[AuditEvent]:
        """Yield the events that match, oldest first."""

    def verify(self) -> TrailReport:
        """Check every line."""

    def close(self) -> None:
        """Close it."""


class HasTrails(Protocol):
    """What is needed of a manager."""

    def trails(self) -> Sequence[OpenTrail]:
        """Open the audit trails that can be read back."""


@contextlib.contextmanager
def opened(manager: HasTrails) -> Iterator[Sequence[OpenTrail]]:
    """Open the audit trails of a manager, and close them afterwards.

    Args:
        manager: The manager.

    Raises:
        StrongroomError: A sink cannot be opened.
    """
    with contextlib.ExitStack() as stack:
        trails = manager.trails()
        for trail in trails:
            stack.callback(trail.close)
        yield trails


class Wanted(Record):
    """Which events are searched for. Every condition that is set must hold."""

    principal: str = ""
    """What the principal's name contains, in small or capital letters."""
    name: str = ""
    """What the secret's name contains; with ``*`` in it, the pattern that it matches."""
    result: str = ""
    """The result; ``failed`` for whatever is not ``ok``, ``queued`` or an attempt."""
    event: str = ""
    since: float | None = None
    """Seconds since 1970 UTC; events at or after it."""
    until: float | None = None
    """Seconds since 1970 UTC; events before it."""

    def judge(self) -> Callable[[Row], bool]:
        """Return what tells whether an event is one of these; names are looked at once each.

        Raises:
            InvalidNameError: The pattern is malformed.
        """
        if "*" in self.name:
            name_pattern(self.name)
        fits_principal = lru_cache(maxsize=1024)(self._has_principal)
        fits_name = lru_cache(maxsize=1024)(self._is_named)

        def fits(row: Row) -> bool:
            return (
                (not self.event or row.event == self.event)
                and (not self.result or self._has_result(row.result))
                and (self.since is None or row.time >= self.since)
                and (self.until is None or row.time < self.until)
                and (not self.principal or fits_principal(row.principal))
                and (not self.name or fits_name(row.name))
            )

        return fits

    def _has_result(self, result: str) -> bool:
        return result not in {"ok", "queued", "attempt"} if self.result == "failed" else result == self.result

    def _has_principal(self, principal: str | None) -> bool:
        return principal is not None and self.principal.casefold() in principal.casefold()

    def _is_named(self, name: str | None) -> bool:
        if name is None:
            return False
        return matches(self.name, name) if "*" in self.name else self.name in name


class Found(Record):
    """One page of what a search has found."""

    rows: tuple[Row, ...]
    """Newest first."""
    total: int
    """How many events there are on all pages."""
    newest: int
    """The number of the newest event that was looked at."""


class View(Record):
    """What the window shows of itself."""

    trail: str | None
    """The type of the sink whose trail is followed; ``None`` if there is none."""
    is_reading: bool
    """Whether the trail is still being read for the first time."""
    problem: str
    """Why nothing can be read; a sentence, or empty."""
    read: int
    """How many events have been read."""
    kept: int
    """How many of them can be searched."""
    oldest: float | None
    """When the oldest of those was, in seconds since 1970 UTC."""
    events: tuple[str, ...]
    results: tuple[str, ...]
    alerts: tuple[Row, ...]
    """Newest first, as the next two."""
    rotations: tuple[Row, ...]
    conditions: tuple[Row, ...]


class Window:
    """Follows the first audit trail that can be read, and keeps the newest of it.

    Args:
        manager: Returns the manager that is open now. All of its trails tell the same, so one is followed.
        size: How many events are kept to be searched.
        wall_clock: Seconds since 1970 UTC.
    """

    def __init__(
        self, manager: Callable[[], HasTrails], size: int, *, wall_clock: Callable[[], float] = time.time
    ) -> None:
        self._manager = manager
        self._size = max(1, size)
        self._wall_clock = wall_clock
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        self._arrived = 0.0
        self._has_read_all = False
        self._problem = ""
        self._trail: str | None = None
        self._clear()

    def _clear(self) -> None:
        with self._lock:
            self._rows: deque[Row] = deque()
            self._length = 0
            self._figures = Figures()
            self._number = 0
            self._arrived, self._has_read_all = time.monotonic(), False
            self._kinds: dict[str, None] = {}
            self._results: dict[str, None] = {}
            self._alerts: deque[Row] = deque(maxlen=NOTED)
            self._rotations: deque[Row] = deque(maxlen=NOTED)
            self._conditions: deque[Row] = deque(maxlen=NOTED)

    def start(self) -> None:
        """Begin to follow the trail, in a daemon thread, unless that has been done."""
        with self._lock:
            if self._thread is None and not self._ended.is_set():
                self._arrived = time.monotonic()
                self._thread = threading.Thread(target=self._run, name="strongroom-window", daemon=True)
                self._thread.start()

    def close(self) -> None:
        """Follow the trail no more; the thread ends with the next event, and nobody waits for it."""
        self._ended.set()

    def _run(self) -> None:
        retry = _FIRST_RETRY
        while not self._ended.is_set():
            self._problem = self._follow_first()
            self._ended.wait(retry)
            # It is read from its beginning again, which takes a while where it is long.
            retry = min(2 * retry, _LONGEST_RETRY) if self._problem else _FIRST_RETRY

    def _follow_first(self) -> str:
        """Follow the first trail that can be read, and return why that has ended; empty if it was to end."""
        problem = "no audit sink has a trail that can be read back"
        try:
            manager = self._manager()
            with opened(manager) as trails:
                for trail in trails:
                    problem = self._follow(trail, manager)
                    if not problem:
                        return ""
        except StrongroomError as error:
            problem = error.what
        self._trail = None
        return problem

    def _follow(self, trail: OpenTrail, manager: HasTrails) -> str:
        self._clear()
        self._trail, self._problem = trail.type, ""
        with contextlib.closing(_rested(trail.read(TrailQuery(follow=True)), self._ended)) as events:
            try:
                for event in events:
                    self.add(event)
                    # Where another manager has been opened, the end of this one is recorded.
                    if self._ended.is_set() or (event.event == "closed" and self._manager() is not manager):
                        break
            except StrongroomError as error:
                return error.what
            # The plugin boundary: whatever a sink raises means that its trail cannot be read.
            except Exception as error:  # noqa: BLE001  # see above
                return f"the audit trail cannot be read: {type(error).__name__}"
        return ""

    def add(self, event: AuditEvent) -> None:
        """Take an event up."""
        now = self._wall_clock()
        with self._lock:
            self._number += 1
            row = row_of(event, self._number, now)
            # A busy trail is never quiet: there, what has just happened shows that the rest has been read.
            self._has_read_all = self._has_read_all or row.time >= now - _RECENT
            self._arrived = time.monotonic()
            self._keep(row)
            _note(self._kinds, row.event)
            _note(self._results, row.result)
            if row.result == "attempt":
                return
            self._figures.add(row, now)
            self._remember(row)

    def _keep(self, row: Row) -> None:
        self._rows.append(row)
        self._length += row.length
        while len(self._rows) > self._size or (self._length > USUAL * self._size and len(self._rows) > 1):
            self._length -= self._rows.popleft().length

    def _remember(self, row: Row) -> None:
        if row.event == "alert":
            self._alerts.append(row)
        elif row.event == "rotate":
            self._rotations.append(row)
        elif row.event in CONDITIONS:
            self._conditions.append(row)

    def view(self) -> View:
        """Return how far the trail has been read, and what is noted apart."""
        with self._lock:
            return View(
                trail=self._trail,
                is_reading=self._is_reading(),
                problem=self._problem,
                read=self._number,
                kept=len(self._rows),
                oldest=self._rows[0].time if self._rows else None,
                events=tuple(sorted(self._kinds)),
                results=tuple(sorted(self._results)),
                alerts=tuple(reversed(self._alerts)),
                rotations=tuple(reversed(self._rotations)),
                conditions=tuple(reversed(self._conditions)),
            )

    def _is_reading(self) -> bool:
        is_quiet = self._has_read_all or time.monotonic() - self._arrived >= _QUIET
        return self._thread is not None and not self._problem and not is_quiet

    def series(self, *, step: int) -> Series:
        """Return the counters up to now; see :meth:`Figures.series`."""
        with self._lock:
            return self._figures.series(self._wall_clock(), step=step)

    def search(self, wanted: Wanted, *, page: int = 1, size: int = 50, upto: int | None = None) -> Found:
        """Return one page of the events that fit, newest first.

        Args:
            wanted: Which ones.
            page: The page, from 1.
            size: How many events a page has.
            upto: Look at no event newer than this number, so that pages do not shift; ``newest`` of the first page.

        Raises:
            InvalidNameError: The pattern of names is malformed.
        """
        fits = wanted.judge()
        with self._lock:
            rows = list(self._rows)
        newest = rows[-1].number if rows else 0
        limit = newest if upto is None else min(upto, newest)
        fitting = [row for row in reversed(rows) if row.number <= limit and fits(row)]
        first = (page - 1) * size
        return Found(rows=tuple(fitting[first : first + size]), total=len(fitting), newest=limit)


def _rested(events: Iterator[AuditEvent], ended: threading.Event) -> Generator[AuditEvent, None, None]:
    """Yield events with a rest now and then."""
    for count, event in enumerate(events, 1):
        yield event
        if count % _AT_ONCE == 0:
            ended.wait(_REST)


def _note(known: dict[str, None], word: str) -> None:
    if len(known) < MOST_KINDS:
        known[word] = None
