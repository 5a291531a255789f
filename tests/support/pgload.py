"""Threads that log in with what they read, without a pause, while the secret is rotated."""

from __future__ import annotations

import contextlib
import json
import threading
import time

from collections.abc import Iterator
from typing import Any

import psycopg

from postgres import Database
from strongroom.errors import RotationError

NAME = "db/orders"
POLL = 0.01


class Reader(threading.Thread):
    """Logs in with what a manager gives, as long as it lasts.

    Attributes:
        logins: How many there have been, by user.
        failures: What has failed.
    """

    def __init__(self, manager: Any, database: Database, end: threading.Event) -> None:
        super().__init__(daemon=True)
        self._manager = manager
        self._database = database
        self._end = end
        self.logins: dict[str, int] = {}
        self.failures: list[str] = []

    def run(self) -> None:
        while not self._end.is_set():
            try:
                self._log_in()
            except Exception as error:
                self.failures.append(f"{type(error).__name__}: {error}")

    def _log_in(self) -> None:
        content = json.loads(self._manager.get(NAME).reveal_text())
        user = content["username"]
        with psycopg.connect(self._database.url(user, content["password"])) as connection:
            assert connection.execute("SELECT session_user").fetchone() == (user,)
        self.logins[user] = self.logins.get(user, 0) + 1


@contextlib.contextmanager
def readers(managers: list[Any], database: Database, count: int) -> Iterator[list[Reader]]:
    """Let threads log in, which share the managers between them, while the ``with`` block runs."""
    end = threading.Event()
    threads = [Reader(managers[number % len(managers)], database, end) for number in range(count)]
    for thread in threads:
        thread.start()
    try:
        yield threads
    finally:
        end.set()
        for thread in threads:
            thread.join()


def rotate_often(manager: Any, times: int) -> None:
    """Rotate again as soon as the former value's overlap is over, so many times."""
    done = 0
    while done < times:
        try:
            manager.rotate(NAME)
            done += 1
        except RotationError as error:
            if error.code != "rotation_in_progress":
                raise
            time.sleep(POLL)
