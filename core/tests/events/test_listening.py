"""Callbacks that nobody waits for."""

from __future__ import annotations

import threading
import time

from collections.abc import Callable

import pytest

from strongroom.events.listening import MOST, Listeners
from strongroom.testing import in_forked_child


def eventually(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.002)


def test_each_hears_everything_in_its_order() -> None:
    listeners: Listeners[int] = Listeners()
    first: list[int] = []
    second: list[int] = []
    listeners.add(first.append)
    listeners.add(second.append)
    for number in range(200):
        listeners.tell(number)
    eventually(lambda: len(first) == len(second) == 200)
    assert first == second == list(range(200))


def test_one_that_raises_is_counted_and_hears_the_next(capsys: pytest.CaptureFixture[str]) -> None:
    listeners: Listeners[int] = Listeners()
    heard: list[int] = []

    def callback(number: int) -> None:
        heard.append(number)
        raise SystemExit(number)

    listeners.add(callback)
    listeners.tell(1)
    listeners.tell(2)
    eventually(lambda: listeners.failures == 2)
    assert heard == [1, 2]
    assert capsys.readouterr().err == ""


def test_one_that_hangs_holds_up_neither_the_others_nor_who_tells() -> None:
    listeners: Listeners[int] = Listeners()
    release = threading.Event()
    heard: list[int] = []
    listeners.add(lambda _: release.wait(10))
    listeners.add(heard.append)
    for number in range(MOST + 10):
        listeners.tell(number)
        eventually(lambda told=number: len(heard) > told)
    assert listeners.lost > 0
    release.set()


def test_who_has_ended_it_hears_no_more() -> None:
    listeners: Listeners[int] = Listeners()
    gone: list[int] = []
    stays: list[int] = []
    end = listeners.add(gone.append)
    listeners.add(stays.append)
    end()
    end()
    listeners.tell(1)
    eventually(lambda: stays)
    assert gone == []


def test_without_a_thread_to_be_had_the_next_news_bring_it_along(monkeypatch: pytest.MonkeyPatch) -> None:
    listeners: Listeners[int] = Listeners()
    heard: list[int] = []
    listeners.add(heard.append)

    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuse)
        listeners.tell(1)
    assert heard == []
    listeners.tell(2)
    eventually(lambda: heard == [1, 2])


def test_a_forked_child_s_callbacks_hear_what_happens_there() -> None:
    listeners: Listeners[int] = Listeners()
    release, heard = threading.Event(), []

    def callback(number: int) -> None:
        if number == 0:
            release.wait(10)
        else:
            heard.append(number)

    listeners.add(callback)
    listeners.tell(0)
    listeners.tell(1)

    def child() -> str:
        listeners.after_fork()
        listeners.tell(2)
        eventually(lambda: heard)
        return str(heard)

    assert in_forked_child(child) == "[2]"
    release.set()
