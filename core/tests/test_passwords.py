"""Passwords by rules, and UUIDs."""

from __future__ import annotations

import string
import uuid

from collections import Counter
from typing import Any

import pytest

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from strongroom.generators import SYMBOLS, PasswordRules, random_password, random_uuid

RULES = st.builds(
    PasswordRules,
    length=st.integers(16, 80),
    alphabet=st.sampled_from([string.ascii_letters + string.digits, string.ascii_letters + SYMBOLS, SYMBOLS + "abc12"]),
    forbidden=st.text("lO0|;a", max_size=4),
    lower=st.integers(0, 6),
    upper=st.integers(0, 6),
    digits=st.integers(0, 6),
    symbols=st.integers(0, 6),
    begins_with_letter=st.booleans(),
)


@given(RULES)
@settings(max_examples=200, deadline=None)
def test_a_password_meets_its_rules(rules: PasswordRules) -> None:
    assume(not rules.problems())
    password = random_password(rules)
    assert len(password) == rules.length
    assert set(password) <= set(rules.alphabet) - set(rules.forbidden)
    classes = {
        "lower": string.ascii_lowercase,
        "upper": string.ascii_uppercase,
        "digits": string.digits,
        "symbols": "".join(set(rules.alphabet) - set(string.ascii_letters + string.digits)),
    }
    for name, part in classes.items():
        assert sum(one in part for one in password) >= getattr(rules, name)
    assert not rules.begins_with_letter or password[0] in string.ascii_letters


@pytest.mark.parametrize(
    ("rules", "problem"),
    [
        ({"length": 0}, "length is not from 1 to 4096"),
        ({"length": 5000}, "length is not from 1 to 4096"),
        ({"alphabet": "a b"}, "alphabet holds a blank"),
        ({"alphabet": "ab\x07"}, "alphabet holds a blank or a character that cannot be printed"),
        ({"symbols": 1}, "symbols are needed, and the alphabet has none"),
        ({"digits": 1, "forbidden": string.digits}, "digits are needed, and the alphabet has none"),
        ({"upper": -1}, "upper is below 0"),
        ({"length": 20, "upper": 11, "lower": 10}, "more characters are needed than length allows"),
        ({"alphabet": string.digits, "length": 40, "begins_with_letter": True}, "begins_with_letter, and the alphabet"),
        ({"length": 10}, "bits of entropy at least, under 64"),
        ({"alphabet": "aaaaaaaaaaaaaaaab", "length": 40}, "bits of entropy at least, under 64"),
        ({"alphabet": "", "length": 40}, "bits of entropy at least, under 64"),
    ],
)
def test_rules_that_cannot_be_met_or_leave_too_little_to_guess_are_refused(rules: Any, problem: str) -> None:
    (found,) = PasswordRules(**rules).problems()
    assert problem in found


def test_rules_that_hardly_a_random_password_meets_are_met() -> None:
    rules = PasswordRules(length=40, alphabet=string.ascii_letters + string.digits, digits=38)
    assert rules.problems() == []
    assert sum(one.isdigit() for one in random_password(rules)) >= 38


def test_each_character_is_as_likely_as_any_other() -> None:
    rules = PasswordRules(length=64, alphabet="abcdefghij", lower=1)
    counts = Counter("".join(random_password(rules) for _ in range(500)))
    expected = 500 * 64 / 10
    # Chi-square with 9 degrees of freedom: more than 50 comes up once in ten million times.
    assert sum((counts[one] - expected) ** 2 / expected for one in "abcdefghij") < 50


def test_each_place_is_as_likely_to_have_the_needed_character() -> None:
    rules = PasswordRules(length=20, alphabet=string.ascii_lowercase + string.digits, digits=1)
    places = Counter(at for _ in range(3000) for at, one in enumerate(random_password(rules)) if one.isdigit())
    expected = sum(places.values()) / 20
    # 19 degrees of freedom, the same.
    assert sum((places[at] - expected) ** 2 / expected for at in range(20)) < 75


def test_a_uuid_is_a_random_one() -> None:
    made = {random_uuid() for _ in range(50)}
    assert len(made) == 50
    assert {uuid.UUID(one).version for one in made} == {4}
