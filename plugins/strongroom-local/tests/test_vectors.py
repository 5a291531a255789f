"""The published test vectors open, with this plugin and with the reader that the format's description holds."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import sys

from pathlib import Path

import pytest

from strongroom.contracts import ReadRequest, VersionsRequest
from strongroom.errors import SecretDeletedError
from strongroom.model import SecretName
from strongroom_local.sealing import ORIGIN

VECTORS = Path(__file__).parent / "vectors" / "format-1"
DESCRIPTION = Path(__file__).parents[3] / "docs" / "local-store-format.md"
CONTENT = json.loads((VECTORS / "content.json").read_text())
STORES = {"store.db": "key", "passphrase.db": "passphrase", "states.db": "key", "keys.db": "key"}


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


@pytest.mark.parametrize("table", ["state", "keyring"])
def test_the_reader_refuses_a_store_that_lost_a_state_or_a_key(store, tmp_path, table):
    opened = store.open()
    opened.save("anomaly/0-rate", b"state")
    opened.keys.encrypt("app/orders", b"content")
    store.close()
    assert read_with_reader(reader(tmp_path), store.path, store.key_path.read_text()).returncode == 0
    store.edit(f"DELETE FROM {table}")
    assert read_with_reader(reader(tmp_path), store.path, store.key_path.read_text()).returncode != 0
