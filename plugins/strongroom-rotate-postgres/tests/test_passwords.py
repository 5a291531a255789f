"""Passwords are random, of the length and the characters that the settings say, and have one of each kind."""

from __future__ import annotations

import string

from hypothesis import given
from hypothesis import strategies as st

from strongroom_rotate_postgres.passwords import new_password

KINDS = (string.ascii_lowercase, string.ascii_uppercase, string.digits, string.punctuation)


@given(length=st.integers(8, 64), alphabet=st.sets(st.sampled_from("abXY12-_"), min_size=1).map("".join))
def test_a_password_has_its_length_and_one_of_each_kind_of_its_alphabet(length: int, alphabet: str) -> None:
    made = new_password(length, alphabet).reveal_text()
    assert len(made) == length
    assert set(made) <= set(alphabet)
    for kind in KINDS:
        assert bool(set(made) & set(kind)) == bool(set(alphabet) & set(kind))


def test_no_two_passwords_are_the_same() -> None:
    made = {new_password(32, string.ascii_letters).reveal() for _ in range(1000)}
    assert len(made) == 1000


def test_every_character_of_the_alphabet_comes_up() -> None:
    alphabet = string.ascii_letters + string.digits + "-_."
    assert set("".join(new_password(64, alphabet).reveal_text() for _ in range(200))) == set(alphabet)
