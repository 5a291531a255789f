"""A bell that rang before somebody waits is heard, and one that nobody hears is no trouble."""

from __future__ import annotations

from strongroom.templates.bell import Bell


def test_it_is_heard_once_however_often_it_rang() -> None:
    with Bell() as bell:
        assert not bell.wait(0)
        for _ in range(5_000):
            bell.ring()
        assert bell.wait(0)
        assert not bell.wait(0)


def test_after_its_end_it_does_nothing() -> None:
    bell = Bell()
    bell.close()
    bell.ring()
    bell.close()
