"""The master key: what is one, what is not, and what a wrong one leads to."""

from __future__ import annotations

import base64
import secrets

import pytest

from strongroom.errors import ConfigurationError, MasterKeyError
from strongroom.testing import assert_hidden, report_of


def new_key() -> str:
    return base64.b64encode(secrets.token_bytes(32)).decode()


MALFORMED = {
    "nothing": lambda key: "",
    "a line feed": lambda key: "\n",
    "a word": lambda key: "short",
    "31 bytes": lambda key: base64.b64encode(b"x" * 31).decode(),
    "33 bytes": lambda key: base64.b64encode(b"x" * 33).decode(),
    "no padding": lambda key: key.removesuffix("="),
    "three line feeds": lambda key: key + "\n\n\n",
    "a leading blank": lambda key: " " + key,
    "a foreign character": lambda key: key.replace("=", "!"),
    "not ASCII": lambda key: "ü" * 44,
    "hexadecimal": lambda key: secrets.token_hex(32),
}


@pytest.mark.parametrize("form", MALFORMED)
def test_what_is_no_key_is_refused_without_being_shown(home, form):
    text = MALFORMED[form](new_key())
    home.key_path.write_text(text)
    with pytest.raises(MasterKeyError) as caught:
        home.create()
    assert caught.value.code == "master_key_invalid"
    assert not home.path.exists()
    if len(text) > 16:
        assert_hidden(text, report_of(caught.value, "strongroom_local"), "the error")


def test_a_final_line_feed_is_not_part_of_the_key(home):
    home.create()
    home.key_path.write_text(home.key_path.read_text().strip())
    home.open()
    home.key_path.write_text(home.key_path.read_text() + "\n")
    home.open()


def test_a_missing_key_is_named(store):
    store.key_path.unlink()
    with pytest.raises(MasterKeyError) as caught:
        store.open()
    assert caught.value.code == "master_key_missing"
    assert str(store.key_path) in str(caught.value)


def test_a_wrong_key_is_told_apart_from_damage(store):
    store.set_key(new_key())
    with pytest.raises(MasterKeyError) as caught:
        store.open()
    assert caught.value.code == "master_key_wrong"


def test_nothing_can_be_written_with_a_wrong_key(store):
    store.fill({"app/secret": "value"})
    before, right = store.path.read_bytes(), store.key_path.read_text().strip()
    store.set_key(new_key())
    with pytest.raises(MasterKeyError):
        store.open().put("app/secret", "another")
    assert store.path.read_bytes() == before
    store.set_key(right)
    assert store.open().get("app/secret") == "value"


def test_a_key_file_that_changes_while_the_store_is_open_does_no_harm(store):
    """The store was opened with the right key, so what is written stays readable with it."""
    opened, right = store.open(), store.key_path.read_text().strip()
    store.set_key(new_key())
    opened.put("app/secret", "value")
    store.set_key(right)
    assert store.open().get("app/secret") == "value"


def test_a_passphrase_opens_a_store(home, passphrase_of):
    settings = {"master_key": None, "passphrase": passphrase_of("correct horse battery staple"), "iterations": 100_000}
    home.create(**settings)
    home.open(**settings).put("app/secret", "value")
    assert home.open(**settings).get("app/secret") == "value"
    with pytest.raises(MasterKeyError) as caught:
        home.open(**settings | {"passphrase": passphrase_of("correct horse battery stable")})
    assert caught.value.code == "master_key_wrong"


def test_a_key_does_not_open_a_store_with_a_passphrase(home, passphrase_of):
    """The message says which of the two the store has."""
    home.create(master_key=None, passphrase=passphrase_of(home.key_path.read_text()), iterations=100_000)
    with pytest.raises(MasterKeyError, match="passphrase"):
        home.open()


def test_an_empty_passphrase_is_refused(home, passphrase_of):
    with pytest.raises(MasterKeyError) as caught:
        home.create(master_key=None, passphrase=passphrase_of(""))
    assert caught.value.code == "master_key_invalid"


@pytest.mark.parametrize(("passphrase", "iterations"), [(False, 100_000), (True, 600_000)])
def test_the_number_of_iterations_is_kept_in_the_header(home, passphrase_of, passphrase, iterations):
    home.create(**({"master_key": None, "passphrase": passphrase_of("a passphrase")} if passphrase else {}))
    connection = home.database()
    header = connection.execute("SELECT header FROM store").fetchone()[0]
    connection.close()
    assert int.from_bytes(header[44:48], "big") == iterations


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"passphrase": "both"}, "exactly one"),
        ({"master_key": None}, "exactly one"),
        ({"iterations": 99_999}, "iterations"),
        ({"iterations": 10_000_001}, "iterations"),
        ({"keep_versions": 0}, "keep_versions"),
        ({"busy_timeout": -1.0}, "busy_timeout"),
    ],
)
def test_settings_that_break_a_rule_are_named(home, passphrase_of, changes, word):
    if changes.get("passphrase"):
        changes = {"passphrase": passphrase_of("both")}
    problems = home.settings(**changes).problems()
    assert len(problems) == 1
    assert word in problems[0]


def test_good_settings_have_no_problems(home):
    assert home.settings().problems() == []


def test_opening_without_any_key_is_refused(home):
    with pytest.raises(ConfigurationError):
        home.create(master_key=None)
