"""Which backend keeps a name."""

from __future__ import annotations

import pytest

from strongroom.config.routing import Routing

ROUTES = Routing("main", (("ci/deep", "vault"), ("ci", "aws"), ("prod", "main")))


@pytest.mark.parametrize(
    ("name", "backend"),
    [("db", "main"), ("ci", "aws"), ("ci/key", "aws"), ("cinema/key", "main"), ("ci/deep/key", "vault")],
)
def test_the_longest_prefix_of_whole_segments_wins(name: str, backend: str) -> None:
    assert ROUTES.of(name) == backend


@pytest.mark.parametrize(
    ("folder", "backends"),
    [("", ["main", "vault", "aws"]), ("ci", ["aws", "vault"]), ("ci/deep", ["vault"]), ("cinema", ["main"])],
)
def test_below_a_folder_are_its_own_backend_and_those_of_deeper_routes(folder: str, backends: list[str]) -> None:
    assert ROUTES.below(folder) == backends
    assert ROUTES.home_of(folder) == backends[0]
