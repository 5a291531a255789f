"""What is noted about secrets, on its way from one backend to another."""

from __future__ import annotations

import pytest

from moves import Kept, Move
from strongroom.contracts.recovery import AnnotateRequest, DescribeRequest
from strongroom.errors import InvalidValueError
from strongroom.model import SecretName


@pytest.mark.parametrize(("rule", "ticket", "kept"), [("error", "6", ["a"]), ("overwrite", "7", [])])
def test_notes_go_over_and_those_of_the_target_stay(
    here: Kept, there: Kept, move: Move, rule: str, ticket: str, kept: list[str]
) -> None:
    here.put("a", "1")
    there.put("a", "1")
    here.annotate(AnnotateRequest(name=SecretName("a"), metadata={"owner": "shop", "ticket": "7"}))
    there.annotate(AnnotateRequest(name=SecretName("a"), metadata={"ticket": "6", "tier": "gold"}))
    _, copier = move.copy(rule=rule)
    assert there.describe(DescribeRequest(name=SecretName("a"))).metadata == {
        "owner": "shop",
        "ticket": ticket,
        "tier": "gold",
    }
    assert copier.notes.kept == kept
    before = there.calls["annotate"]
    move.copy(rule=rule)
    assert there.calls["annotate"] == before


def test_notes_that_the_target_cannot_keep_are_told(here: Kept, there: Kept, move: Move) -> None:
    here.put("a", "1")
    here.put("b", "1")
    for name in ("a", "b"):
        here.annotate(AnnotateRequest(name=SecretName(name), metadata={"owner": "shop"}))

    def refuse(operation: str, name: str) -> None:
        if (operation, name) == ("annotate", "a"):
            raise InvalidValueError("no such notes")

    there.before = refuse
    _, copier = move.copy()
    assert list(copier.notes.failed) == ["a"]
    assert copier.outcome.problems == {}
    assert there.describe(DescribeRequest(name=SecretName("b"))).metadata == {"owner": "shop"}
