"""How often the health view asks."""

from __future__ import annotations

import threading

from typing import Any

from strongroom import HealthState
from strongroom.errors import ConfigurationError
from strongroom.testing import FakeClock
from strongroom_django.health import HealthAnswers


class Asked:
    """Stands for a manager: notes how often it is asked, and perhaps waits."""

    def __init__(self) -> None:
        self.times = 0
        self.state = HealthState.UP
        self.gate: threading.Event | None = None
        self.entered = threading.Event()

    def __call__(self) -> Any:
        return self

    def health(self) -> Any:
        self.times += 1
        self.entered.set()
        if self.gate is not None:
            self.gate.wait(30)
        return self


def test_an_answer_is_given_again_for_a_few_seconds() -> None:
    asked, clock = Asked(), FakeClock()
    answers = HealthAnswers(asked, clock)
    assert [answers.state() for _ in range(10)] == [HealthState.UP] * 10
    assert asked.times == 1
    asked.state = HealthState.DEGRADED
    clock.advance(4.9)
    assert answers.state() is HealthState.UP
    clock.advance(0.2)
    assert answers.state() is HealthState.DEGRADED
    assert asked.times == 2


def test_while_one_asks_the_others_have_the_last_answer() -> None:
    asked, clock = Asked(), FakeClock()
    answers = HealthAnswers(asked, clock)
    answers.state()
    clock.advance(6.0)
    asked.state, asked.gate = HealthState.DOWN, threading.Event()
    asked.entered.clear()
    slow = threading.Thread(target=answers.state)
    slow.start()
    assert asked.entered.wait(30)
    assert answers.state() is HealthState.UP
    asked.gate.set()
    slow.join()
    assert answers.state() is HealthState.DOWN
    assert asked.times == 2


def test_a_child_that_was_forked_while_a_thread_asked_asks_by_itself() -> None:
    asked = Asked()
    answers = HealthAnswers(asked, FakeClock())
    asked.gate = threading.Event()
    slow = threading.Thread(target=answers.state)
    slow.start()
    assert asked.entered.wait(30)
    # In the child there is nobody who would give the lock back.
    answers.after_fork()
    asked.gate.set()
    assert answers.state() is HealthState.UP
    slow.join()


def test_what_cannot_be_opened_is_down() -> None:
    def opened() -> Any:
        raise ConfigurationError("no configuration")

    assert HealthAnswers(opened, FakeClock()).state() is HealthState.DOWN
