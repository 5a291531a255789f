"""The published test vectors open, with this plugin and with the reader that the format's description holds."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import sys

from datetime import datetime
from pathlib import Path

import pytest

from strongroom.contracts import ReadRequest, VersionsRequest
from strongroom.contracts.journal import Place, RecallRequest
from strongroom.errors import SecretDeletedError
from strongroom.model import SecretName, SecretValue
from strongroom_local.sealing import ORIGIN

VECTORS = Path(__file__).parent / "vectors" / "format-1"
DESCRIPTION = Path(__file__).parents[3] / "docs" / "local-store-format.md"
CONTENT = json.loads((VECTORS / "content.json").read_text())
STORES = {
    "store.db": "key",
    "passphrase.db": "passphrase",
    "states.db": "key",
    "keys.db": "key",
    "journal.db": "key",
}


@pytest.fixture(params=STORES)
def vector(request, home, passphrase_of):
    """Return a copy of a published store, open, and what it holds."""
    key = passphrase_of((VECTORS / STORES[request.param]).read_text().removesuffix("\n"))
    shutil.copyfile(VECTORS / request.param, home.path)
    home.path.chmod(0o600)
    kind = {"master_key": None, "passphrase": key} if request.param == "passphrase.db" else {"master_key": key}
    return home.open(**kind), CONTENT[request.param]


def test_every_version_of_every_secret_is_read(vector):
    opened, content = vector
    assert opened.names() == sorted(content["secrets"])
    for name, versions in content["secrets"].items():
        assert opened.versions(name) == sorted(versions, key=int)
        for version, expected in versions.items():
            result = opened.backend.read(ReadRequest(name=SecretName(name), version=version))
            assert result.value.reveal() == base64.b64decode(expected["value"])
            assert result.value.type.value == expected["type"]
            assert round(result.created.timestamp() * 1_000_000) == expected["created"]


def test_deleted_names_are_known_as_deleted(vector):
    opened, content = vector
    for name in content["deleted"]:
        with pytest.raises(SecretDeletedError):
            opened.backend.versions(VersionsRequest(name=SecretName(name)))


def test_names_are_looked_up_by_the_published_values(vector):
    opened, content = vector
    for name, lookup in content["look_up"].items():
        assert opened.backend._session.keys.find(name).hex() == lookup
        assert lookup != ORIGIN.hex()


def test_states_are_read_and_looked_up_by_the_published_values(vector):
    opened, content = vector
    for key, state in content.get("states", {}).items():
        assert opened.load(key) == base64.b64decode(state)
    for key, lookup in content.get("state_look_up", {}).items():
        assert opened.backend._session.keys.find_state(key).hex() == lookup
    assert opened.load("anomaly/9-never") is None


def test_the_vector_verifies_at_its_counter_and_can_be_written_to(vector):
    opened, content = vector
    assert opened.problems(at_least=content["counter"]) == ()
    assert opened.put("db/password", "fourth value") == "4"
    assert opened.problems(at_least=content["counter"] + 1) == ()


def test_published_ciphertexts_and_signatures_are_of_the_vectors_keys(vector):
    opened, content = vector
    for key, made in content.get("keys", {}).items():
        for one in made["ciphertexts"]:
            data = base64.b64decode(one["associated_data"])
            assert opened.keys.decrypt(key, one["ciphertext"], data) == base64.b64decode(one["plaintext"])
        for one in made["signatures"]:
            assert opened.keys.verify(key, base64.b64decode(one["message"]), one["signature"])
    for key, lookup in content.get("key_look_up", {}).items():
        assert opened.backend._session.keys.find_keyring(key).hex() == lookup


def test_copies_are_read_and_looked_up_by_the_published_values(vector):
    opened, content = vector
    for expected in content.get("copies", []):
        place = place_of(expected["place"])
        found = opened.backend.recall(RecallRequest(place=place)).copy
        facts = {"version": found.version, "created": microseconds(found.created), "taken": found.taken}
        assert facts | {"value": described(found.value)} == {key: expected[key] for key in (*facts, "value")}
        assert opened.backend._session.keys.journal.find_copy(place).hex() == expected["look_up"]


def test_entries_are_read_and_looked_up_by_the_published_values(vector):
    opened, content = vector
    found = opened.kept.entries()
    assert len(found) == len(content.get("entries", []))
    keys = opened.backend._session.keys.journal
    for entry, expected in zip(found, content.get("entries", []), strict=True):
        place = entry.place
        look_up = {"entry": keys.find_entry(entry.id), "place": keys.find_place(place)}
        look_up["target"] = keys.find_target(place.backend, place.target)
        facts = entry.as_dict() | {
            "place": [place.backend, place.target, place.name],
            "value": described(entry.value),
            "state": entry.state.value,
            "found_created": microseconds(entry.found_created),
            "look_up": {kind: value.hex() for kind, value in look_up.items()},
        }
        assert facts == expected


def place_of(parts: list[str]) -> Place:
    backend, target, name = parts
    return Place(backend=backend, target=target, name=SecretName(name))


def described(value: SecretValue | None) -> dict[str, str] | None:
    if value is None:
        return None
    return {"type": value.type.value, "value": base64.b64encode(value.reveal()).decode()}


def microseconds(moment: datetime | None) -> int | None:
    return None if moment is None else round(moment.timestamp() * 1_000_000)


def test_a_vector_takes_copies_and_writes_that_wait(vector):
    """So a store made by an earlier release can be the fallback store of this one."""
    opened, content = vector
    entries = content.get("entries", [])
    opened.kept.keep(opened.kept.copy("app/new"))
    assert opened.kept.queue("app/new").position == (6 if entries else 1)
    assert opened.kept.recall("app/new").copy is not None
    assert len(opened.kept.entries()) == len(entries) + 1
    assert opened.problems(at_least=content["counter"] + 2) == ()
    assert opened.names() == sorted(content["secrets"])


def test_a_vector_takes_a_first_or_another_named_key(vector):
    """So that a store made by an earlier release is as good as a new one."""
    opened, content = vector
    assert opened.keys.decrypt("app/new", opened.keys.encrypt("app/new", b"content")) == b"content"
    assert opened.keys.rotate("app/new") == "2"
    assert opened.problems(at_least=content["counter"] + 2) == ()


def reader(tmp_path: Path) -> Path:
    """Take the reader out of the description."""
    program = tmp_path / "reader.py"
    program.write_text(DESCRIPTION.read_text().split("```python\n")[1].split("```")[0])
    return program


def read_with_reader(program: Path, store: Path, key: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(program), str(store)], input=key, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("name", STORES)
def test_the_reader_of_the_description_reads_the_vectors(tmp_path, name):
    done = read_with_reader(reader(tmp_path), VECTORS / name, (VECTORS / STORES[name]).read_text())
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == CONTENT[name]["secrets"]


def test_the_reader_is_as_short_as_it_says_and_uses_nothing_of_ours(tmp_path):
    lines = [line for line in reader(tmp_path).read_text().splitlines() if line.strip()]
    assert len(lines) <= 40
    assert not any("import" in line and "strongroom" in line for line in lines)


def test_the_reader_reads_what_this_release_writes(store, tmp_path):
    """So a change of the format cannot slip in behind the vectors' back."""
    store.fill({f"app/{number}": f"value {number}" for number in range(30)})
    opened = store.open()
    opened.delete("app/7")
    opened.save("anomaly/0-rate", b"state")
    opened.keys.encrypt("app/orders", b"content")
    opened.keys.rotate("app/orders")
    opened.kept.keep(opened.kept.copy("app/orders"))
    opened.kept.done(opened.kept.queue("app/orders"))
    opened.kept.queue("app/orders")
    store.close()
    done = read_with_reader(reader(tmp_path), store.path, store.key_path.read_text())
    assert done.returncode == 0, done.stderr
    found = {name: base64.b64decode(versions["1"]["value"]) for name, versions in json.loads(done.stdout).items()}
    assert found == {f"app/{number}": f"value {number}".encode() for number in range(30) if number != 7}


def test_the_reader_refuses_a_wrong_key_and_a_changed_row(store, tmp_path):
    store.fill({"app/secret": "value"})
    key = store.key_path.read_text()
    wrong = base64.b64encode(b"w" * 32).decode()
    assert read_with_reader(reader(tmp_path), store.path, wrong).returncode != 0
    store.edit("DELETE FROM record")
    assert read_with_reader(reader(tmp_path), store.path, key).returncode != 0


@pytest.mark.parametrize("table", ["state", "keyring", "copy", "journal"])
def test_the_reader_refuses_a_store_that_lost_a_row_of_another_table(store, tmp_path, table):
    opened = store.open()
    opened.save("anomaly/0-rate", b"state")
    opened.keys.encrypt("app/orders", b"content")
    opened.kept.keep(opened.kept.copy("app/orders"))
    opened.kept.queue("app/orders")
    store.close()
    assert read_with_reader(reader(tmp_path), store.path, store.key_path.read_text()).returncode == 0
    store.edit(f"DELETE FROM {table}")
    assert read_with_reader(reader(tmp_path), store.path, store.key_path.read_text()).returncode != 0
