"""The two ends of a move."""

from __future__ import annotations

from typing import Any

import pytest

from strongroom.config.load import load
from strongroom.errors import ConfigurationError, InvalidNameError
from strongroom.moving.places import Place, configuration_at, parse_place, refuse_overlap

KNOWN = ("local", "vault", "odd:name")
CONFIGURED = load(
    {
        "backend": "local",
        "audit": "none",
        "backends": {
            "local": {"type": "memory"},
            "vault": {"type": "memory"},
            "one": {"type": "memory", "keep_versions": 7},
            "same": {"type": "memory", "keep_versions": 7},
            "other": {"type": "memory", "keep_versions": 8},
        },
    }
).backends


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("local", Place(backend="local")),
        ("local:", Place(backend="local")),
        ("vault:app/", Place(backend="vault", folder="app")),
        ("vault:team/app", Place(backend="vault", folder="team/app")),
        ("vault:a:b/", Place(backend="vault", folder="a:b")),
        ("odd:name", Place(backend="odd:name")),
    ],
)
def test_a_place_is_a_backend_with_or_without_a_folder(text: str, place: Place) -> None:
    assert parse_place(text, KNOWN) == place


def test_an_unknown_backend_is_refused_with_the_one_that_was_meant() -> None:
    with pytest.raises(ConfigurationError, match="did you mean 'vault'"):
        parse_place("valt:app/", KNOWN)


@pytest.mark.parametrize("folder", ["app//", "../app", "/", ".strongroom/", ".strongroom/rotation/"])
def test_a_folder_that_is_none_of_users_is_refused(folder: str) -> None:
    with pytest.raises(InvalidNameError):
        parse_place(f"local:{folder}", KNOWN)


def test_names_move_from_folder_to_folder() -> None:
    source, target = Place(backend="local", folder="app"), Place(backend="vault", folder="team/app")
    rest = source.rest_of(source.name_of("db/password"))
    assert (rest, target.name_of(rest)) == ("db/password", "team/app/db/password")


@pytest.mark.parametrize(("rest", "folder"), [("x" * 300, "y" * 300), ("rotation", ".strongroom")])
def test_what_is_no_name_in_the_folder_is_refused(rest: str, folder: str) -> None:
    with pytest.raises(InvalidNameError):
        Place(backend="local", folder=folder).name_of(rest)


@pytest.mark.parametrize(("one", "other"), [("", ""), ("app", "app"), ("", "app"), ("app", ""), ("app", "app/old")])
def test_folders_of_one_backend_must_not_overlap(one: str, other: str) -> None:
    with pytest.raises(ConfigurationError, match="overlap"):
        refuse_overlap(Place(backend="local", folder=one), Place(backend="local", folder=other), CONFIGURED)


@pytest.mark.parametrize(("source", "target"), [("one", "same"), ("one:app/", "same:app/old/"), ("same:a/", "one")])
def test_two_names_of_one_backend_must_not_overlap_either(source: str, target: str) -> None:
    with pytest.raises(ConfigurationError, match="overlap"):
        refuse_overlap(parse_place(source, CONFIGURED), parse_place(target, CONFIGURED), CONFIGURED)


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("local:app/", "local:apple/"),
        ("local:app/", "vault:app/"),
        ("local:a/b", "local:a/c"),
        ("one:a/", "same:b/"),
        ("one", "other"),
    ],
)
def test_folders_beside_each_other_do_not_overlap(source: str, target: str) -> None:
    refuse_overlap(parse_place(source, CONFIGURED), parse_place(target, CONFIGURED), CONFIGURED)


def test_each_side_is_its_backend_alone() -> None:
    content: dict[str, Any] = {
        "backend": "a",
        "fallback": "b",
        "routes": {"db": "b"},
        "audit": "none",
        "backends": {name: {"type": "memory"} for name in ("a", "b")},
        "cache": {"ttl": "1h"},
        "resilience": {"deadline": "7s", "keep_copy": True},
        "policies": [{"principal": "*", "effect": "allow", "names": ["**"], "actions": ["read"]}],
    }
    found = load(content)
    changed = configuration_at(found, "b")
    assert (changed.default_backend, changed.routes, changed.cache.type) == ("b", (), "none")
    assert (changed.resilience.fallback, changed.resilience.deadline("read")) == (None, 7.0)
    assert changed.policy is found.policy
