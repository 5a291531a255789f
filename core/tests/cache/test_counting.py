"""Counting without a lock."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from strongroom.cache.counting import Tally
from strongroom.testing import in_threads


class TestTally:
    """Counting and numbering in one step."""

    def test_steps_of_many_threads_are_counted_exactly_and_numbered_apart(self) -> None:
        tally = Tally()
        numbers = in_threads(8, lambda _: [tally.step() for _ in range(5000)])
        assert len({number for own in numbers for number in own}) == tally.value() == 8 * 5000

    @given(steps=st.lists(st.sampled_from(["step", "look", "reset"]), max_size=50))
    def test_looking_and_beginning_anew_change_no_count_and_repeat_no_number(self, steps: list[str]) -> None:
        tally, count, numbers = Tally(), 0, list[int]()
        for step in steps:
            if step == "step":
                numbers.append(tally.step())
                count += 1
            elif step == "reset":
                tally.reset()
                count = 0
            assert tally.value() == count
        assert len(set(numbers)) == len(numbers)
