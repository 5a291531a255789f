"""A file that is not a store of this format is refused and left exactly as it is."""

from __future__ import annotations

import pytest

from strongroom.errors import ConfigurationError, StoreDamagedError, StrongroomError

CONTENT = {f"app/{number}": f"value {number}" for number in range(40)}


@pytest.fixture
def filled(store):
    store.fill(CONTENT)
    return store


def use_all(store) -> None:
    """Write a secret, and read each of them even if that fails."""
    opened = store.open()
    try:
        opened.put("app/new", "a new value")
    finally:
        for name in CONTENT:
            opened.get(name)


def refused(store) -> StrongroomError:
    """Try to open, read and write; return the error, having checked that the file is untouched."""
    before = store.path.read_bytes()
    with pytest.raises(StrongroomError) as caught:
        use_all(store)
    store.close()
    assert store.path.read_bytes() == before
    return caught.value


def test_an_empty_file_is_not_taken_for_a_new_store(filled):
    filled.path.write_bytes(b"")
    assert isinstance(refused(filled), StoreDamagedError)
    assert filled.path.stat().st_size == 0


@pytest.mark.parametrize("size", [1, 15, 16, 99, 100, 512, 4095, 4096, 4097, 8192, 12288, -4096, -1])
def test_a_truncated_file_is_refused(filled, size):
    content = filled.path.read_bytes()
    filled.path.write_bytes(content[:size])
    assert isinstance(refused(filled), StoreDamagedError)


@pytest.mark.parametrize("content", [b"{}\n", b"\x00" * 8192, b"SQLite format 3\x00" + b"\xff" * 4096])
def test_a_file_that_is_no_database_is_refused(filled, content):
    filled.path.write_bytes(content)
    assert isinstance(refused(filled), StoreDamagedError)


def test_another_database_is_refused(filled):
    filled.path.unlink()
    connection = filled.database()
    connection.execute("CREATE TABLE recipes (title TEXT)")
    connection.close()
    filled.path.chmod(0o600)
    assert isinstance(refused(filled), StoreDamagedError)


def test_another_format_is_named(filled):
    filled.edit("PRAGMA user_version = 2")
    error = refused(filled)
    assert isinstance(error, StoreDamagedError)
    assert "format 2" in str(error)
    assert "format 1" in str(error)


def test_another_format_in_the_header_is_named(filled):
    filled.edit("UPDATE store SET header = substr(header, 1, 8) || x'0007' || substr(header, 11)")
    error = refused(filled)
    assert isinstance(error, StoreDamagedError)
    assert "format 7" in str(error)


@pytest.mark.parametrize("iterations", [0, 99_999, 10_000_001, 2**32 - 1])
def test_a_header_with_too_few_or_too_many_iterations_is_refused(filled, iterations):
    """Few would help to guess the key; many would let a file keep a process busy for hours."""
    import hashlib

    connection = filled.database()
    header = bytearray(connection.execute("SELECT header FROM store").fetchone()[0])
    header[44:48] = iterations.to_bytes(4, "big")
    header[-32:] = hashlib.sha256(header[:-32]).digest()
    connection.execute("UPDATE store SET header = ?", (bytes(header),))
    connection.close()
    assert isinstance(refused(filled), StoreDamagedError)


def test_a_store_without_its_header_row_is_refused(filled):
    filled.edit("DELETE FROM store")
    assert isinstance(refused(filled), StoreDamagedError)


def test_a_missing_file_is_not_made(home):
    with pytest.raises(ConfigurationError, match="strongroom init"):
        home.open()
    assert not home.path.exists()


def test_a_store_whose_header_row_goes_while_it_is_open_is_refused(filled):
    opened = filled.open()
    filled.edit("DELETE FROM store")
    for ask in (lambda: opened.get("app/1"), opened.names, lambda: opened.put("app/1", "value")):
        with pytest.raises(StoreDamagedError):
            ask()
