"""Each entry has a name of its own, which leads back to it."""

from __future__ import annotations

import pytest

from hypothesis import assume, example, given
from hypothesis import strategies as st

from strongroom.errors import InvalidNameError
from strongroom.model import SecretName
from strongroom_keyring.names import Entry, entry_of, folder_of, name_of

TEXTS = st.text(st.characters(exclude_categories=("Cs",)), max_size=16)
ENTRIES = st.builds(lambda service, username: Entry(service=service, username=username), TEXTS, TEXTS)
PREFIXES = st.sampled_from(["keyring/", "keyring", "a/b", ""])


def entry(service: str, username: str) -> Entry:
    return Entry(service=service, username=username)


@given(PREFIXES, ENTRIES)
@example("keyring/", entry("", ""))
@example("keyring/", entry("%", ".."))
@example("", entry("https://a.example/b c?d=e", "\0\n"))
def test_a_name_is_one_that_secrets_can_have_and_leads_back(prefix: str, given_entry: Entry) -> None:
    name = SecretName(name_of(prefix, given_entry))
    assert entry_of(prefix, name) == given_entry
    assert name.is_below(folder_of(prefix, given_entry.service))


@given(ENTRIES, ENTRIES)
@example(entry("a/b", "c"), entry("a", "b/c"))
@example(entry("", "x"), entry("%", "x"))
@example(entry("e\u0301", "x"), entry("\u00e9", "x"))
def test_no_two_entries_share_a_name(first: Entry, second: Entry) -> None:
    assume(first != second)
    assert SecretName(name_of("keyring/", first)) != SecretName(name_of("keyring/", second))


@given(st.lists(TEXTS.filter(bool), min_size=1, max_size=3).map("/".join))
@example("https:%2f%2fx/y")
@example("%/%")
def test_a_name_that_is_not_made_of_an_entry_is_none(rest: str) -> None:
    name = f"keyring/{rest}"
    found = entry_of("keyring/", name)
    assert found is None or name_of("keyring/", found) == name


def test_an_address_can_be_read_in_its_name() -> None:
    made = name_of("keyring/", entry("https://upload.pypi.org/legacy/", "__token__"))
    assert made == "keyring/https:%2F%2Fupload.pypi.org%2Flegacy%2F/__token__"


def test_half_of_a_pair_is_refused() -> None:
    with pytest.raises(InvalidNameError):
        name_of("keyring/", entry("\ud800", "x"))
