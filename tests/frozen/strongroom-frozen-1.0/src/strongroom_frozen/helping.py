"""What a backend with a server would use: patterns, pauses, threads and telemetry."""

from __future__ import annotations

import threading
import time

from collections.abc import Iterable

from strongroom.contracts import (
    KeySource,
    SettingsCheck,
    first_match,
    malformed,
    matches,
    most_specific_first,
    name_pattern,
)
from strongroom.joining import join
from strongroom.pacing import LONGEST, SHORT, Bucket, delay, retry_after, spread, time_left, within, without_end
from strongroom.telemetry import count_resend, note_exchange, quiet

BUCKET = Bucket(rate=1000.0, burst=1000.0, clock=time.monotonic)


def is_leased(folders: Iterable[str], name: str) -> bool:
    """Tell whether a name lies below one of some folders."""
    patterns = most_specific_first(f"{folder}/**" for folder in folders)
    found = first_match(patterns, name)
    return found is not None and matches(found, name) and name_pattern(found)[-1] == "**"


def problems_of(folders: Iterable[str]) -> list[str]:
    """Return a sentence on each folder that is none."""
    return malformed(f"{folder}/**" for folder in folders)


def is_checked(settings: object) -> bool:
    """Tell whether a settings class has rules."""
    return isinstance(settings, SettingsCheck)


def asked(key: KeySource | None) -> str:
    """Ask nobody, as if it were a server, in a thread of its own; return what happened."""
    told: list[str] = []

    def ask() -> None:
        with quiet(), within(5.0):
            left = time_left()
            told.append("in time" if left is not None and left <= 5.0 else "for ever")
            note_exchange(address="localhost", port=443, resends=0, region="here", aws_request_id=None)
        with without_end():
            told.append("in time" if time_left() is None else "for ever")

    thread = threading.Thread(target=ask)
    thread.start()
    ended = join(thread, 5.0)
    pause = min(delay(1, base=0.01), spread(0.01), retry_after("0") or SHORT, LONGEST)
    waiting = BUCKET.take(time.monotonic() + 1.0)
    if pause < 0.0 or waiting is None:
        BUCKET.slow_down()
        count_resend("frozen")
    where = "" if key is None else f" with {key.describe()}, {key.path}, {key.variable}, {key.is_changing()}"
    return f"{', '.join(told)}, {ended}, at most {BUCKET.rate:g} a second{where}"
