"""When a secret is due for its next rotation: pure functions on seconds since 1970 UTC, the same on all hosts."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from strongroom._record import Record
from strongroom.config.rotation import RotationKeys
from strongroom.config.windows import Windows, parse_windows
from strongroom.model import SecretName

GRACE_SECONDS: Final = 3600.0
"""For how long after it is due a rotation without a window is not overdue."""
LIFE_LEFT: Final = 1 / 3
"""Which part of a value's life is left when it is due, unless its rule says how long before the end."""

OK: Final = "ok"
SOON: Final = "due soon"
DUE: Final = "due"
OVERDUE: Final = "overdue"
OFF: Final = "off"
"""It is rotated only when somebody asks for it."""


class Past(Record):
    """What is known of a secret's current value. All times are seconds since 1970 UTC."""

    last: float | None = None
    """When it was last rotated; of one that never was, when its current version was made; ``None``: nobody knows."""
    begins: float | None = None
    """When the value's life has begun, as far as that is known."""
    ends: float | None = None
    """When the value ends by itself; ``None`` if it does not, or if that is not known."""


class Timing(Record):
    """When a secret is to be rotated. All times are seconds since 1970 UTC."""

    due: float | None = None
    """``None`` if it never is by itself."""
    next: float | None = None
    """The first moment from ``due`` on at which a window is open."""
    late: float | None = None
    """From when on it is overdue."""
    warn: float | None = None
    """From when on it is due soon."""
    ends: float | None = None
    """When the value ends by itself."""
    windows: Windows | None = None
    """When a rotation may begin; ``None`` for at any time."""
    guessed: bool = False
    """Whether it is due now since nobody knows when it was rotated last."""

    def state(self, now: float) -> str:
        """Return ``ok``, ``due soon``, ``due`` or ``overdue``; ``off`` for what is never due by itself."""
        if self.due is None or self.late is None or self.warn is None:
            return OFF
        if now < self.due:
            return SOON if now >= self.warn else OK
        return OVERDUE if now > self.late else DUE

    def is_due(self, now: float) -> bool:
        """Tell whether a rotation is due, whether or not a window is open."""
        return self.due is not None and now >= self.due

    def is_open(self, now: float) -> bool:
        """Tell whether a rotation may begin: a window is open, or the value ends before the next one is."""
        if self.windows is None:
            return True
        opening = self.windows.opening(now)
        return opening <= now or (self.ends is not None and self.ends <= opening)


def timing(name: SecretName, keys: RotationKeys, past: Past, now: float) -> Timing:
    """Return when a secret is due, and until when its rotation is on time.

    It is due ``every`` seconds after its last rotation and a part of ``jitter`` that is the same for a name
    everywhere, so what was missed is due once. It is due before the value ends by itself, if it does. Without any
    rotation and any time known it is due now.

    Args:
        name: The secret's name.
        keys: The rule for it.
        past: What is known of its value. A last rotation in the future of the clock counts as one just now: a
            clock that was set back rotates nothing again.
        now: Seconds since 1970 UTC.
    """
    dues = [due for due in (_due_by_age(name, keys, past, now), _due_by_life(keys, past)) if due is not None]
    if not dues:
        return Timing(ends=past.ends)
    due = min(dues)
    windows = _windows(keys)
    opening, late = _in_time(due, windows)
    if past.ends is not None:
        late = max(due, min(late, past.ends))
        if past.ends <= opening:
            opening = due
    return Timing(
        due=due,
        next=opening,
        late=late,
        warn=due - keys.warn_before,
        ends=past.ends,
        windows=windows,
        guessed=keys.every is not None and past.last is None,
    )


def jitter(name: SecretName, most: float) -> float:
    """Return by how many seconds a name is due later: from 0 to less than the given ones, the same on all hosts."""
    if not most:
        return 0.0
    from hashlib import sha256  # few rules have one

    return int.from_bytes(sha256(name.encode()).digest()[:6]) / 2**48 * most


def instant(when: float | None) -> datetime | None:
    """Return a point in time with its offset from UTC; one that no date can express is the last one that can."""
    if when is None:
        return None
    try:
        return datetime.fromtimestamp(when, UTC)
    except (OverflowError, ValueError, OSError):
        return datetime.max.replace(tzinfo=UTC)


def seconds(moment: datetime) -> float:
    """Return a point in time in seconds since 1970 UTC; one without an offset is taken as UTC, never as local."""
    return (moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).timestamp()


def _due_by_age(name: SecretName, keys: RotationKeys, past: Past, now: float) -> float | None:
    if keys.every is None:
        return None
    if past.last is None:
        return now
    return min(past.last, now) + keys.every + jitter(name, keys.jitter)


def _due_by_life(keys: RotationKeys, past: Past) -> float | None:
    if past.ends is None:
        return None
    begins = past.begins if past.begins is not None else past.last
    life = max(0.0, past.ends - begins) if begins is not None else None
    before = keys.renew_before
    if life is None:
        return past.ends - (before or 0.0)
    if before is None or before >= life:
        # Else the next value would be due as soon as it is there, and the one after it, and so on.
        before = life * LIFE_LEFT
    return past.ends - before


def _windows(keys: RotationKeys) -> Windows | None:
    windows = None if keys.window is None else parse_windows(keys.window)
    return None if windows is None or windows.always else windows


def _in_time(due: float, windows: Windows | None) -> tuple[float, float]:
    """Return the first moment at which a rotation may begin, and the last one that is on time."""
    if windows is None:
        return due, due + GRACE_SECONDS
    begin, end = windows.span(due)
    opening = max(due, begin)
    if begin < due and end - due < GRACE_SECONDS:
        # Whoever looks once an hour may have missed what was left of this one.
        end = windows.span(end)[1]
    return opening, end
