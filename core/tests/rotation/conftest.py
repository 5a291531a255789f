"""Sites with a rotator of the tests' own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from rotatingsite import KINDS, Site


@pytest.fixture
def register(distributions: Any) -> Callable[[Any], dict[str, Any]]:
    """A function that takes a rotator and returns the settings that lead to it."""
    distributions.add(
        "own-rotators",
        {"strongroom.rotators": {"own": "own_rotators"}},
        """
        from strongroom.contracts import Record, RotatorSpec
        from strongroom.hookspecs import hookimpl

        known = []

        class Settings(Record):
            number: int

        def find(settings):
            return known[settings.number]

        @hookimpl
        def strongroom_rotators():
            yield RotatorSpec(name="own", summary="A test's own.", settings=Settings, open=find)
        """,
    )
    import own_rotators

    def rule(rotator: Any) -> dict[str, Any]:
        own_rotators.known.append(rotator)
        return {"rotator": "own", "number": len(own_rotators.known) - 1}

    return rule


@pytest.fixture(params=KINDS)
def make_site(request: Any, register: Callable[[Any], dict[str, Any]]) -> Iterator[Callable[..., Site]]:
    """A function that makes a new site; all its managers are closed at the end."""
    made: list[Site] = []

    def make(**options: Any) -> Site:
        made.append(Site(request.param, register, **options))
        return made[-1]

    yield make
    for site in made:
        for manager in site.managers:
            manager.close()
