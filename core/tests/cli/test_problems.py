"""Several problems reported at once."""

from __future__ import annotations

import pytest

from strongroom.cli.problems import raise_all
from strongroom.errors import BackendError, UnsupportedOperationError


def test_no_problem_is_no_error() -> None:
    raise_all([])


def test_each_problem_is_said_once_in_the_order_given() -> None:
    same = [UnsupportedOperationError("it cannot be written to") for _ in range(3)]
    problems = [same[0], BackendError("something else"), *same[1:], BackendError("something else")]
    with pytest.raises(UnsupportedOperationError, match="cannot be written to") as caught:
        raise_all(problems)
    assert caught.value is same[0]
    assert caught.value.__notes__ == ["something else"]
