"""Checks of names: each reaches its own secret, whatever the backend's own spelling."""

from __future__ import annotations

import pytest

from strongroom.contracts import Backend, Capability
from strongroom.errors import InvalidNameError, SecretNotFoundError
from strongroom.model import MAX_NAME_BYTES, SecretName
from strongroom.testing.backend_kit import BackendKit, Seed, names_below, read, text_of
from strongroom.testing.promises import promised_by

ODD_SEGMENTS = (
    "two words",
    "a=b",
    "it's",
    "hash#tag",
    "what?",
    "per%2Fcent",
    "100%",
    "this&that",
    "caf\u00e9",
    "\u65e5\u672c\u8a9e",
    "\U0001f511",
    "back\\slash",
    'quo"te',
    "colon:",
    "semi;colon",
    "comma,",
    "plus+",
    "at@",
    "star*",
    "$HOME",
    "{brace}",
    "[bracket]",
    "<angle>",
    "pipe|",
    "~tilde",
    "-dash",
    "--",
    "_under",
    "under_",
    "a_b",
    "a__b",
    "a___b",
    "a-b",
    "a.b",
    "...",
    ".hidden",
    "trailing.",
    "UPPER",
    "camelCase",
    "0digit",
    "x2D",
    "_x2D_",
    "data",
    "metadata",
)
COLLIDING = ("a/b", "a_b", "a__b", "a-b", "a.b", "a b", "a%2Fb", "ab", "A/b", "a/B", "A_B", "a%b", "a\\b", "a:b", "a+b")


class NameChecks(BackendKit):
    """Checks of names: a backend escapes reversibly what it cannot spell, or refuses it."""

    @pytest.mark.parametrize("segment", ODD_SEGMENTS)
    @promised_by(Backend)
    def test_an_odd_name_is_kept_or_refused(self, backend: Backend, seed: Seed, folder: str, segment: str) -> None:
        """A secret with an odd name is written, read and listed under it, or the name is refused.

        A name that is spelt in another way on one of these paths is a secret that nobody finds again.
        """
        name = SecretName(f"{folder}/{segment}/x")
        if not _seeded(seed, name, "content"):
            with pytest.raises(InvalidNameError):
                read(backend, name)
            return
        assert text_of(backend, name) == "content"
        if Capability.LIST in self.capabilities:
            assert names_below(backend, folder) == [name], "the listing shows another name than was written"

    @promised_by(Backend)
    def test_names_that_look_alike_reach_different_secrets(self, backend: Backend, seed: Seed, folder: str) -> None:
        """Names that look alike once they are escaped or cut each have a secret of their own.

        A policy that grants one of them would otherwise open the other.
        """
        names = [SecretName(f"{folder}/{tail}") for tail in COLLIDING]
        kept = [name for name in names if _seeded(seed, name, f"content of {name}")]
        read_back = {name: text_of(backend, name) for name in kept}
        assert read_back == {name: f"content of {name}" for name in kept}

    @promised_by(Backend)
    def test_one_of_two_names_that_look_alike_is_missing(self, backend: Backend, seed: Seed, folder: str) -> None:
        """With one secret there, names that only look like its name are not found or refused.

        A read that answers with another name's secret goes round the policy.
        """
        seed(f"{folder}/a/b", "content")
        for tail in COLLIDING[1:]:
            with pytest.raises((SecretNotFoundError, InvalidNameError)):
                read(backend, f"{folder}/{tail}")

    @promised_by(Backend)
    def test_names_that_differ_in_case_are_kept_apart(self, backend: Backend, seed: Seed, folder: str) -> None:
        """``key``, ``Key`` and ``KEY`` are three names; those that the backend takes reach different secrets.

        Names are exact text; one of them would otherwise overwrite another without a word.
        """
        names = [SecretName(f"{folder}/{tail}") for tail in ("key", "Key", "KEY")]
        kept = [name for name in names if _seeded(seed, name, f"content of {name}")]
        assert {name: text_of(backend, name) for name in kept} == {name: f"content of {name}" for name in kept}

    @promised_by(Backend)
    def test_both_normal_forms_of_a_name_are_one(self, backend: Backend, seed: Seed, folder: str) -> None:
        """A name with a combining accent and the same name with a composed letter reach one secret.

        Keyboards and systems write them differently; the core hands over one form, which the backend must keep.
        """
        if not _seeded(seed, SecretName(f"{folder}/cafe\u0301"), "content"):
            # Refusing is one of the two right answers, and then there is nothing to read back.
            pytest.skip("the backend refuses names with an accent")
        assert text_of(backend, f"{folder}/caf\u00e9") == "content"

    @promised_by(Backend)
    def test_the_longest_name_is_kept_or_refused(self, backend: Backend, seed: Seed, folder: str) -> None:
        """A name of 512 bytes is kept or refused, and never cut.

        Cut, it would be the same as its neighbour that differs in the last letter.
        """
        stem = f"{folder}/" + "n" * (MAX_NAME_BYTES - len(folder) - 2)
        if not _seeded(seed, SecretName(stem + "a"), "content"):
            # Refusing is one of the two right answers, and then there is nothing to read back.
            pytest.skip("the backend refuses names of 512 bytes")
        assert text_of(backend, stem + "a") == "content"
        with pytest.raises(SecretNotFoundError):
            read(backend, stem + "b")


def _seeded(seed: Seed, name: SecretName, content: str) -> bool:
    """Put a secret there, unless the backend refuses its name."""
    try:
        seed(name, content)
    except InvalidNameError:
        return False
    return True
