"""The table ``[watch]``."""

from __future__ import annotations

from typing import Any

import pytest

from strongroom.config.load import load
from strongroom.errors import ConfigurationError

BASE = {"audit": "none", "backends": {"memory": {"type": "memory"}}}


def test_nobody_watches_unless_the_configuration_says_so() -> None:
    assert load(BASE).watch.every is None


def test_interval_and_names_are_read() -> None:
    watch = load(BASE | {"watch": {"every": "2m", "names": ["db/**", "api/key"]}}).watch
    assert (watch.every, watch.names) == (120.0, ("db/**", "api/key"))


@pytest.mark.parametrize(
    ("table", "problem"),
    [
        ({"every": "500ms"}, "every is below 1s"),
        ({"every": "30"}, "every"),
        ({"every": "30s", "names": ["db/x*"]}, "db/x"),
        ({"every": "30s", "jitter": "1s"}, "jitter"),
    ],
)
def test_what_is_not_usable_is_refused(table: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load(BASE | {"watch": table})
    assert problem in str(caught.value)
